"""Which models have no price now: those that were used, and those that somebody named."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from proxy.checks.findings import Finding, Status
from proxy.checks.prices import models, rate_cards
from proxy.core.rating import CONTRACT, Price, RateCard
from proxy.core.usage import Meter

NOW = datetime(2026, 11, 29, tzinfo=UTC)
AUDIO = frozenset({Meter.AUDIO_IN})


def card(model: str, days: int = -1, owner: str = "public", meter: Meter = Meter.AUDIO_IN) -> RateCard:
    return RateCard("c", "openai", model, NOW + timedelta(days), {meter: Price(1)}, "test", owner)


CARDS = (card("gpt-realtime"), card("gpt-next", days=9), card("ours", owner=CONTRACT), card("t", owner="t_1"))


def looked(
    used: Mapping[str, frozenset[Meter]] | None = None,
    *allowed: str,
    aliases: Mapping[str, str] | None = None,
) -> Finding:
    return models(CARDS, aliases or {}, used or {}, allowed, NOW)


def test_all_is_priced() -> None:
    """By the contract's card, a snapshot's model, an alias, or a pattern that covers some model."""
    used = {"ours": AUDIO, "gpt-realtime-2025-08-28": AUDIO, "mine": frozenset[Meter]()}
    finding = looked(used, "gpt-re*", "*", aliases={"mine": "gpt-realtime"})
    assert finding.status is Status.OK
    assert finding.found == "3 used in the last 30 days, 2 more named: all priced"


@pytest.mark.parametrize(
    ("model", "meters", "said"),
    [
        ("gpt-next", AUDIO, "gpt-next"),  # its card does not hold yet
        ("t", AUDIO, "t"),  # a tenant's own card says nothing of what we are charged
        ("gpt-realtime", AUDIO | {Meter.IMAGE_IN, Meter.AUDIO_OUT}, "gpt-realtime (audio_out, image_in)"),
    ],
)
def test_used_without_a_price(model: str, meters: frozenset[Meter], said: str) -> None:
    """This costs money that nobody can state: it fails, and the meters that lack are named."""
    finding = looked({model: meters})
    assert finding.status is Status.FAILED and finding.found.endswith(f"price now: {said}")


def test_named_without_a_price() -> None:
    """Perhaps it was only misspelt."""
    finding = looked(None, "gpt-reeltime", "gpt-9*", "gpt-realtime", aliases={"mine": "nothing"})
    assert finding.status is Status.WARNING and finding.found.endswith("now: gpt-9*, gpt-reeltime, mine")


def test_many() -> None:
    """A person reads ten."""
    finding = looked({f"m{n:02}": AUDIO for n in range(12)})
    assert finding.found.endswith("m09 and 2 more")


def test_cards() -> None:
    """New prices are announced a month before."""
    assert rate_cards((), NOW).status is Status.FAILED
    assert rate_cards(CARDS, NOW).found == "4; new prices: gpt-next on 2026-12-08"
    assert rate_cards((card("a"), card("b", days=31)), NOW).found == "2"

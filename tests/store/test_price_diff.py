"""Published prices beside ours: what differs, and which cards that makes."""

from datetime import UTC, datetime

import pytest

from proxy.core.rating import CardBook, Price, RateCard
from proxy.core.usage import Meter
from proxy.store import StoreError
from proxy.store.card_files import NewCard
from proxy.store.price_diff import MeterDiff, ModelDiff, What, diff
from proxy.store.published_prices import Published

NOW = datetime(2026, 11, 1, tzinfo=UTC)
OURS = RateCard(
    "c1",
    "openai",
    "talk",
    NOW,
    {Meter.TEXT_IN: Price(4), Meter.AUDIO_IN: Price(32), Meter.IMAGE_IN: Price(5)},
)


def compared(*published: Published, models: tuple[str, ...] = ()) -> tuple[ModelDiff, ...]:
    book = CardBook([OURS])
    return diff(published, book, provider="openai", models=models, effective_from=NOW, source="file")


def test_each_price_is_the_same_changed_new_or_kept() -> None:
    theirs = {Meter.TEXT_IN: Price(4), Meter.AUDIO_IN: Price(30), Meter.TEXT_OUT: Price(16)}
    (one,) = compared(Published("talk", False, theirs, ("odd",)))
    assert one.meters == (
        MeterDiff(Meter.TEXT_IN, What.SAME, Price(4), Price(4)),
        MeterDiff(Meter.AUDIO_IN, What.CHANGED, Price(32), Price(30)),
        MeterDiff(Meter.IMAGE_IN, What.KEPT, Price(5), None),
        MeterDiff(Meter.TEXT_OUT, What.NEW, None, Price(16)),
    )
    assert one.card == NewCard("openai", "talk", NOW, "file", {**OURS.prices, **theirs})
    assert one.left_out == ("odd",)


def test_where_nothing_differs_there_is_no_card_nor_for_a_snapshot_of_the_same_price() -> None:
    same = {Meter.TEXT_IN: Price(4)}
    first, second = compared(Published("talk", True, same), Published("talk-2026-01-01", True, same))
    assert (first.card, second.card) == (None, None)


def test_of_a_thousand_models_those_that_speak_or_have_a_card_are_compared() -> None:
    prices = {Meter.TEXT_IN: Price(9)}
    found = compared(
        Published("talk", False, prices), Published("chat", False, prices), Published("new", True, prices)
    )
    assert [one.model for one in found] == ["new", "talk"]
    (chat,) = compared(Published("chat", False, prices), models=("chat",))
    assert chat.card == NewCard("openai", "chat", NOW, "file", prices)


def test_a_model_without_any_price_that_can_be_taken_makes_no_card() -> None:
    (one,) = compared(Published("new", True, {}, ("tiers",)))
    assert (one.card, one.meters, one.left_out) == (None, (), ("tiers",))


def test_a_model_that_the_file_does_not_have_is_told() -> None:
    with pytest.raises(StoreError, match="no model 'none': nothing was compared"):
        compared(Published("talk", True, {}), models=("talk", "none"))

"""What the lines of the provider's bill are, by rules."""

import pytest

from proxy.core.line_items import LineItems, Meant, Rule, rule_problem
from proxy.core.usage import Meter
from tests.bill_rules import DEFAULTS

ITEMS = LineItems(DEFAULTS)


@pytest.mark.parametrize(
    ("line_item", "meant"),
    [
        ("gpt-realtime-2.1, audio input", Meant("gpt-realtime-2.1", Meter.AUDIO_IN)),
        ("gpt-realtime-2025-08-28, cached audio input", Meant("gpt-realtime", Meter.AUDIO_IN_CACHED)),
        ("GPT-Realtime, Text Output", Meant("GPT-Realtime", Meter.TEXT_OUT)),
        ("whisper-1, duration", Meant("whisper-1", Meter.DURATION_MS)),
        ("gpt-4o, input", None),
        (", audio input", None),
        ("audio input", None),
    ],
)
def test_the_rules_that_come_with_it(line_item: str, meant: Meant | None) -> None:
    assert ITEMS.find(line_item) == meant


def test_every_meter_that_can_be_billed_has_a_rule() -> None:
    assert {rule.meter for rule in DEFAULTS} == set(Meter) - {Meter.UNTOLD_IN, Meter.UNTOLD_OUT}
    assert [rule_problem(rule) for rule in DEFAULTS] == [None] * len(DEFAULTS)


def test_the_most_particular_rule_decides() -> None:
    rules = [
        Rule("*, audio input", Meter.AUDIO_IN),
        Rule("gpt-4o*", None),
        Rule("gpt-4o-realtime, audio input", Meter.AUDIO_IN, "gpt-4o-realtime-preview"),
        Rule("Voice * in", Meter.AUDIO_IN, "gpt-realtime"),
    ]
    items = LineItems(rules)
    assert items.find("gpt-4o-realtime, audio input") == Meant("gpt-4o-realtime-preview", Meter.AUDIO_IN)
    assert items.find("gpt-4o-mini, input") == Meant("", None)
    assert items.find("voice whatever in") == Meant("gpt-realtime", Meter.AUDIO_IN)
    assert LineItems(rules[::-1]).find("gpt-realtime, audio input") == Meant("gpt-realtime", Meter.AUDIO_IN)


def test_how_a_line_begins_says_more_than_how_it_ends() -> None:
    """Else what another app pays for could not be left out: the rules that come with it are longer."""
    items = LineItems(
        [*DEFAULTS, Rule("gpt-4o*", None), Rule("gpt-4o-realtime*, audio input", Meter.AUDIO_IN, "m")]
    )
    assert items.find("gpt-4o-mini, text input") == Meant("", None)
    assert items.find("gpt-4o-realtime-preview, audio input") == Meant("m", Meter.AUDIO_IN)
    assert items.find("gpt-realtime, text input") == Meant("gpt-realtime", Meter.TEXT_IN)
    last = LineItems([*DEFAULTS, Rule("*", None)])
    assert last.find("gpt-realtime, text input") == Meant("gpt-realtime", Meter.TEXT_IN)
    assert last.find("storage") == Meant("", None)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (Rule(" ", Meter.AUDIO_IN, "m"), "printable"),
        (Rule("a\nb", None), "printable"),
        (Rule("x" * 201, None), "1 to 200"),
        (Rule("*, *", Meter.AUDIO_IN), "one *"),
        (Rule("audio", Meter.AUDIO_IN), "which model"),
        (Rule("audio", None, "m"), "has no model"),
    ],
)
def test_rules_that_cannot_be_used(rule: Rule, said: str) -> None:
    assert said in str(rule_problem(rule))

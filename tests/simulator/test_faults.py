"""The `sim=` parameter."""

import pytest

from proxy.simulator.faults import Faults, parse


def test_names_and_values() -> None:
    assert parse("") == Faults()
    assert parse("abort_after_audio:3,duplicate_done,slow_response:0.5,snapshot:2026-06-01") == Faults(
        abort_after_audio=3, duplicate_done=True, slow_response=0.5, snapshot="2026-06-01"
    )


def test_a_session_adds_to_the_simulators_own() -> None:
    assert parse("words:2", Faults(omit_usage=True, words=9)) == Faults(omit_usage=True, words=2)


@pytest.mark.parametrize(
    "text", ["nonsense", "words", "words:many", "duplicate_done:1", "early_cancel:half", "expire:soon"]
)
def test_what_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse(text)

"""Silence and stalls, as they are measured."""

from types import SimpleNamespace
from typing import Any

from proxy.relay.clocks import Clocks


def side(**changes: Any) -> Any:
    """Return a side that is read, has said nothing and takes nothing."""
    return SimpleNamespace(
        **({"bytes_heard": 0, "is_held": False, "is_full": True, "bytes_taken": 0} | changes)
    )


def test_silence_counts_from_the_last_byte() -> None:
    clocks = Clocks(100.0)
    quiet = side()
    assert clocks.silent_s(quiet, 103.0) == 3.0
    quiet.bytes_heard = 1
    assert clocks.silent_s(quiet, 104.0) == 0.0
    assert clocks.silent_s(quiet, 106.0) == 2.0


def test_a_side_that_is_not_read_is_not_silent() -> None:
    clocks = Clocks(0.0)
    assert clocks.silent_s(side(is_held=True), 50.0) == 0.0
    assert clocks.silent_s(side(), 51.0) == 1.0


def test_a_stall_is_a_full_buffer_that_nothing_leaves() -> None:
    clocks = Clocks(0.0)
    assert clocks.stalled_s(side(bytes_taken=10), 5.0) == 0.0  # something left
    assert clocks.stalled_s(side(bytes_taken=10), 7.0) == 2.0
    assert clocks.stalled_s(side(bytes_taken=11), 8.0) == 0.0
    assert clocks.stalled_s(side(bytes_taken=11), 9.5) == 1.5
    assert clocks.stalled_s(side(bytes_taken=11, is_full=False), 20.0) == 0.0
    assert clocks.stalled_s(side(bytes_taken=11), 21.0) == 1.0

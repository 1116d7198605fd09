"""Attempts at a password: so many from an address, so many in all, then a wait; memory is bounded."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.attempts import OF_ADDRESS_MAX, OF_ALL_MAX, WITHIN, Attempts

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
WITHIN_S = int(WITHIN.total_seconds())


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_an_address_may_fail_five_times_within_fifteen_minutes() -> None:
    attempts = Attempts()
    for second in range(5):
        assert attempts.wait_s("a", after(second)) == 0
        attempts.failed("a", after(second))
    assert attempts.wait_s("a", after(5)) == WITHIN_S - 5
    assert attempts.wait_s("a", after(WITHIN_S - 0.5)) == 1
    assert attempts.wait_s("b", after(5)) == 0
    assert attempts.wait_s("a", after(WITHIN_S)) == 0  # the first one is over
    attempts.failed("a", after(WITHIN_S))
    assert attempts.wait_s("a", after(WITHIN_S)) == 1  # until the second one is


def test_all_together_may_fail_twenty_times() -> None:
    attempts = Attempts()
    for number in range(20):
        assert attempts.wait_s(f"a{number}", after(number)) == 0
        attempts.failed(f"a{number}", after(number))
    assert attempts.wait_s("another", after(20)) == WITHIN_S - 20
    assert attempts.wait_s("another", after(WITHIN_S)) == 0


def test_a_success_clears_the_address_and_no_other() -> None:
    attempts = Attempts()
    for address in ("a", "b"):
        for _ in range(5):
            attempts.failed(address, NOW)
    attempts.succeeded("a")
    assert (attempts.wait_s("a", NOW), attempts.wait_s("b", NOW)) == (0, WITHIN_S)


def test_a_clock_that_is_set_back_locks_nobody_out() -> None:
    attempts = Attempts()
    for _ in range(5):
        attempts.failed("a", NOW)
    assert attempts.wait_s("a", NOW - timedelta(hours=1)) == 0


@given(tries=st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 120), st.booleans()), max_size=200))
def test_no_more_failures_than_that_within_any_fifteen_minutes(tries: list[tuple[str, int, bool]]) -> None:
    """Nor any way to be locked out for longer than fifteen minutes."""
    attempts, now, failures = Attempts(), NOW, list[tuple[datetime, str]]()
    for address, seconds, is_good in tries:
        now += timedelta(seconds=seconds)
        wait_s = attempts.wait_s(address, now)
        assert 0 <= wait_s <= WITHIN_S
        if wait_s:
            assert attempts.wait_s(address, now + timedelta(seconds=wait_s)) == 0
            attempts = _again(failures)
        elif is_good:
            attempts.succeeded(address)
            failures = [one for one in failures if one[1] != address]
        else:
            attempts.failed(address, now)
            failures.append((now, address))
        lately = [whose for at, whose in failures if at > now - WITHIN]
        assert len(lately) <= OF_ALL_MAX
        assert all(lately.count(whose) <= OF_ADDRESS_MAX for whose in lately)


def _again(failures: list[tuple[datetime, str]]) -> Attempts:
    """Return attempts as they were before somebody looked into the future."""
    attempts = Attempts()
    for at, address in failures:
        attempts.failed(address, at)
    return attempts


def test_memory_is_bounded_whoever_forgets_to_ask() -> None:
    attempts = Attempts()
    for number in range(1_000):
        attempts.failed(f"a{number}", NOW)
    assert len(attempts._failures) == OF_ALL_MAX
    assert attempts.wait_s("a", NOW) == WITHIN_S

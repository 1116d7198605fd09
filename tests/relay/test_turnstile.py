"""How many sessions are let in: by tenant and key, on this instance and on others, by the minute."""

from datetime import UTC, datetime, timedelta

from proxy.core.identity import Principal
from proxy.core.limits import NO_LIMITS, Limits
from proxy.relay.turnstile import Turnstile

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ONE = Principal("key_1", "ten_1", "acme")
SIBLING = Principal("key_2", "ten_1", "acme")
OTHER = Principal("key_3", "ten_2", "other")


def turnstile(**limits: Limits) -> Turnstile:
    return Turnstile(lambda owner: limits.get(owner, NO_LIMITS))


def refused(gate: Turnstile, who: Principal, now: datetime = NOW) -> str | None:
    refusal = gate.refusal(who, now)
    return refusal.name if refusal else None


def test_without_limits_everybody_is_let_in_and_nothing_is_kept() -> None:
    gate = turnstile()
    for _ in range(100):
        assert refused(gate, ONE) is None
        gate.begin(ONE, NOW)
        gate.enter(ONE)
    for _ in range(100):
        gate.leave(ONE)
    assert not gate._here and not gate._begun


def test_concurrent_sessions_of_a_tenant() -> None:
    gate = turnstile(ten_1=Limits(sessions=2))
    gate.enter(ONE)
    assert refused(gate, SIBLING) is None
    gate.enter(SIBLING)
    assert refused(gate, ONE) == refused(gate, SIBLING) == "limit_sessions"
    assert refused(gate, OTHER) is None
    gate.leave(ONE)
    assert refused(gate, ONE) is None


def test_concurrent_sessions_of_a_key_beside_its_tenants() -> None:
    gate = turnstile(ten_1=Limits(sessions=3), key_1=Limits(sessions=1))
    gate.enter(ONE)
    assert refused(gate, ONE) == "limit_sessions"
    assert refused(gate, SIBLING) is None


def test_sessions_on_other_instances_count() -> None:
    gate = turnstile(ten_1=Limits(sessions=3))
    gate.elsewhere = {"ten_1": 2, "key_2": 2}
    assert refused(gate, ONE) is None
    gate.enter(ONE)
    assert refused(gate, ONE) == "limit_sessions"
    gate.elsewhere = {}
    assert refused(gate, ONE) is None


def test_new_sessions_in_a_sliding_minute() -> None:
    gate = turnstile(key_1=Limits(sessions_per_minute=2))
    for seconds in (0, 30):
        assert refused(gate, ONE, NOW + timedelta(seconds=seconds)) is None
        gate.begin(ONE, NOW + timedelta(seconds=seconds))
    assert refused(gate, ONE, NOW + timedelta(seconds=59)) == "limit_sessions_per_minute"
    assert refused(gate, SIBLING) is None
    assert refused(gate, ONE, NOW + timedelta(seconds=60)) is None
    gate.begin(ONE, NOW + timedelta(seconds=60))
    assert refused(gate, ONE, NOW + timedelta(seconds=61)) == "limit_sessions_per_minute"


def test_what_was_no_session_is_not_counted() -> None:
    gate = turnstile(key_1=Limits(sessions_per_minute=1))
    gate.begin(ONE, NOW)
    assert refused(gate, ONE) == "limit_sessions_per_minute"
    gate.unbegin(ONE, NOW)
    assert refused(gate, ONE) is None
    gate.begin(ONE, NOW)
    assert refused(gate, ONE, NOW + timedelta(seconds=59)) == "limit_sessions_per_minute"


def test_a_limit_that_is_removed_is_forgotten() -> None:
    limits = {"key_1": Limits(sessions_per_minute=1)}
    gate = Turnstile(lambda owner: limits.get(owner, NO_LIMITS))
    gate.begin(ONE, NOW)
    limits.clear()
    assert refused(gate, ONE) is None
    gate.begin(ONE, NOW)
    assert not gate._begun

"""The catalogue of refusals: complete, within the limits of the wire, and discreet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import refusal
from proxy.core.refusal import CLOSE_POLICY, CLOSE_REASON_BYTES_MAX, Refusal

CATALOGUE = [value for value in vars(refusal).values() if isinstance(value, Refusal)]
MADE = [
    refusal.unreadable("not JSON"),
    refusal.budget_spent("tenant", "month"),
    refusal.stopped(""),
    refusal.stopped("runaway agent"),
    refusal.limit_reached("session_seconds", "600 s"),
    refusal.limit_reached("sessions", "3"),
    refusal.model_not_allowed("whisper-1"),
    refusal.model_unpriced("talk-2"),
    refusal.budget_unknown("tenant", "month"),
]
ALL = pytest.mark.parametrize("answer", CATALOGUE + MADE, ids=lambda answer: answer.name)


def test_there_is_a_catalogue() -> None:
    assert len(CATALOGUE) >= 12
    assert len({answer.name for answer in CATALOGUE}) == len(CATALOGUE)


@ALL
def test_every_refusal_says_all_that_a_client_needs(answer: Refusal) -> None:
    assert answer.name and answer.type and answer.code and answer.message.strip()
    assert 400 <= answer.http_status <= 599


@ALL
def test_every_close_reason_fits_its_frame(answer: Refusal) -> None:
    reason = answer.close_reason
    assert len(reason.encode()) <= CLOSE_REASON_BYTES_MAX == 123
    assert reason.startswith(f"{answer.code}: ")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_a_close_reason_is_cut_between_characters(text: str) -> None:
    reason = refusal.unreadable(text).close_reason
    assert len(reason.encode()) <= CLOSE_REASON_BYTES_MAX
    assert f"invalid_event: {text}".startswith(reason)
    if len(f"invalid_event: {text}".encode()) <= CLOSE_REASON_BYTES_MAX:
        assert reason == f"invalid_event: {text}"


@ALL
def test_whatever_ends_a_session_is_final_for_a_client_that_always_reconnects(answer: Refusal) -> None:
    final = answer.as_final()
    assert {"insufficient_quota", "invalid_api_key"} & {final.type, final.code}
    assert (final.name, final.code, final.message) == (answer.name, answer.code, answer.message)


def test_what_must_not_be_retried_has_a_final_status() -> None:
    """openai-node retries 408, 429 and 5xx; a wrong key or a spent budget has to be final."""
    assert refusal.budget_spent("tenant", "month").http_status == 402
    for answer in (refusal.UNKNOWN_KEY, refusal.KEY_MISSING, refusal.KEY_EXPIRED, refusal.KEY_REVOKED):
        assert answer.http_status == 401
        assert answer.code == "invalid_api_key"


def test_what_may_be_retried_has_a_status_that_says_so() -> None:
    for answer in (refusal.DRAINING, refusal.DATABASE_DOWN, refusal.DISK_FULL):
        assert answer.http_status == 503
    assert refusal.TOO_MANY_SESSIONS.http_status == 429


def test_a_cut_in_mid_session_is_one_that_every_sdk_takes_for_final() -> None:
    assert CLOSE_POLICY == 1008
    for answer in (
        refusal.budget_spent("API key", "day"),
        refusal.stopped(""),
        refusal.limit_reached("responses", "3"),
    ):
        assert answer.type == "insufficient_quota"


def test_a_spent_budget_names_scope_and_window_and_no_figures() -> None:
    message = refusal.budget_spent("project", "month").message
    assert "project" in message and "month" in message
    assert not any(character.isdigit() for character in message)

"""Requests that wait for their response."""

from datetime import UTC, datetime, timedelta

from proxy.core.asked import ASKED_MAX, ASKED_S_MAX, Asked, AskedQueue

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def test_a_response_answers_the_oldest_request_of_its_kind() -> None:
    asked = AskedQueue()
    for key, out_of_band in (("a", False), ("b", True), ("c", True)):
        assert not list(asked.put(Asked(key, None, NOW, out_of_band=out_of_band)))
    asked.expected_at = NOW
    answered = []
    for out_of_band, expected_at in ((True, NOW), (False, None), (False, None)):
        found = asked.next(out_of_band=out_of_band)
        assert asked.answer(out_of_band=out_of_band) is found
        assert asked.expected_at == expected_at
        answered.append(found)
    assert [one and one.key for one in answered] == ["b", "a", "c"]
    assert asked.next(out_of_band=True) is None


def test_what_turn_detection_starts_answers_no_request_out_of_band() -> None:
    asked = AskedQueue()
    assert not list(asked.put(Asked("a", None, NOW, out_of_band=True)))
    asked.expected_at = NOW
    assert asked.next() is None
    assert asked.answer() is None
    assert asked.expected_at is None


def queue(*event_ids: str | None) -> AskedQueue:
    asked = AskedQueue()
    for n, event_id in enumerate(event_ids):
        assert not list(asked.put(Asked(f"ask_{n}", event_id, NOW + timedelta(seconds=n))))
    return asked


def keys(asked: list[Asked]) -> list[str]:
    return [one.key for one in asked]


def test_a_response_answers_the_oldest_request_and_what_was_expected() -> None:
    asked = queue("e1", None)
    asked.expected_at = NOW
    first = asked.answer()
    assert first is not None
    assert first.key == "ask_0"
    assert asked.expected_at is None
    assert asked.answer() is not None
    assert asked.answer() is None
    assert not asked


def test_an_error_refuses_the_request_that_it_names_else_the_latest() -> None:
    asked = queue("e1", "e2", None)
    named = asked.refuse("e2", "invalid_value")
    assert named is not None
    assert named.key == "ask_1"
    assert asked.refuse(None, "invalid_value") is None
    latest = asked.refuse(None, "conversation_already_has_active_response")
    assert latest is not None
    assert latest.key == "ask_2"
    assert asked


def test_requests_expire_one_by_one() -> None:
    asked = queue("e1", "e2")
    asked.expected_at = NOW
    assert keys(list(asked.expire(NOW + ASKED_S_MAX - timedelta(microseconds=1)))) == []
    assert keys(list(asked.expire(NOW + ASKED_S_MAX))) == ["ask_0"]
    assert asked.expected_at is None
    assert keys(list(asked.clear())) == ["ask_1"]
    assert not asked


def test_an_answer_is_due_while_a_request_waits_or_turn_detection_is_about_to_start_one() -> None:
    asked = AskedQueue()
    assert not asked.is_due
    asked.expected_at = NOW
    assert asked.is_due
    assert not list(asked.expire(NOW + ASKED_S_MAX))
    assert not asked.is_due
    assert queue("e1").is_due


def test_there_is_a_limit_to_them() -> None:
    asked = AskedQueue()
    dropped = [gone for n in range(ASKED_MAX + 2) for gone in asked.put(Asked(f"ask_{n}", None, NOW))]
    assert keys(dropped) == ["ask_0", "ask_1"]

"""Announcements as messages."""

import json
from datetime import UTC, datetime

from proxy.core.announced import Announced, Announcement

AT = datetime(2026, 11, 26, 12, 0, 0, 250_000, tzinfo=UTC)


def made(key: str = "k1", id: int = 1) -> Announcement:
    return Announcement(
        id, key, Announced.BUDGET_CUT, "ten_1", AT, {"session_id": "ses_1", "cost_nanousd": None}
    )


def test_an_announcement_has_one_id_wherever_it_is_kept() -> None:
    assert made().message_id == made(id=77).message_id
    assert made().message_id != made("k2").message_id
    assert made("a.b").message_id.startswith("msg_") and "." not in made("a.b").message_id


def test_the_message_says_what_when_and_the_rest() -> None:
    assert json.loads(made().body()) == {
        "type": "budget.cut",
        "timestamp": "2026-11-26T12:00:00.250000Z",
        "data": {"session_id": "ses_1", "cost_nanousd": None},
    }
    assert made().body() == made().body()

"""What is announced, and what a receiver is sent of it.

A message's id is made from the announcement's own key, so every attempt, every receiver and a
database that was restored from a backup give one announcement the same id: receivers keep one of each.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

_ID_DIGITS = 32


class Announced(StrEnum):
    """The kinds of announcements. A webhook asks for some of them, or for all."""

    BUDGET_THRESHOLD = "budget.threshold"
    BUDGET_CUT = "budget.cut"
    SESSION_ENDED = "session.ended"
    SPEND_ANOMALY = "spend.anomaly"
    BUDGET_FORECAST = "budget.forecast"
    SPEND_UNEXPLAINED = "spend.unexplained"


TEST = "webhook.test"  # nor for this one: it is sent to the one webhook that somebody tries out
REPORT = "report.scheduled"  # nobody asks for this kind: a schedule names who is sent its reports


class Channel(StrEnum):
    """How a receiver is reached."""

    WEBHOOK = "webhook"  # signed JSON
    SLACK = "slack"  # a webhook that takes {"text": …}, of Slack and others
    EMAIL = "email"


@dataclass(frozen=True, slots=True)
class Announcement:
    """One row of the outbox. `key` is what is announced once; `kind` may be a later version's."""

    id: int
    key: str
    kind: str
    tenant_id: str | None
    at: datetime
    payload: Mapping[str, Any]

    @property
    def message_id(self) -> str:
        """Return what `webhook-id` says."""
        return message_id(self.key)

    def body(self) -> bytes:
        """Return the message, the same bytes at every attempt: type, timestamp and data."""
        message = {"type": self.kind, "timestamp": self.at, "data": self.payload}
        return msgspec.json.encode(message, order="sorted")


def message_id(key: str) -> str:
    """Return the id of what is announced under `key`: without a full stop, which divides what is signed."""
    return "msg_" + hashlib.sha256(key.encode()).hexdigest()[:_ID_DIGITS]

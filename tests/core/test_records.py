"""What the journal keeps: keys that are unique for ever, digests that tell payloads apart."""

from datetime import UTC, datetime
from itertools import product
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.rating import Line
from proxy.core.records import (
    Entry,
    Kind,
    Progress,
    Record,
    Role,
    SessionBound,
    SessionClosed,
    SessionOpened,
    SubjectOpened,
)
from proxy.core.usage import Meter

NOW = datetime(2026, 11, 1, 12, 30, 15, 250_000, tzinfo=UTC)
LINES = (Line(meter=Meter.TEXT_IN, quantity=3, price_nanousd=4_000, price_per=1, cost_nanousd=12_000),)

DEFAULTS: dict[str, Any] = {
    "session_id": "ses_1",
    "upstream_session_id": "sess_up",
    "provider": "openai",
    "kind": Kind.RESPONSE,
    "subject_id": "resp_1",
    "model": "gpt-realtime-2.1",
    "status": "completed",
    "occurred_at": NOW,
    "lines": LINES,
    "cost_nanousd": 12_000,
}


def entry(**changes: Any) -> Entry:
    return Entry(**(DEFAULTS | changes))


RECORDS: list[Record] = [
    SessionOpened(
        session_id="ses_1",
        tenant_id="ten_1",
        project_id=None,
        api_key_id="key_1",
        end_user="ada",
        tags={"team": "a"},
        provider="openai",
        account="org/proj",
        model=None,
        opened_at=NOW,
    ),
    SessionBound(session_id="ses_1", upstream_session_id="sess_up", model="gpt-realtime-2.1", at=NOW),
    SubjectOpened(
        session_id="ses_1",
        upstream_session_id="sess_up",
        provider="openai",
        kind=Kind.TRANSCRIPTION,
        subject_id="item_1:0",
        model=None,
        opened_at=NOW,
    ),
    Progress(session_id="ses_1", kind=Kind.RESPONSE, subject_id="resp_1", lines=LINES, cost_nanousd=12_000),
    entry(flags=("cached_spread",), estimated=True),
    SessionClosed(session_id="ses_1", closed_at=NOW, close_code=None, reason="client_lost"),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_is_read_back_as_it_was_written(record: Record) -> None:
    decoded: Record = msgspec.json.decode(msgspec.json.encode(record), type=Record)
    assert decoded == record


def test_the_key_is_made_of_the_providers_own_ids() -> None:
    assert entry().entry_key == "openai/sess_up/resp_1/response/0/original"
    correction = entry(role=Role.REPLACEMENT, revision=1)
    assert correction.entry_key == "openai/sess_up/resp_1/response/1/replacement"


def test_our_session_id_stands_in_when_upstream_gave_none() -> None:
    assert entry(upstream_session_id=None).entry_key == "openai/ses_1/resp_1/response/0/original"
    assert entry(upstream_session_id="").entry_key == "openai/ses_1/resp_1/response/0/original"


def test_two_instances_that_saw_the_same_response_agree_on_its_key() -> None:
    assert entry(session_id="ses_1").entry_key == entry(session_id="ses_2").entry_key


IDS = st.text(st.sampled_from("ab/%2F5"), min_size=1, max_size=6)


@given(IDS, IDS, IDS, IDS)
def test_different_ids_never_make_the_same_key(session: str, subject: str, other: str, another: str) -> None:
    one = entry(upstream_session_id=session, subject_id=subject)
    two = entry(upstream_session_id=other, subject_id=another)
    assert (one.entry_key == two.entry_key) == ((session, subject) == (other, another))


def test_an_id_with_the_escape_in_it_is_another_id() -> None:
    assert entry(subject_id="a/b").entry_key != entry(subject_id="a%2Fb").entry_key


def test_kind_role_and_revision_are_part_of_the_key() -> None:
    entries = [entry(kind=k, role=r, revision=n) for k, r, n in product(Kind, Role, (0, 1))]
    assert len({e.entry_key for e in entries}) == len(entries)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "gpt-realtime-2.1-mini"},
        {"status": "cancelled"},
        {"estimated": True},
        {"lines": ()},
        {"lines": (msgspec.structs.replace(LINES[0], quantity=4),)},
        {"cost_nanousd": 12_001},
        {"cost_nanousd": None},
    ],
)
def test_another_bill_has_another_digest(changes: dict[str, Any]) -> None:
    assert entry(**changes).digest != entry().digest


def test_the_same_bill_seen_elsewhere_has_the_same_digest() -> None:
    later = NOW.replace(year=2027)
    assert entry(session_id="ses_2", occurred_at=later, flags=("never_opened",)).digest == entry().digest
    assert len(entry().digest) == 64

"""`/periods` and `/statements`: what stands in the way of a close, and what is owed after it."""

import csv
import io
from datetime import UTC, datetime
from typing import Any

import pytest

from proxy.core.usage import Meter
from proxy.store import statement_pdf
from proxy.store.database import reading
from proxy.store.statement_pdf import to_pdf
from proxy.store.statements import find_statement
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import ISSUER, Asking
from tests.ledgers import MODEL

OCTOBER = datetime(2026, 10, 5, tzinfo=UTC)
CLOSE = "/periods/2026-10/close"
OVERRIDES: dict[str, Any] = {"overrides": {"unrated": "no price yet"}, "reason": "it is over"}


def fill(api: Asking) -> None:
    """October of acme and of globex: of acme's one entry has no price."""
    for session, tenant, project in (("s1", "acme", "web"), ("s2", "globex", None)):
        api.books.open(session, tenant, project, at=OCTOBER)
        api.books.bill(session, f"{session}-r1", {Meter.TEXT_IN: 1_251_000, Meter.AUDIO_OUT: 1}, at=OCTOBER)
        api.books.close(session, at=OCTOBER)
    api.books.bill("s1", "r2", {Meter.TEXT_IN: 7}, at=OCTOBER, model="gpt-unknown")


async def test_a_month_is_closed_once(api: Asking) -> None:
    fill(api)
    (month,) = (await api.done("GET", "/periods"))["data"]
    assert month == {
        "period": "2026-10",
        "state": "over",
        "closed_at": None,
        "closed_by": None,
        "seal": None,
        "statements": 0,
        "entries": 3,
        "unrated_entries": 1,
        "billed_nanousd": 10_008_128_000,
        "billed_usd": "10.008128000",
        "archive": None,
        "overridden": [],
    }
    standing = await api.done("GET", "/periods/2026-10")
    unrated = {"name": "unrated", "count": 1, "examples": ["entry 3: gpt-unknown"]}
    unrated["problem"] = "entries have no price, and would be stated without an amount"
    unrated["remedy"] = "give their models prices, then rate again what is unrated"
    assert standing == {"period": "2026-10", "can_be_closed": False, "obstacles": [unrated]}
    told = (await api.problem(409, "POST", CLOSE, {}))["detail"]
    assert told == (
        "2026-10 cannot be closed yet:\n"
        f"unrated: 1 {unrated['problem']} (entry 3: gpt-unknown)\n"
        f"    {unrated['remedy']}; or override unrated, with a reason"
    )
    finance = api.token(TokenRole.FINANCE)
    made = (await api.twice(CLOSE, OVERRIDES, token=finance)).json
    overridden = {"what": "unrated", "count": 1, "examples": unrated["examples"], "reason": "no price yet"}
    assert made.items() >= {"period": "2026-10", "zone": "UTC", "closed_by": "api:finance"}.items()
    assert (made["statements"], made["overridden"]) == (2, [overridden])
    (closed,) = (await api.done("GET", "/periods"))["data"]
    assert closed == month | {
        "state": "closed",
        "closed_at": made["closed_at"],
        "closed_by": "api:finance",
        "seal": made["seal"],
        "statements": 2,
        "overridden": [overridden],
    }
    again = "2026-10 is closed: what concerns it later is booked to 2026-11 or after."
    await api.refused(409, again, "POST", CLOSE, OVERRIDES)
    await api.refused(409, again, "GET", "/periods/2026-10")
    verified = await api.done("GET", "/ledger/verify")
    assert verified["digest"] == made["seal"], "nothing was booked since"
    (act,) = (one for one in await api.acts() if one["action"] == "period.close")
    assert (act["actor"], act["object"], act["reason"]) == ("api:finance", "2026-10", "it is over")
    after = {"zone": "UTC", "seal": made["seal"], "statements": 2, "overridden": [overridden]}
    assert act["after"] == after


async def test_what_each_tenant_owes(api: Asking) -> None:
    fill(api)
    credit = {"kind": "credit", "tenant": "acme", "key": "k", "reason": "outage 7", "billed_usd": "-1"}
    await api.done("POST", "/adjustments", credit | {"occurred_at": "2026-10-06"})
    closed = await api.done("POST", CLOSE, OVERRIDES)
    globex, acme = (await api.done("GET", "/statements"))["data"]
    assert acme == {
        "number": "2026-10-0001",
        "period": "2026-10",
        "zone": "UTC",
        "starts_at": "2026-10-01T00:00:00Z",
        "ends_at": "2026-11-01T00:00:00Z",
        "tenant": "acme",
        "tenant_id": api.books.key("acme", "web").tenant_id,
        "entries": 3,
        "total_usd": "4.00",
        "billed_nanousd": 4_004_064_000,
        "billed_usd": "4.004064000",
        "rounding_nanousd": -4_064_000,
        "rounding_usd": "-0.004064000",
        "unrated_entries": 1,
        "closed_at": closed["closed_at"],
        "issuer": ISSUER,
        "digest": closed["seal"],
        "note": "This is not a tax invoice.",
    }
    whole = await api.done("GET", "/statements/2026-10-0001")
    lines = whole.pop("lines")
    assert whole == acme
    shown = ("line", "project", "model", "meter", "quantity", "reason", "billed_nanousd", "billed_usd")
    assert [tuple(line[name] for name in shown) for line in lines] == [
        ("usage", "web", MODEL, "text_in", 1_251_000, None, 5_004_000_000, "5.004000000"),
        ("usage", "web", MODEL, "audio_out", 1, None, 64_000, "0.000064000"),
        ("unrated", "web", "gpt-unknown", "text_in", 7, None, None, None),
        ("adjustment", None, None, None, None, "outage 7", -1_000_000_000, "-1.000000000"),
    ]
    for params, found in (
        ({"tenant": "globex"}, [globex]),
        ({"period": "2026-10", "tenant": "acme"}, [acme]),
        ({"period": "2026-09"}, []),
    ):
        assert (await api.done("GET", "/statements", params=params))["data"] == found, params
    assert await api.pages("/statements", 1) == [[globex], [acme]]
    viewer = api.token(TokenRole.VIEWER, "globex")
    assert (await api.done("GET", "/statements", token=viewer))["data"] == [globex]
    unseen = "There is no statement '2026-10-0001'"
    await api.refused(404, unseen, "GET", "/statements/2026-10-0001", token=viewer)


async def test_a_statement_as_a_file(api: Asking) -> None:
    """The very bytes that the command line writes, for whoever may see the statement."""
    fill(api)
    await api.done("POST", CLOSE, OVERRIDES)
    with reading(api.engine) as connection:
        whole = find_statement(connection, "2026-10-0001")
    path = "/statements/2026-10-0001/file"
    viewer, other = api.token(TokenRole.VIEWER, "acme"), api.token(TokenRole.VIEWER, "globex")
    for params, kind, made in (
        ({}, "application/pdf", to_pdf(whole)),
        ({"format": "pdf"}, "application/pdf", to_pdf(whole)),
        ({"format": "csv"}, "text/csv", whole.as_csv().encode()),
    ):
        for token in (viewer, api.token(TokenRole.AUDITOR)):
            answered = await api("GET", path, params=params, token=token)
            assert (answered.status, answered.json) == (200, made)
            assert answered.headers["Content-Type"].partition(";")[0] == kind
            name = f"statement-2026-10-0001.{params.get('format', 'pdf')}"
            assert answered.headers["Content-Disposition"] == f'attachment; filename="{name}"'
        await api.refused(404, "There is no statement", "GET", path, params=params, token=other)
    rows = list(csv.DictReader(io.StringIO(whole.as_csv(), newline="")))
    assert [(row["line"], row["billed_usd"]) for row in rows] == [
        ("usage", "5.004000000"),
        ("usage", "0.000064000"),
        ("unrated", ""),
        ("rounding", "-0.004064000"),
    ]
    await api.problem(422, "GET", path, params={"format": "xlsx"})
    await api.refused(404, "There is no statement '2026-10-0009'", "GET", "/statements/2026-10-0009/file")


async def test_more_lines_than_a_pdf_takes(embedded: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(embedded)
    await embedded.done("POST", CLOSE, OVERRIDES)
    monkeypatch.setattr(statement_pdf, "LINES_MAX", 2)
    path = "/statements/2026-10-0001/file"
    await embedded.refused(422, "has 3 lines, and a PDF at most 2: take it as CSV.", "GET", path)
    await embedded.done("GET", path, params={"format": "csv"})


async def test_what_cannot_be_closed(embedded: Asking) -> None:
    nothing = "The ledger has nothing in or before 2026-10"
    await embedded.refused(404, nothing, "POST", CLOSE, {})
    fill(embedded)
    for path, body, status, text in (
        ("/periods/2026-09/close", {}, 404, "The ledger has nothing in or before 2026-09"),
        ("/periods/2199-01/close", {}, 409, "2199-01 is not over before 2199-02-01T00:00:00Z"),
        ("/periods/2026-13/close", {}, 422, "#/period"),
        (CLOSE, {"overrides": {"all": "x"}}, 422, "Nothing called 'all' can be overridden: it is journals"),
        (CLOSE, {"overrides": {"unrated": " "}}, 422, "Say why unrated is overridden"),
        (CLOSE, {"overrides": {"unrated": "x" * 501}}, 422, "#/overrides/unrated"),
        (CLOSE, {"overrides": {"journals": "x"}}, 409, "2026-10 cannot be closed yet:\nunrated"),
        (CLOSE, OVERRIDES | {"reason": "a\u202eb"}, 422, "at most 500 printable characters"),
    ):
        await embedded.refused(status, text, "POST", path, body)
    earlier = datetime(2026, 9, 30, 23, tzinfo=UTC)
    embedded.books.open("s0", "acme", at=earlier)
    embedded.books.bill("s0", "r0", {Meter.TEXT_IN: 1}, at=earlier)
    first = "2026-09 has entries and is open: close it first."
    await embedded.refused(409, first, "POST", CLOSE, OVERRIDES)
    told = (await embedded.problem(409, "POST", "/periods/2026-09/close", {}))["detail"]
    assert "journals: 1 instances may have usage of this month" in told and "i1: 1 sessions" in told
    assert (await embedded.done("GET", "/statements"))["data"] == []
    assert not [action for _, action, _ in embedded.audit() if action == "period.close"]

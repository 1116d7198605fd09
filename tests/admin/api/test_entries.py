"""`/ledger`: entries with their lines, to the nano-dollar, and which are asked for."""

from datetime import UTC, datetime

from proxy.core.records import Kind
from proxy.core.usage import Meter
from tests.admin.api.asking import Asking
from tests.ledgers import MODEL

OCTOBER, NOVEMBER = datetime(2026, 10, 5, tzinfo=UTC), datetime(2026, 11, 5, tzinfo=UTC)


def fill(api: Asking) -> None:
    api.books.open("s1", "acme", "web", at=OCTOBER)
    api.books.open("s2", "globex", at=NOVEMBER)
    api.books.bill("s1", "r1", {Meter.TEXT_IN: 10, Meter.AUDIO_OUT: 3}, at=OCTOBER)
    api.books.bill("s1", "t1", {Meter.TEXT_IN: 1}, at=OCTOBER, kind=Kind.TRANSCRIPTION)
    api.books.bill("s2", "r2", {Meter.TEXT_IN: 1}, at=NOVEMBER, model="gpt-unknown")
    api.books.bill("s2", "r3", at=NOVEMBER, estimated=True, status="cancelled", status_reason="turn_detected")


async def test_an_entry_and_its_lines(api: Asking) -> None:
    fill(api)
    first = await api.done("GET", "/ledger/1")
    lines = first.pop("lines")
    (card,) = {line["rate_card_id"] for line in lines}
    assert first == {
        "id": 1,
        "occurred_at": "2026-10-05T00:00:00Z",
        "tenant": "acme",
        "project": "web",
        "api_key_id": api.books.key("acme", "web").id,
        "session_id": "s1",
        "upstream_session_id": "sess_s1",
        "model": MODEL,
        "kind": "response",
        "role": "original",
        "subject_id": "r1",
        "status": "completed",
        "status_reason": None,
        "rated": True,
        "estimated": False,
        "flags": [],
        "period": "2026-10",
        **{f"{name}_nanousd": 232_000 for name in ("list", "cost", "billed")},
        **{f"{name}_usd": "0.000232000" for name in ("list", "cost", "billed")},
        "public_card_id": None,  # it is the one in the lines
        "agreed_card_id": None,
        "markup_bp": None,
        "corrects": None,
        "corrects_period": None,
        "archive": None,
        "corrected_by": [],
    }
    assert [
        (one["meter"], one["quantity"], one["unit"], one["price_nanousd"], one["price_per"], one["cost_usd"])
        for one in lines
    ] == [
        ("audio_out", 3, "token", 64_000, 1, "0.000192000"),
        ("text_in", 10, "token", 4_000, 1, "0.000040000"),
    ]
    assert await api.done("GET", f"/rate-cards/{card}")
    unrated = await api.done("GET", "/ledger/3")
    assert (unrated["rated"], unrated["cost_nanousd"], unrated["billed_usd"]) == (False, None, None)
    assert (unrated["lines"][0]["quantity"], unrated["lines"][0]["cost_usd"]) == (1, None)
    last = await api.done("GET", "/ledger/4")
    assert (last["status"], last["status_reason"], last["estimated"]) == ("cancelled", "turn_detected", True)
    assert (last["flags"], last["lines"]) == (["usage_missing"], [])


async def test_which_are_asked_for(api: Asking) -> None:
    fill(api)
    for params, ids in (
        ({}, [1, 2, 3, 4]),
        ({"tenant": "acme"}, [1, 2]),
        ({"tenant": "acme", "project": "web"}, [1, 2]),
        ({"key": api.books.key("globex").id}, [3, 4]),
        ({"model": "gpt-unknown"}, [3]),
        ({"session": "s2"}, [3, 4]),
        ({"kind": "transcription"}, [2]),
        ({"unrated": "true"}, [3, 4]),
        ({"period": "2026-11"}, [3, 4]),
        ({"from": "2026-10-05T00:00:00Z", "to": "2026-11-05"}, [1, 2]),
        ({"from": "2026-10-05T00:00:00.000001Z"}, [3, 4]),
        ({"tenant": "acme", "session": "s2"}, []),
    ):
        told = await api.done("GET", "/ledger", params=params)
        assert [one["id"] for one in told["data"]] == ids, params
    whole = (await api.done("GET", "/ledger"))["data"]
    assert whole[0] | {"corrected_by": []} == await api.done("GET", "/ledger/1")
    pages = await api.pages("/ledger", 3)
    assert [len(page) for page in pages] == [3, 1] and sum(pages, []) == whole
    newest = await api.pages("/ledger", 3, newest_first="true")
    assert [len(page) for page in newest] == [3, 1] and sum(newest, []) == whole[::-1]
    of_acme = await api.pages("/ledger", 1, newest_first="true", tenant="acme")
    assert [[one["id"] for one in page] for page in of_acme] == [[2], [1]]


async def test_what_is_not_there(embedded: Asking) -> None:
    fill(embedded)
    await embedded.refused(404, "no entry 5", "GET", "/ledger/5")
    for path in ("/ledger/0", "/ledger/one", "/ledger/9223372036854775808"):
        await embedded.refused(422, "#/entry_id", "GET", path)
    await embedded.problem(405, "DELETE", "/ledger/1")

"""`/sessions`: what they came to, which are live, and stopping one."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from proxy.core.usage import Meter
from proxy.store.database import reading, writing
from proxy.store.prices import load_prices
from proxy.store.schema import live_session, stop_order
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking
from tests.ledgers import MODEL

OCTOBER = datetime(2026, 10, 5, 8, tzinfo=UTC)


def live(api: Asking, session_id: str, seen_at: datetime) -> None:
    figures = {"cost_nanousd": 300_000, "responses": 4, "running_nanousd": 3, "burn_nanousd": 2}
    row = {"session_id": session_id, "instance_id": "i1", "seen_at": seen_at, "left_nanousd": -1}
    with writing(api.engine) as connection:
        connection.execute(insert(live_session).values(**row, **figures))


def orders(api: Asking) -> list[Any]:
    with reading(api.engine) as connection:
        return [
            tuple(row) for row in connection.execute(select(stop_order.c.session_id, stop_order.c.reason))
        ]


async def test_what_one_came_to(api: Asking) -> None:
    key = api.books.key("acme", "web")
    api.books.open("s1", "acme", "web", end_user="zoë", tags={"team": "a"}, at=OCTOBER)
    api.books.bill("s1", "r1", {Meter.TEXT_IN: 10, Meter.AUDIO_OUT: 3}, at=OCTOBER)
    api.books.bill("s1", "r2", {Meter.TEXT_IN: 1}, at=OCTOBER, model="gpt-unknown")
    api.books.close("s1", at=OCTOBER + timedelta(seconds=90.9))
    (listed,) = (await api.done("GET", "/sessions"))["data"]
    assert listed == {
        "id": "s1",
        "tenant_id": key.tenant_id,
        "tenant": "acme",
        "project": "web",
        "api_key_id": key.id,
        "key": "acme's key",
        "end_user": "zoë",
        "tags": {"team": "a"},
        "provider": "openai",
        "model": MODEL,
        "upstream_session_id": "sess_s1",
        "instance_id": "i1",
        "opened_at": "2026-10-05T08:00:00Z",
        "closed_at": "2026-10-05T08:01:30.900000Z",
        "close_code": 1000,
        "reason": "client_closed",
        "live": False,
        "seconds": 90,
        "responses": 2,
        "cost_nanousd": 232_000,
        "cost_usd": "0.000232000",
        "unrated_entries": 1,
        "running_nanousd": 0,
        "running_usd": "0.000000000",
        "burn_nanousd": 0,
        "burn_usd": "0.000000000",
        "left_nanousd": None,
        "left_usd": None,
    }
    shown = await api.done("GET", "/sessions/s1")
    turns = shown.pop("turns")
    assert shown == listed
    assert [(one["subject_id"], one["cost_nanousd"], one["rated"]) for one in turns] == [
        ("r1", 232_000, True),
        ("r2", None, False),
    ]


async def test_those_that_are_live_and_those_that_are_not(api: Asking) -> None:
    now = datetime.now(UTC)
    for number, (tenant, opened_at) in enumerate((("acme", OCTOBER), ("acme", now), ("globex", now))):
        api.books.open(f"s{number}", tenant, at=opened_at)
    api.books.bill("s1", "r1", {Meter.TEXT_IN: 10}, at=now)
    live(api, "s0", now - timedelta(seconds=60))
    live(api, "s1", now)

    async def ids(**params: str) -> list[str]:
        return [one["id"] for one in (await api.done("GET", "/sessions", params=params))["data"]]

    assert await ids() == ["s2", "s1", "s0"], "the newest first"
    assert (await ids(live="true"), await ids(tenant="globex")) == (["s1"], ["s2"])
    assert [[one["id"] for one in page] for page in await api.pages("/sessions", 2)] == [["s2", "s1"], ["s0"]]
    shown = await api.done("GET", "/sessions/s1")
    told = {"live": True, "responses": 4, "cost_nanousd": 300_000, "running_nanousd": 3, "burn_nanousd": 2}
    assert shown.items() >= (told | {"left_usd": "-0.000000001", "closed_at": None}).items()
    lost = await api.done("GET", "/sessions/s0")
    assert lost.items() >= {"live": False, "seconds": None, "cost_nanousd": 0, "responses": 0}.items()


async def test_stopping_one(api: Asking) -> None:
    now = datetime.now(UTC)
    for session in ("s1", "s2"):
        api.books.open(session, "acme", at=now)
        live(api, session, now if session == "s1" else now - timedelta(seconds=60))
    first = await api("DELETE", "/sessions/s1", Talkmeter_Reason="loops")
    assert (first.status, first.json["id"], first.json["state"]) == (202, "s1", "stopping")
    await api.done("DELETE", "/sessions/s1", Talkmeter_Reason="it loops")
    assert orders(api) == [("s1", "it loops")], "a later order takes an earlier one's place"
    text = "No session 's2' is live: the list of live sessions says which there are."
    await api.refused(409, text, "DELETE", "/sessions/s2")
    await api.refused(404, "There is no session 's9'", "DELETE", "/sessions/s9")
    await api.refused(404, "There is no session 's9'", "GET", "/sessions/s9")
    acts = [one for one in await api.acts(tenant="acme") if one["action"] == "session.stop"]
    assert [(one["actor"], one["object"], one["reason"]) for one in acts] == [
        ("api:admin-token", "s1", "it loops"),
        ("api:admin-token", "s1", "loops"),
    ]
    before = {"state": "live", "model": None, "cost_nanousd": 300_000, "running_nanousd": 3}
    assert (acts[0]["before"], acts[0]["after"]) == (before, {"state": "stopping"})


async def test_a_viewer_is_told_all_that_is_owed(api: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a session with more entries than are shown, too."""
    api.books.open("s1", "acme", at=OCTOBER)
    for subject in ("r1", "r2"):
        api.books.bill("s1", subject, {Meter.TEXT_IN: 10}, at=OCTOBER)
    monkeypatch.setattr("proxy.store.ledger.TURNS_MAX", 1)
    shown = await api.done("GET", "/sessions/s1", token=api.token(TokenRole.VIEWER, "acme"))
    assert (shown["cost_nanousd"], shown["cost_usd"]) == (80_000, "0.000080000")
    assert (len(shown["turns"]), shown["responses"]) == (1, 2)


async def test_filters_of_the_list(api: Asking) -> None:
    """Each by value; what it means stands in the tests of the store."""
    key = api.books.key("acme", "web")
    api.books.open("s1", "acme", "web", end_user="zoë", tags={"team": "a"}, at=OCTOBER)
    api.books.close("s1", at=OCTOBER)
    api.books.open("s2", "globex", at=OCTOBER + timedelta(days=1))

    async def ids(**params: str) -> list[str]:
        given = {name.rstrip("_"): value for name, value in params.items()}
        return [one["id"] for one in (await api.done("GET", "/sessions", params=given))["data"]]

    ones: list[dict[str, str]] = [
        {"tenant": "acme"},
        {"project": "web"},
        {"key": key.id},
        {"end_user": "zoë"},
        {"state": "ended"},
        {"tag": "team=a", "from_": "2026-10-01"},
        {"reason": "client_closed", "from_": "2026-10-01"},
        {"id": "s1"},
        {"to": "2026-10-06"},
    ]
    for params in ones:
        assert await ids(**params) == ["s1"], params
    assert await ids(state="lost") == ["s2"]
    assert await ids(model=MODEL, from_="2026-10-06") == ["s2"]
    assert await ids(model="unheard-of", from_="2026-10-01") == []
    text = "`live`, which is live"
    await api.refused(422, text, "GET", "/sessions", params={"live": "true", "state": "ended"})
    api.books.open("s0", "acme", at=OCTOBER - timedelta(days=365))
    text = "(reason) is looked for session by session, in at most 100 days"
    await api.refused(422, text, "GET", "/sessions", params={"reason": "refused"})


async def test_a_viewer_sees_in_the_list_what_is_owed(api: Asking) -> None:
    api.books.key("acme")
    await api.done("POST", "/markups", {"tenant": "acme", "basis_points": 5_000, "from": "2026-01-01"})
    with reading(api.engine) as connection:
        api.books.prices = load_prices(connection)
    api.books.open("s1", "acme", at=OCTOBER)
    api.books.bill("s1", "r1", {Meter.TEXT_IN: 10}, at=OCTOBER)
    live(api, "s1", datetime.now(UTC))
    viewer = api.token(TokenRole.VIEWER, "acme")
    (seen,) = (await api.done("GET", "/sessions", token=viewer))["data"]
    assert (seen["cost_nanousd"], seen["cost_usd"]) == (60_000, "0.000060000")
    assert {seen[name] for name in ("running_nanousd", "burn_nanousd", "left_usd")} == {None}
    (own,) = (await api.done("GET", "/sessions"))["data"]
    assert own["cost_nanousd"] == 300_000, "what it costs so far, by its instance"

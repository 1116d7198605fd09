"""`/keys`."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from proxy.store.database import reading
from proxy.store.keys import hash_secret, looks_like_secret
from proxy.store.schema import api_answer, api_key
from tests.admin.api.asking import Asking
from tests.ledgers import PEPPER


async def test_made_listed_and_revoked(api: Asking) -> None:
    await api.done("POST", "/tenants", {"name": "acme"})
    wanted = {"tenant": "acme", "project": "web", "name": "shop", "tags": {"team": "a"}}
    made = await api("POST", "/keys", wanted | {"expires_at": "2099-01-01"})
    key = made.json
    assert made.status == 201 and looks_like_secret(key["secret"])
    assert (key["project"], key["tags"]) == ("web", {"team": "a"})
    assert key["expires_at"] == "2099-01-01T00:00:00Z"
    shown = await api.done("GET", f"/keys/{key['id']}")
    assert "secret" not in shown and shown["prefix"] == key["secret"][:8]
    assert (await api.done("GET", "/keys", params={"tenant": "acme"}))["data"] == [shown]
    with reading(api.engine) as connection:
        stored = connection.execute(select(api_key.c.secret_hmac)).scalar_one()
    assert stored == hash_secret(key["secret"], PEPPER)
    revoked = await api.done("DELETE", f"/keys/{key['id']}", Talkmeter_Reason="leaked")
    assert revoked["revoked_at"] is not None
    assert api.audit()[-1] == ("api:admin-token", "key.revoke", "leaked")


async def test_those_of_a_project(api: Asking) -> None:
    await api.done("POST", "/tenants", {"name": "acme"})
    await api.done("POST", "/keys", {"tenant": "acme"})
    ours = [await api.done("POST", "/keys", {"tenant": "acme", "project": "web"}) for _ in range(3)]
    await api.done("POST", "/keys", {"tenant": "acme", "project": "ios"})
    web = ours[0]["project_id"]
    first = await api.done("GET", "/keys", params={"project": web, "limit": 2})
    rest = await api.done("GET", "/keys", params={"project": web, "after": first["next"]})
    assert [one["id"] for one in first["data"] + rest["data"]] == [one["id"] for one in ours]
    await api.problem(404, "GET", "/keys", params={"project": "prj_nobodys"})


async def test_a_repeated_request_makes_no_second_key_and_shows_no_secret(api: Asking) -> None:
    await api.done("POST", "/tenants", {"name": "acme"})
    first = await api("POST", "/keys", {"tenant": "acme"}, Idempotency_Key="k1")
    again = await api("POST", "/keys", {"tenant": "acme"}, Idempotency_Key="k1")
    assert again.status == 201 and again.headers["Idempotency-Replayed"] == "true"
    assert again.json == first.json | {"secret": None}
    assert "cannot be shown again" in again.json["secret_hint"]
    assert len((await api.done("GET", "/keys"))["data"]) == 1
    with reading(api.engine) as connection:
        rows = connection.execute(select(api_answer)).all()
    assert len(rows) == 1 and first.json["secret"] not in repr(rows)


async def test_what_cannot_be_made(api: Asking) -> None:
    await api.done("POST", "/tenants", {"name": "acme"})
    await api.problem(404, "POST", "/keys", {"tenant": "globex"})
    past = await api.problem(422, "POST", "/keys", {"tenant": "acme", "expires_at": "2020-01-01"})
    assert past["detail"] == "This key would have expired already: give a later instant."
    hostile = {"tenant": "acme", "expires_at": "soon", "tags": {"": "x"}}
    wrong = await api.problem(422, "POST", "/keys", hostile)
    assert [one["pointer"] for one in wrong["errors"]] == ["#/expires_at", "#/tags/"]


async def test_rotated(api: Asking) -> None:
    await api.done("POST", "/tenants", {"name": "acme"})
    old = await api.done("POST", "/keys", {"tenant": "acme", "project": "web", "name": "shop"})
    await api.done("PUT", f"/limits/{old['id']}/sessions", {"value": "3"})
    await api.done("PUT", f"/models/{old['id']}/gpt-realtime", {"allowed": True})
    budget = {"scope": "key", "key": old["id"], "window": "month", "amount_usd": "50"}
    await api.done("POST", "/budgets", budget)
    path = f"/keys/{old['id']}/rotate"
    until = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%dT00:00:00Z")
    answered = await api("POST", path, {"until": until, "reason": "leaked"}, Idempotency_Key="r")
    made = answered.json
    assert answered.status == 201 and looks_like_secret(made["secret"])
    again = await api("POST", path, {"until": until, "reason": "leaked"}, Idempotency_Key="r")
    assert again.json == made | {"secret": None} and again.headers["Idempotency-Replayed"] == "true"
    shown = await api.done("GET", f"/keys/{made['id']}")
    assert answered.place == f"/keys/{made['id']}" and shown["replaces"] == old["id"]
    assert (shown["project"], shown["name"], shown["replaced_by"]) == ("web", "shop", None)
    assert made["old"] == await api.done("GET", f"/keys/{old['id']}")
    assert (made["old"]["expires_at"], made["old"]["replaced_by"]) == (until, made["id"])
    assert (made["limits"], made["models"]) == (["sessions"], ["gpt-realtime"])
    copied = await api.done("GET", f"/budgets/{made['budgets'][0]}")
    assert (copied["api_key_id"], copied["amount_usd"]) == (made["id"], "50.000000000")
    assert api.audit()[-1] == ("api:admin-token", "key.rotate", "leaked")
    await api.refused(409, f"was replaced by {made['id']} already", "POST", path, {})
    both = {"overlap_s": 1, "until": "2026-12-01"}
    await api.refused(422, "give overlap_s or until", "POST", f"/keys/{made['id']}/rotate", both)
    await api.refused(422, "#/overlap_s", "POST", path, {"overlap_s": 90 * 86_400 + 1})


async def test_rotated_for_a_day_unless_told_otherwise(embedded: Asking) -> None:
    await embedded.done("POST", "/tenants", {"name": "acme"})
    for body, seconds in (({}, 86_400), ({"overlap_s": 60}, 60), ({"overlap_s": 0}, 0)):
        old = await embedded.done("POST", "/keys", {"tenant": "acme"})
        made = await embedded.done("POST", f"/keys/{old['id']}/rotate", body)
        assert looks_like_secret(made["secret"])
        lasts = datetime.fromisoformat(made["old"]["expires_at"]) - datetime.fromisoformat(made["created_at"])
        assert lasts.total_seconds() == seconds

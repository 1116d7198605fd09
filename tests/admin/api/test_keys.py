"""`/keys`."""

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

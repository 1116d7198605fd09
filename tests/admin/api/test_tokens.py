"""`/tokens`: secrets that are shown once, and what a token cannot be."""

from sqlalchemy import select

from proxy.store.database import reading
from proxy.store.schema import api_answer
from tests.admin.api.asking import Asking


async def test_made_used_and_revoked(api: Asking) -> None:
    acme = await api.done("POST", "/tenants", {"name": "acme"})
    wanted = {"name": "ann", "role": "viewer", "tenants": ["acme", acme["id"]], "reason": "pilot"}
    wanted |= {"expires_at": "2099-01-01"}
    made = await api("POST", "/tokens", wanted, Idempotency_Key="k")
    secret = made.json["secret"]
    again = await api("POST", "/tokens", wanted, Idempotency_Key="k")
    assert (again.status, again.json) == (201, made.json | {"secret": None})
    with reading(api.engine) as connection:
        assert secret not in repr(connection.execute(select(api_answer)).all())
    shown = await api.done("GET", made.place)
    assert shown == {
        "id": made.json["id"],
        "name": "ann",
        "role": "viewer",
        "prefix": secret[: len(shown["prefix"])],
        "tenants": [{"id": acme["id"], "name": "acme"}],
        "created_at": made.json["created_at"],
        "expires_at": "2099-01-01T00:00:00Z",
        "last_used_at": None,
        "revoked_at": None,
    }
    me = await api.done("GET", "/me", token=secret)
    assert (me["name"], me["expires_at"]) == ("ann", "2099-01-01T00:00:00Z")
    (listed,) = (await api.done("GET", "/tokens"))["data"]
    assert listed == shown | {"last_used_at": listed["last_used_at"]} and listed["last_used_at"]
    revoked = await api.done("DELETE", made.place, Talkmeter_Reason="she left")
    assert revoked["revoked_at"] and await api.done("DELETE", made.place) == revoked
    await api.problem(401, "GET", "/me", token=secret)
    acts = [one for one in await api.acts() if one["action"].startswith("token.")]
    assert [(one["action"], one["object"], one["reason"]) for one in acts] == [
        ("token.revoke", made.json["id"], "she left"),
        ("token.create", made.json["id"], "pilot"),
    ]
    assert secret not in str(acts)


async def test_what_cannot_be_made(embedded: Asking) -> None:
    await embedded.done("POST", "/tenants", {"name": "acme"})
    ann = {"name": "ann", "role": "auditor"}
    await embedded.done("POST", "/tokens", ann)
    for change, status, text in (
        ({}, 409, "There is a token 'ann' already: the audit log tells tokens apart by their names."),
        ({"name": "admin-token"}, 409, "There is a token 'admin-token' already"),
        ({"name": " "}, 422, "A name has 1 to 100 printable characters."),
        ({"name": "bob", "role": "viewer"}, 422, "A viewer sees the costs of its own tenants"),
        ({"name": "bob", "role": "owner"}, 422, "#/role"),
        ({"name": "bob", "tenants": ["nobody"]}, 404, "no tenant 'nobody'"),
        ({"name": "bob", "expires_at": "2020-01-01"}, 422, "would have expired already"),
        ({"name": "bob", "expires_at": "soon"}, 422, "'soon' is not a time"),
    ):
        await embedded.refused(status, text, "POST", "/tokens", ann | change)
    await embedded.refused(404, "There is no token 'tok_0'", "DELETE", "/tokens/tok_0")
    assert [one["name"] for one in (await embedded.done("GET", "/tokens"))["data"]] == ["ann"]

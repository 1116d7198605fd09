"""`/tenants`."""

from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking


async def test_made_shown_listed_and_archived(api: Asking) -> None:
    made = await api("POST", "/tenants", {"name": "acme"})
    assert made.status == 201 and made.json["archived_at"] is None
    path = made.headers["Location"].removeprefix("/api/v1")
    shown = await api("GET", path)
    assert (shown.json, shown.etag) == (made.json, made.etag)
    assert (await api.done("GET", "/tenants"))["data"] == [made.json]
    archived = await api("DELETE", path, If_Match=shown.etag, Talkmeter_Reason="they left")
    assert archived.json["archived_at"] is not None and archived.etag != shown.etag
    assert api.audit()[-1] == ("api:admin-token", "tenant.archive", "they left")


async def test_a_stale_etag_changes_nothing(api: Asking) -> None:
    made = await api("POST", "/tenants", {"name": "acme"})
    path = f"/tenants/{made.json['id']}"
    problem = await api.problem(428, "DELETE", path)
    assert problem["type"] == "urn:talkmeter:precondition-required" and "If-Match" in problem["detail"]
    await api.problem(412, "DELETE", path, If_Match='"another"')
    await api.done("DELETE", path, If_Match=f'"another", {made.etag}')
    await api.problem(412, "DELETE", path, If_Match=made.etag)
    await api.done("DELETE", path, If_Match="*")


async def test_names_are_taken_once(api: Asking) -> None:
    made = await api.done("POST", "/tenants", {"name": "acme"})
    problem = await api.problem(409, "POST", "/tenants", {"name": " acme "})
    assert problem["detail"] == f"There is a tenant 'acme' already ({made['id']})."


async def test_a_path_has_the_id(api: Asking) -> None:
    """A name there would do the wrong thing if another tenant were called as one's id."""
    acme = await api.done("POST", "/tenants", {"name": "acme"})
    await api.done("POST", "/tenants", {"name": acme["id"]})
    assert (await api.done("GET", f"/tenants/{acme['id']}"))["name"] == "acme"
    await api.problem(404, "GET", "/tenants/acme")


async def test_a_confined_token_sees_its_own(api: Asking) -> None:
    for name in ("acme", "globex", "initech"):
        await api.done("POST", "/tenants", {"name": name})
    token = api.token(TokenRole.AUDITOR, "acme", "initech")
    seen = (await api.done("GET", "/tenants", token=token))["data"]
    assert [one["name"] for one in seen] == ["acme", "initech"]
    page = await api.done("GET", "/tenants", token=token, params={"limit": "1"})
    assert [one["name"] for one in page["data"]] == ["acme"] and page["next"]

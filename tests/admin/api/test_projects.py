"""`/projects`: made, archived, and which are whose."""

from tests.admin.api.asking import Asking


async def test_made_shown_listed_and_archived(api: Asking) -> None:
    acme = await api.done("POST", "/tenants", {"name": "acme"})
    made = await api.twice("/projects", {"tenant": "acme", "name": " web "})
    assert made.status == 201 and made.json == {
        "id": made.json["id"],
        "tenant_id": acme["id"],
        "tenant": "acme",
        "name": "web",
        "created_at": made.json["created_at"],
        "archived_at": None,
    }
    shown = await api("GET", made.place)
    assert (shown.json, shown.etag) == (made.json, made.etag)
    await api.refused(428, "If-Match", "DELETE", made.place)
    archived = await api("DELETE", made.place, If_Match=made.etag, Talkmeter_Reason="done with")
    assert archived.json == made.json | {"archived_at": archived.json["archived_at"]}
    await api.problem(412, "DELETE", made.place, If_Match=made.etag)
    again = await api.done("DELETE", made.place, If_Match="*")
    assert again == archived.json, "once is enough"
    assert (await api.done("GET", "/projects", params={"tenant": "acme"}))["data"] == [archived.json]
    acts = [one for one in api.audit() if one[1].startswith("project.")]
    me = "api:admin-token"
    assert acts == [(me, "project.create", None), (me, "project.archive", "done with")]


async def test_names_are_taken_once_in_a_tenant(api: Asking) -> None:
    for tenant in ("acme", "globex"):
        await api.done("POST", "/tenants", {"name": tenant})
        await api.done("POST", "/projects", {"tenant": tenant, "name": "web"})
    body = {"tenant": "acme", "name": "web"}
    await api.refused(409, "Tenant 'acme' has a project 'web' already.", "POST", "/projects", body)
    for change, status, text in (
        ({"tenant": "nobody"}, 404, "no tenant 'nobody'"),
        ({"name": ""}, 422, "#/name"),
        ({"name": "x" * 101}, 422, "at most 100 characters"),
    ):
        await api.refused(status, text, "POST", "/projects", body | change)
    (globex,) = (await api.done("GET", "/projects", params={"tenant": "globex"}))["data"]
    assert [globex] in await api.pages("/projects", 1)
    await api.done("DELETE", f"/tenants/{globex['tenant_id']}", If_Match="*")
    new = {"tenant": "globex", "name": "ios"}
    await api.refused(409, "Tenant 'globex' is archived", "POST", "/projects", new)

"""`/models`: rules about models, what cannot be one, and who was faster."""

from proxy.store.limits import RULES_MAX
from tests.admin.api.asking import Asking


async def test_set_changed_and_removed(api: Asking) -> None:
    key = api.books.key("acme")
    path, of_key = f"/models/{key.tenant_id}/gpt-realtime*", f"/models/{key.id}/gpt-4o"
    await api.refused(404, "No rule about 'gpt-realtime*' is set for tenant acme", "GET", path)
    made = await api("PUT", path, {"allowed": True, "reason": "pilot"})
    assert made.json == {
        "owner_id": key.tenant_id,
        "tenant_id": key.tenant_id,
        "tenant": "acme",
        "api_key_id": None,
        "model": "gpt-realtime*",
        "allowed": True,
    }
    own = await api.done("PUT", of_key, {"allowed": False})
    assert (own["owner_id"], own["api_key_id"], own["allowed"]) == (key.id, key.id, False)
    await api.refused(428, "If-Match", "PUT", path, {"allowed": False})
    changed = await api("PUT", path, {"allowed": False, "reason": "too dear"}, If_Match=made.etag)
    assert changed.json == made.json | {"allowed": False}
    await api.refused(412, "read it again", "PUT", path, {"allowed": True}, If_Match=made.etag)
    await api.problem(412, "DELETE", path, If_Match=made.etag)
    assert (await api("GET", path)).etag == changed.etag != made.etag
    assert await api.done("DELETE", path, If_Match=changed.etag, Talkmeter_Reason="over") == changed.json
    await api.problem(404, "DELETE", path, If_Match="*")
    assert (await api.done("GET", "/models"))["data"] == [own]
    for owner_id, found in ((key.id, [own]), (key.tenant_id, [])):
        assert (await api.done("GET", "/models", params={"owner": owner_id}))["data"] == found
    acts = [one for one in await api.acts(tenant="acme") if one["action"].startswith("model.")]
    assert [(one["action"], one["reason"]) for one in acts] == [
        ("model.remove", "over"),
        ("model.deny", "too dear"),
        ("model.deny", None),
        ("model.allow", "pilot"),
    ]
    assert {one["actor"] for one in acts} == {"api:admin-token"}
    assert (acts[1]["before"]["allowed"], acts[1]["after"]["allowed"]) == (True, False)


async def test_a_models_name_has_what_names_have(api: Asking) -> None:
    """A slash in it is written %2F; spaces around it are no part of it."""
    owner = api.books.key("acme").tenant_id
    await api.done("PUT", f"/models/{owner}/org%2Fmodel-1", {"allowed": True})
    assert (await api.done("GET", f"/models/{owner}/org%2Fmodel-1"))["model"] == "org/model-1"
    made = await api("PUT", f"/models/{owner}/%20spaced%20", {"allowed": True})
    assert made.json["model"] == "spaced"
    assert (await api("GET", f"/models/{owner}/spaced")).etag == made.etag


async def test_what_cannot_be_set(embedded: Asking) -> None:
    owner = embedded.books.key("acme").tenant_id
    for model, status, text in (
        ("gpt*realtime", 422, "A `*` stands at the end of a model's name only."),
        ("%20", 422, "1 to 256 printable characters"),
        ("a%E2%80%AEb", 422, "1 to 256 printable characters"),
        ("x" * 257, 422, "at most 256 characters"),
    ):
        await embedded.refused(status, text, "PUT", f"/models/{owner}/{model}", {"allowed": True})
    await embedded.refused(404, "no tenant and no key", "PUT", "/models/ten_0/m", {"allowed": True})
    await embedded.refused(422, "#/allowed", "PUT", f"/models/{owner}/m", {"allowed": "yes"})
    for number in range(RULES_MAX):
        await embedded.done("PUT", f"/models/{owner}/m{number}", {"allowed": True})
    full = f"There are {RULES_MAX} model rules for tenant acme already: remove some first."
    await embedded.refused(409, full, "PUT", f"/models/{owner}/one-more", {"allowed": True})
    await embedded.done("PUT", f"/models/{owner}/m1", {"allowed": False}, If_Match="*")

"""`/audit`: who did what, to what, when and why."""

from datetime import UTC, datetime, timedelta

from proxy.store.instants import format_instant
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking
from tests.ledgers import NOW


async def test_who_did_what_when_and_why(api: Asking) -> None:
    key = api.books.key("acme", "web")
    ann = await api.done("POST", "/tokens", {"name": "ann", "role": "admin"})
    made = await api.done("POST", "/projects", {"tenant": "acme", "name": "ios"}, token=ann["secret"])
    why = "they left; <b>"
    await api.done(
        "DELETE", f"/projects/{made['id']}", token=ann["secret"], If_Match="*", Talkmeter_Reason=why
    )
    archived, created, issued, *before = (await api.done("GET", "/audit"))["data"]
    assert (
        archived.items()
        >= {
            "actor": "api:ann",
            "action": "project.archive",
            "object": made["id"],
            "tenant_id": key.tenant_id,
            "tenant": "acme",
            "reason": why,
        }.items()
    )
    assert (created["action"], created["actor"], created["reason"]) == ("project.create", "api:ann", None)
    assert created["after"]["name"] == "ios"
    assert (issued["action"], issued["actor"]) == ("token.create", "api:admin-token")
    assert ann["secret"] not in str(issued) and issued["object"] == ann["id"]
    assert {(one["actor"], one["at"]) for one in before} == {("test", "2026-11-23T12:00:00Z")}
    assert datetime.now(UTC) - datetime.fromisoformat(archived["at"]) < timedelta(hours=1)


async def test_which_are_asked_for(api: Asking) -> None:
    for name in ("acme", "globex"):
        api.books.key(name)
    await api.done("POST", "/tenants", {"name": "initech"})
    acts = (await api.done("GET", "/audit"))["data"]
    assert sorted((one["id"] for one in acts), reverse=True) == [one["id"] for one in acts]
    assert sum(await api.pages("/audit", 2), []) == acts
    noon, after = (format_instant(at) for at in (NOW, NOW + timedelta(microseconds=1)))
    times = [datetime.fromisoformat(one["at"]) for one in acts]
    for params, wanted in (
        ({"tenant": "acme"}, [one["tenant"] == "acme" for one in acts]),
        ({"from": noon, "to": after}, [at == NOW for at in times]),
        ({"from": after}, [at > NOW for at in times]),
        ({"to": noon}, [at < NOW for at in times]),
        ({"actor": "test"}, [one["actor"] == "test" for one in acts]),
        ({"actor": "tes"}, [False for one in acts]),
        ({"actor": "api:*"}, [one["actor"].startswith("api:") for one in acts]),
        ({"actor": "API:*"}, [False for one in acts]),
        ({"action": "tenant.*"}, [one["action"] == "tenant.create" for one in acts]),
        ({"action": "key.create"}, [one["action"] == "key.create" for one in acts]),
        ({"action": "%"}, [False for one in acts]),
        ({"action": "*"}, [True for one in acts]),
        ({"object": acts[0]["object"]}, [one["object"] == acts[0]["object"] for one in acts]),
        ({"actor": "test", "action": "key.*"}, [one["action"] == "key.create" for one in acts]),
    ):
        found = [one for one, is_wanted in zip(acts, wanted, strict=True) if is_wanted]
        assert (await api.done("GET", "/audit", params=params))["data"] == found, params
    confined = api.token(TokenRole.AUDITOR, "globex")
    seen = (await api.done("GET", "/audit", token=confined))["data"]
    assert {one["tenant"] for one in seen} == {"globex"}
    await api.refused(404, "no tenant 'acme'", "GET", "/audit", params={"tenant": "acme"}, token=confined)


async def test_reasons_that_cannot_be_kept(embedded: Asking) -> None:
    made = await embedded("POST", "/tenants", {"name": "acme"})
    for reason in ("x" * 501, "a\tb", "a\u202eb"):
        text = "Talkmeter-Reason: it has at most 500 printable characters"
        await embedded.refused(422, text, "DELETE", made.place, If_Match="*", Talkmeter_Reason=reason)
    assert (await embedded.done("GET", made.place))["archived_at"] is None
    await embedded.done("DELETE", made.place, If_Match="*", Talkmeter_Reason="zoë" * 166)
    assert (await embedded.acts())[0]["reason"] == "zoë" * 166

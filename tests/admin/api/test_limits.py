"""`/limits`: values in their units, what cannot be one, and who was faster."""

from proxy.core.limits import LimitName
from tests.admin.api.asking import Asking


async def test_set_changed_and_removed(api: Asking) -> None:
    key = api.books.key("acme")
    of_tenant, of_key = f"/limits/{key.tenant_id}/session_cost", f"/limits/{key.id}/session_cost"
    await api.refused(404, "No limit session_cost is set for tenant acme", "GET", of_tenant)
    made = await api("PUT", of_tenant, {"value": "0.5", "reason": "pilot"})
    assert made.json == {
        "owner_id": key.tenant_id,
        "tenant_id": key.tenant_id,
        "tenant": "acme",
        "api_key_id": None,
        "name": "session_cost",
        "value": "0.500000000",
        "unit": "usd",
    }
    own = await api.done("PUT", of_key, {"value": "0.25"})
    assert (own["owner_id"], own["api_key_id"], own["value"]) == (key.id, key.id, "0.250000000")
    await api.refused(428, "send its ETag as If-Match", "PUT", of_tenant, {"value": "1"})
    await api.refused(412, "read it again", "PUT", of_tenant, {"value": "1"}, If_Match='"x"')
    same = await api("PUT", of_tenant, {"value": "0.500"}, If_Match=made.etag)
    assert same.etag == made.etag == (await api("GET", of_tenant)).etag
    changed = await api("PUT", of_tenant, {"value": "1", "reason": "grew"}, If_Match=made.etag)
    await api.problem(412, "DELETE", of_tenant, If_Match=made.etag)
    gone = await api.done("DELETE", of_tenant, If_Match=changed.etag, Talkmeter_Reason="over")
    assert gone == changed.json and gone["value"] == "1.000000000"
    await api.problem(404, "DELETE", of_tenant, If_Match="*")
    await api.problem(412, "PUT", of_tenant, {"value": "2"}, If_Match=changed.etag)
    assert (await api.done("GET", "/limits", params={"tenant": "acme"}))["data"] == [own]
    for owner, found in ((key.id, [own]), (key.tenant_id, [])):
        assert (await api.done("GET", "/limits", params={"owner": owner}))["data"] == found
    await api.refused(
        404, "no tenant and no key with the id 'key_0'", "GET", "/limits", params={"owner": "key_0"}
    )
    removed, grown, of_keys, first = (one for one in await api.acts() if one["action"].startswith("limit."))
    assert (removed["action"], removed["reason"], removed["before"]) == (
        "limit.remove",
        "over",
        {"session_cost": "$1.00"},
    )
    assert (grown["before"], grown["after"]) == ({"session_cost": "$0.50"}, {"session_cost": "$1.00"})
    assert (grown["actor"], grown["object"], grown["reason"]) == ("api:admin-token", key.tenant_id, "grew")
    assert (of_keys["object"], first["before"], first["reason"]) == (key.id, None, "pilot")


async def test_values_in_their_units(api: Asking) -> None:
    key = api.books.key("acme")
    for name in LimitName:
        given, told = {
            "ms": ("1.5", ("1.500", "seconds")),
            "nanousd": ("0.000000001", ("0.000000001", "usd")),
            "count": ("9223372036854775807", ("9223372036854775807", "count")),
        }[name.unit]
        made = await api.done("PUT", f"/limits/{key.tenant_id}/{name}", {"value": given})
        assert (made["value"], made["unit"]) == told, name
    assert [len(page) for page in await api.pages("/limits", 4)] == [4, 4, 1]


async def test_what_cannot_be_set(embedded: Asking) -> None:
    key = embedded.books.key("acme")
    for name, value, text in (
        ("session_cost", "0", "value: session_cost: give a value above 0, or remove it."),
        ("session_cost", "-1", "give a value above 0"),
        ("session_cost", "0.0000000001", "finer than a nano-dollar"),
        ("session_cost", "lots", "'lots' is not an amount in dollars"),
        ("session_seconds", "0.0001", "not a number of seconds with at most three decimals"),
        ("session_seconds", "1.0000000000000000000000000001", "seconds with at most three decimals"),
        ("session_seconds", "an hour", "'an hour' is not a number of seconds"),
        ("session_seconds", "NaN", "not a number of seconds"),
        ("session_seconds", "1e999998", "not a number of seconds"),
        ("session_seconds", "1e9999999", "not a number of seconds"),
        ("session_seconds", "-1e9999999", "not a number of seconds"),
        ("responses", "1.5", "'1.5' is not a whole number"),
        ("responses", "٣", "is not a whole number"),
        ("responses", "9223372036854775808", "give a value above 0"),
        ("responses", "1" * 31, "at most 30 characters"),
    ):
        path = f"/limits/{key.tenant_id}/{name}"
        await embedded.refused(422, text, "PUT", path, {"value": value})
    unknown = "no tenant and no key with the id"
    for owner in ("acme", "ten_0", f"{key.id}0"):
        await embedded.refused(404, unknown, "PUT", f"/limits/{owner}/responses", {"value": "1"})
    await embedded.problem(422, "PUT", f"/limits/{key.tenant_id}/patience", {"value": "1"})
    assert (await embedded.done("GET", "/limits"))["data"] == []

"""`/instances`."""

from tests.admin.api.asking import Asking
from tests.admin.api.test_leases import hold


async def test_listed_in_pages_and_forgotten(api: Asking) -> None:
    hold(api, "i1", "b1", "b2", "b3")
    hold(api, "i2", "b1", age_s=0)
    pages = await api.pages("/instances", limit=1)
    assert [[(one["id"], one["state"]) for one in page] for page in pages] == [
        [("i1", "dead")],
        [("i2", "running")],
    ]
    shown = await api.done("GET", "/instances/i1")
    assert (shown["reserved_usd"], shown["sessions"], shown["unposted_from"]) == ("0.000001500", 0, None)
    assert any("$0.000001500 of budgets" in said for said in shown["may_hide"])
    gone = await api.done("DELETE", "/instances/i1", Talkmeter_Reason="its disk is lost")
    assert gone == shown, "as it was before"
    assert api.audit()[-1] == ("api:admin-token", "instance.forget", "its disk is lost")
    after = await api.done("GET", "/instances/i1")
    assert (after["state"], after["reserved_usd"]) == ("forgotten", "0.000000000")
    assert [one["instance_id"] for one in (await api.done("GET", "/leases"))["data"]] == ["i2"]


async def test_what_is_refused(embedded: Asking) -> None:
    hold(embedded, "i1", "b1", age_s=0)
    hold(embedded, "i2", "b1")
    problem = await embedded.problem(422, "DELETE", "/instances/i2")
    assert problem["errors"][0]["in"] == "header"
    await embedded.problem(409, "DELETE", "/instances/i1", Talkmeter_Reason="it runs")
    await embedded.problem(404, "DELETE", "/instances/i9", Talkmeter_Reason="never was")
    await embedded.problem(404, "GET", "/instances/i9")

"""`/markups`: set from an instant on, never edited, read back exactly."""

from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking


async def test_what_is_set_is_read_back(api: Asking) -> None:
    for name in ("acme", "globex"):
        await api.done("POST", "/tenants", {"name": name})
    wanted = {"tenant": "acme", "basis_points": -250, "from": "2026-12-01", "reason": "a contract"}
    answered = await api("POST", "/markups", wanted, Idempotency_Key="k1")
    assert answered.status == 201
    made = answered.json
    assert (made["tenant"], made["basis_points"], made["percent"]) == ("acme", -250, "-2.5%")
    assert made["effective_from"].startswith("2026-12-01T00:00:00")
    again = await api("POST", "/markups", wanted, Idempotency_Key="k1")
    assert (again.json, again.headers["Idempotency-Replayed"]) == (made, "true")
    assert await api.done("POST", "/markups", wanted) == made  # the same again changes nothing
    assert api.audit().count(("api:admin-token", "markup.set", "a contract")) == 1
    other = await api.problem(409, "POST", "/markups", wanted | {"basis_points": 100})
    assert "give this one a later instant" in other["detail"]
    of_all = await api.done("POST", "/markups", {"basis_points": 1_500})
    assert (of_all["tenant"], of_all["percent"]) == (None, "15%")
    assert (await api.done("GET", "/markups", params={"tenant": "acme"}))["data"] == [made]
    assert [len(page) for page in await api.pages("/markups", 1)] == [1, 1]
    finance = api.token(TokenRole.FINANCE, "globex")
    assert (await api.done("GET", "/markups", token=finance))["data"] == []


async def test_what_cannot_be_is_told(api: Asking) -> None:
    for wrong, text in (
        ({"basis_points": -10_001}, "greater than or equal to -10000"),
        ({"basis_points": 1_000_001}, "less than or equal to 1000000"),
        ({"basis_points": 1.5}, "basis_points"),
        ({}, "it is missing"),
        ({"basis_points": 1, "from": "soon"}, "'soon' is not a time"),
    ):
        assert text in (await api.problem(422, "POST", "/markups", wrong))["detail"]
    await api.problem(404, "POST", "/markups", {"basis_points": 1, "tenant": "nobody"})
    confined = api.token(TokenRole.ADMIN, *[(await api.done("POST", "/tenants", {"name": "acme"}))["name"]])
    told = await api.problem(403, "POST", "/markups", {"basis_points": 1}, token=confined)
    assert "confined to tenants" in told["detail"]

"""The page of instances: who may see it, and giving one up."""

import pytest

from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking
from tests.admin.api.test_leases import hold
from tests.console.tables import tables
from tests.console.visiting import visitor


async def test_seen_and_forgotten(api: Asking) -> None:
    ann = visitor(api)
    assert "There is no instance yet" in (await ann.get("/instances")).text
    hold(api, "i1", "b1")
    hold(api, "i2", "b1", age_s=0)
    page = await ann.get("/instances")
    table = tables(page.html)["instances"]
    assert [row[1].text for row in table.body] == ["dead", "running"]
    assert table.row("i1")[6].amount == 500
    assert "$0.000000500 of budgets that it held will be free" in page.text
    assert "/instances/i2/forget" not in page.html, "it runs"
    await ann.submit(page.form("/instances/i1/forget"), reason="its disk is lost")
    after = await ann.get("/instances")
    assert tables(after.html)["instances"].row("i1")[1].text == "forgotten"
    assert api.audit()[-1] == ("user:admin@example.com", "instance.forget", "its disk is lost")


@pytest.mark.parametrize("role", [TokenRole.AUDITOR, TokenRole.FINANCE])
async def test_only_administrators_forget(embedded: Asking, role: TokenRole) -> None:
    hold(embedded, "i1", "b1")
    person = visitor(embedded, role)
    if role is TokenRole.AUDITOR:
        assert "/instances/i1/forget" not in (await person.get("/instances")).html
    else:
        assert await person.status("/instances") == 403

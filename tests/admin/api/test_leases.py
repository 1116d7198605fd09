"""`/leases`."""

from datetime import timedelta

from sqlalchemy import insert

from proxy.clock import utc_now
from proxy.store.database import writing
from proxy.store.schema import instance, lease
from tests.admin.api.asking import Asking


def hold(api: Asking, instance_id: str, *budgets: str, age_s: int = 60) -> None:
    """Let an instance that was seen so long ago hold 500 nano-dollars of each budget."""
    seen = utc_now() - timedelta(seconds=age_s)
    facts = {"journal_path": "", "version": "1", "started_at": seen, "seen_at": seen}
    held = {"subject": "", "starts_at": seen, "granted_nanousd": 700, "taken_nanousd": 200, "wanted": False}
    with writing(api.engine) as connection:
        connection.execute(insert(instance).values(id=instance_id, **facts))
        for budget in budgets:
            row = {"budget_id": budget, "instance_id": instance_id, **held}
            connection.execute(insert(lease).values(**row))


async def test_listed_in_pages(api: Asking) -> None:
    hold(api, "i1", "b1", "b2", "b3")
    pages = await api.pages("/leases", limit=2)
    assert [[one["budget_id"] for one in page] for page in pages] == [["b1", "b2"], ["b3"]]
    assert pages[0][0]["reserved_usd"] == "0.000000500"

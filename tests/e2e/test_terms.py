"""What a tenant is billed and what it costs us, on real sockets: budgets, the app's view, the ledger."""

from collections.abc import Sequence
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from proxy.clock import utc_now
from proxy.core.budgets import Scope
from proxy.store import ledger
from proxy.store.audit import Act
from proxy.store.database import open_database, writing
from proxy.store.markups import set_markup
from proxy.store.schema import budget_window
from proxy.store.verify import verify
from tests.e2e.place import Home
from tests.e2e.test_budgets import CENT, ENDLESS, ask, heard, rows, set_amount

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])
both = pytest.mark.parametrize("home", ["plain", "postgres"], indirect=True)


def double(home: Home) -> None:
    """Bill the tenant twice what it costs us."""
    engine = open_database(home.database_url)
    with writing(engine) as connection:
        at = utc_now() - timedelta(hours=1)
        set_markup(connection, "acme", 10_000, at, Act("test", at, "a test"))
    engine.dispose()


def booked(home: Home) -> Sequence[ledger.Booked]:
    """Return the ledger, which adds up."""
    engine = open_database(home.database_url)
    try:
        assert verify(engine, ZoneInfo("UTC")).fault is None
        return list(ledger.entries(engine))
    finally:
        engine.dispose()


@both
@pytest.mark.parametrize(
    ("scope", "cost"), [(Scope.TENANT, 5 * CENT // 2), (Scope.ORGANISATION, 5 * CENT)], ids=["tenant", "ours"]
)
async def test_a_runaway_is_cut_by_what_its_budget_counts(home: Home, scope: Scope, cost: int) -> None:
    """Of $0.05, a tenant's budget is spent once the cost is half of it, the organisation's at all of it."""
    double(home)
    set_amount(home, 5 * CENT, scope=scope, tenant="acme" if scope is Scope.TENANT else None)
    async with home.open(speed=5.0) as place:
        await heard(place)
        async with place.connected(sim=ENDLESS) as client:
            await client.configure()
            await ask(client)
            code, _ = await client.ended()
        assert code == 1008
        await place.over()
    (entry,) = booked(home)
    assert entry.cost_nanousd is not None
    assert cost * 4 // 5 < entry.cost_nanousd < cost * 6 // 5
    assert (entry.list_nanousd, entry.billed_nanousd) == (entry.cost_nanousd, 2 * entry.cost_nanousd)
    (window,) = rows(home, budget_window)
    assert window["spent_nanousd"] == (entry.billed_nanousd if scope is Scope.TENANT else entry.cost_nanousd)


async def test_an_app_sees_as_cost_what_it_is_billed(home: Home) -> None:
    double(home)
    async with home.open() as place:
        async with place.connected() as client:
            assert client.connection.response is not None
            session_id = client.connection.response.headers["Talkmeter-Session"]
            await client.configure()
            await client.say("hello")
            await client.respond()
            _, running = await place.session(session_id)
        await place.over()
        _, ended = await place.session(session_id)
    (entry,) = booked(home)
    assert entry.cost_nanousd
    for shown in (running, ended):
        assert shown["cost_nanousd"] == shown["turns"][0]["cost_nanousd"] == 2 * entry.cost_nanousd

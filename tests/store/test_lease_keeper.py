"""The keeper of an instance's leases: whom it lets in, and when that is decided."""

import asyncio

import msgspec
from sqlalchemy import Engine

from proxy.core.allowance import Allowance
from proxy.core.budgets import BudgetBook, Scope
from proxy.core.windows import Window
from proxy.plane import utc_now
from proxy.store.audit import Act
from proxy.store.budgets import Terms, set_budget
from proxy.store.database import writing
from proxy.store.lease_keeper import LeaseKeeper
from proxy.store.tenants import create_tenant
from tests.core.scripts import facts


async def test_who_is_let_in_is_decided_when_the_answer_comes(database: Engine) -> None:
    """A second exchange may follow before the admitted one wakes up, and gives back what nobody holds."""
    with writing(database) as connection:
        create_tenant(connection, "acme", Act("test", utc_now()))
        made = set_budget(
            connection,
            Act("test", utc_now(), "a test"),
            scope=Scope.TENANT,
            window=Window.MONTH,
            amount_nanousd=20_000,
            terms=Terms(),
            tenant="acme",
        )
    session = msgspec.structs.replace(facts(), tenant_id=made.rule.tenant_id)
    book = BudgetBook.of([made.rule])
    keeper = LeaseKeeper(database, "i_1", utc_now)
    keeper.book = lambda: book
    go = asyncio.Event()

    async def ready() -> None:
        await go.wait()

    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(keeper.run(ready))
        admitting = group.create_task(keeper.admit(session, 8_000))
        await asyncio.sleep(0)  # it asks before the keeper has begun
        go.set()
        found = await admitting
        keeping.cancel()
    await keeper.stop(all_posted=True)
    assert isinstance(found, Allowance)

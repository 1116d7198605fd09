"""What stands beside the entries of a ledger that pages are measured on: some of all that they list."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, delete, func, insert, select, text

from proxy.core.periods import month_after
from proxy.core.rating import Price
from proxy.core.reconcile import Threshold
from proxy.core.usage import Meter
from proxy.store import tenants
from proxy.store.audit import Act
from proxy.store.card_files import NewCard
from proxy.store.database import reading, writing
from proxy.store.prices import import_cards
from proxy.store.reconciliations import Scope, Terms, TheirSide, compare_bill, record
from proxy.store.schema import (
    audit,
    budget,
    delivery,
    ledger_entry,
    live_session,
    outbox,
    session,
    tenant,
)
from proxy.store.webhooks import WEBHOOKS_MAX
from tests.admin.api.asking import Asking
from tests.admin.api.world import World, fill
from tests.closing import close_month
from tests.console.every_page import ids_of
from tests.ledgers import PEPPER

MANY = 100
SMALL_PER = 100  # for each of MANY, of what is small: alerts, rows of the audit log
CLOSED_THROUGH = "2026-10"  # by `fill`
FILLED = ("acme", "globex")  # tenants of `fill`
IN_SPITE_OF = {"journals": "a bench", "unrated": "a bench"}
LASTS = timedelta(minutes=20)  # a conversation
_DAY = timedelta(days=1)


async def furnish(api: Asking, now: datetime, many: int = MANY) -> dict[str, str]:
    """Add some of everything; return ids for pages, of what has the most to show.

    Of large things there are `many`, of small ones a hundred times that.
    """
    act = Act("cli:finance@desk", now, "a bench")
    _close_earlier(api.engine)
    world = await fill(api)
    _end_sessions(api.engine, now, many)
    _add_payers(api.engine, act, many)
    await _set_budgets(api, now)
    await _keep_reports(api, many)
    _add_cards(api.engine, act, many)
    _announce(api.engine, world, now, many * SMALL_PER)
    _note(api.engine, world, now, many * SMALL_PER)
    _reconcile(api.engine, act, many)
    return {**ids_of(world), **busiest(api.engine)}


def busiest(engine: Engine) -> dict[str, str]:
    """Return ids of those tenants, keys and sessions that have the most entries."""
    of = ledger_entry.c
    recent = of.id > select(func.max(of.id)).scalar_subquery() - 20_000
    found: dict[str, str] = {}
    with reading(engine) as connection:

        def most(*columns: Any) -> Any:
            query = select(*columns).where(recent, *(column.is_not(None) for column in columns))
            return connection.execute(query.group_by(*columns).order_by(func.count().desc()).limit(1)).one()

        payer = most(of.tenant_id, of.project_id, of.api_key_id)
        found |= {"tenant_id": payer.tenant_id, "project_id": payer.project_id, "key_id": payer.api_key_id}
        found["session_id"] = most(of.session_id).session_id
        entries = select(of.id).where(of.session_id == found["session_id"]).order_by(of.id.desc())
        found["entry_id"] = str(connection.execute(entries.limit(1)).scalar_one())
        own = select(budget.c.id).where(budget.c.tenant_id == payer.tenant_id, budget.c.window == "month")
        found["budget_id"] = connection.execute(own.limit(1)).scalar_one()
        found["tenant"] = connection.execute(
            select(tenant.c.name).where(tenant.c.id == payer.tenant_id)
        ).scalar_one()
    return found


def _close_earlier(engine: Engine) -> None:
    """Close the months before the one that `fill` closes."""
    with reading(engine) as connection:
        month = connection.execute(select(func.min(ledger_entry.c.period))).scalar_one()
    while month < CLOSED_THROUGH:
        close_month(engine, month, IN_SPITE_OF)
        month = month_after(month)


def _end_sessions(engine: Engine, now: datetime, many: int) -> None:
    """End all sessions but the newest, which go on."""
    newest = select(session.c.id).order_by(session.c.opened_at.desc()).limit(2 * many)
    with writing(engine) as connection:
        live = list(connection.execute(newest).scalars())
        facts = {"instance_id": "i1", "seen_at": now + _DAY, "cost_nanousd": 5_000_000, "responses": 3}
        more = {"running_nanousd": 1_000, "burn_nanousd": 900_000, "left_nanousd": 10**9}
        connection.execute(delete(live_session))
        connection.execute(insert(live_session), [{"session_id": id, **facts, **more} for id in live])
        connection.execute(
            text(
                "UPDATE session SET closed_at = opened_at + :lasts, close_code = 1000,"
                " reason = 'client_closed' WHERE id NOT IN (SELECT session_id FROM live_session)"
            ),
            {"lasts": LASTS // timedelta(microseconds=1)},
        )


def _add_payers(engine: Engine, act: Act, many: int) -> None:
    with writing(engine) as connection:
        for number in range(many):
            name = f"quiet {number:04}"
            tenants.create_tenant(connection, name, act)
            for key in range(3):
                tenants.create_key(connection, PEPPER, tenant_name=name, act=act, name=f"key {key}")


async def _set_budgets(api: Asking, now: datetime) -> None:
    """Set one for everything, one for a month of each tenant, and for a day of each key; let all be counted.

    Of a window in which nothing was booked since its budget was set, the ledger is asked.
    """
    of = session.c
    with reading(api.engine) as connection:
        latest = select(of.api_key_id, of.tenant_id, func.max(of.id).label("id"))
        latest = latest.group_by(of.api_key_id, of.tenant_id)
        found = connection.execute(latest).all()
        names = {row.id: row.name for row in connection.execute(select(tenant.c.id, tenant.c.name))}
    budgets: list[dict[str, Any]] = [{"scope": "organisation", "window": "month"}]
    paying = sorted({names[row.tenant_id] for row in found} - set(FILLED))
    budgets += [{"scope": "tenant", "tenant": name, "window": "month"} for name in paying]
    budgets += [
        {"scope": "key", "tenant": names[row.tenant_id], "key": row.api_key_id, "window": "day"}
        for row in found
    ]
    for one in budgets:
        await api.done("POST", "/budgets", {**one, "amount_usd": "100000"})
    for row in found:
        api.books.take_over(row.id, row.tenant_id)
        api.books.bill(row.id, "counted", {Meter.TEXT_IN: 5, Meter.AUDIO_OUT: 7}, at=now)


async def _keep_reports(api: Asking, many: int) -> None:
    """Save reports, schedule some and make tokens; as many webhooks as an installation may have."""
    for number in range(many):
        report = {"name": f"report {number:04}", "span": "last-month", "group_by": ["tenant", "model"]}
        await api.done("POST", "/saved-reports", report)
        sent = {"name": f"digest {number:04}", "content": "digest", "every": "month"}
        await api.done("POST", "/schedules", {**sent, "to": ["mailto:ann@example.com"]})
        made = {"name": f"token {number:04}", "role": "auditor", "reason": "a bench"}
        await api.done("POST", "/tokens", made)
    for number in range(min(many, WEBHOOKS_MAX)):
        hook = {"url": f"https://example.com/{number}", "kinds": ["session.ended"]}
        await api.done("POST", "/webhooks", hook)


def _add_cards(engine: Engine, act: Act, many: int) -> None:
    prices = {Meter.TEXT_IN: Price(1_000), Meter.TEXT_OUT: Price(2_000)}
    cards = [
        NewCard("openai", f"model-{number}", act.at - back * 30 * _DAY, "a bench", prices)
        for number in range(many)
        for back in range(3)
    ]
    with writing(engine) as connection:
        import_cards(connection, cards, act)


def _announce(engine: Engine, world: World, now: datetime, count: int) -> None:
    """Announce cuts over a year, all of them delivered."""
    ats = list(_back(now, count))
    facts = {"kind": "budget.cut", "tenant_id": world.tenant, "payload": {"budget_id": world.budget}}
    rows = [{"key": f"bench {n}", "at": at, "fanned_at": at, **facts} for n, at in enumerate(ats)]
    with writing(engine) as connection:
        last = connection.execute(select(func.max(outbox.c.id))).scalar_one()
        connection.execute(insert(outbox), rows)
        new = select(outbox.c.id, outbox.c.at).where(outbox.c.id > last)
        delivered = {"webhook_id": world.webhook, "attempts": 1, "next_at": None, "status": 200}
        rows = [{"outbox_id": row.id, "delivered_at": row.at, **delivered} for row in connection.execute(new)]
        connection.execute(insert(delivery), rows)


def _note(engine: Engine, world: World, now: datetime, count: int) -> None:
    facts = {"tenant_id": world.tenant, "before": {"amount_nanousd": 5}, "after": {"amount_nanousd": 6}}
    rows = [
        {
            "at": at,
            "actor": f"api:person {n % 20}",
            "action": "budget.change",
            "object": world.budget,
            **facts,
        }
        for n, at in enumerate(_back(now, count))
    ]
    with writing(engine) as connection:
        connection.execute(insert(audit), rows)


def _back(now: datetime, count: int) -> Iterator[datetime]:
    """Yield so many instants of the last year, the oldest first."""
    for number in range(count):
        yield now - (count - number) * 365 * _DAY / count


def _reconcile(engine: Engine, act: Act, many: int) -> None:
    """Compare days with a bill that has nothing: each group of the day is a row."""
    terms = Terms(_DAY, Threshold(10**9, 10))
    for number in range(many):
        day = (act.at - (many - number + 1) * _DAY).date()
        said = TheirSide((), (), act.at - (many - number) * timedelta(minutes=1))
        with writing(engine) as connection:
            scope = Scope(day, day + _DAY)
            rows = compare_bill(connection, scope, terms, said, {})
            record(connection, scope, terms, said, rows, act)

"""What budgets have spent, window by window: counters beside the ledger, and always what it says.

A row that is missing is made from the ledger's sum, under the lock of the chain, so that no posting is in
between. It is the one way in which rows come into being: a budget made in mid-window, another time zone and
a new window are the same case.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Table, func, insert, select, tuple_

from proxy.core.budgets import Budget, Pot, Scope
from proxy.core.records import Kind
from proxy.core.windows import Span, Window
from proxy.store.schema import budget_window, ledger_entry
from proxy.store.sums import exact, parts

PAGE_POTS = 500
UNCOUNTED = (Kind.ADJUSTMENT.value, Kind.CREDIT.value)  # they never move what a budget has spent


@dataclass(frozen=True, slots=True)
class WindowRow:
    """What was spent in a window. `is_new` if its row was made a moment ago."""

    pot: Pot
    spent_nanousd: int
    is_new: bool = False


def of_pots(table: Table, pots: Iterable[Pot]) -> ColumnElement[bool]:
    """Return the condition for the rows of these pots, in a table that is keyed by them."""
    columns = tuple_(table.c.budget_id, table.c.subject, table.c.starts_at)
    return columns.in_([(pot.budget_id, pot.subject, pot.starts_at) for pot in pots])


def missing_windows(connection: Connection, pots: Iterable[Pot]) -> set[Pot]:
    """Return those of `pots` that have no row yet."""
    wanted = set(pots)
    columns = budget_window.c
    query = select(columns.budget_id, columns.subject, columns.starts_at)
    found = connection.execute(query.where(of_pots(budget_window, wanted)))
    return wanted - {Pot(row.budget_id, row.subject, row.starts_at) for row in found}


def ensure_windows(connection: Connection, budgets: Mapping[Pot, Budget]) -> set[Pot]:
    """Make the rows that are missing, from the ledger; the chain is locked. Return those that were made."""
    missing = missing_windows(connection, budgets)
    rows = []
    for pot in sorted(missing):
        span = budgets[pot].span(pot.starts_at)
        rows.append(
            {
                "budget_id": pot.budget_id,
                "subject": pot.subject,
                "starts_at": pot.starts_at,
                "ends_at": span.end if span else None,
                "spent_nanousd": ledger_spent(connection, budgets[pot], pot.subject, span),
            }
        )
    if rows:
        connection.execute(insert(budget_window), rows)
    return missing


def spent_of(connection: Connection, budgets: Mapping[Pot, Budget]) -> Mapping[Pot, int]:
    """Return what was spent of each pot; where nobody has counted yet, what the ledger says."""
    spent: dict[Pot, int] = {}
    wanted = sorted(budgets)
    for start in range(0, len(wanted), PAGE_POTS):
        page = wanted[start : start + PAGE_POTS]
        for row in connection.execute(select(budget_window).where(of_pots(budget_window, page))):
            spent[Pot(row.budget_id, row.subject, row.starts_at)] = row.spent_nanousd
    for pot in budgets.keys() - spent.keys():
        budget = budgets[pot]
        spent[pot] = ledger_spent(connection, budget, pot.subject, budget.span(pot.starts_at))
    return spent


def lock_windows(connection: Connection, pots: Sequence[Pot]) -> Mapping[Pot, WindowRow]:
    """Lock the rows of `pots`, in their order, and return them."""
    columns = budget_window.c
    query = (
        select(budget_window)
        .where(of_pots(budget_window, pots))
        .order_by(columns.budget_id, columns.subject, columns.starts_at)
        .with_for_update()
    )
    found = {}
    for row in connection.execute(query):
        pot = Pot(row.budget_id, row.subject, row.starts_at)
        found[pot] = WindowRow(pot, row.spent_nanousd)
    return found


def ledger_spent(connection: Connection, budget: Budget, subject: str, span: Span | None) -> int:
    """Return what the ledger says was spent of `budget` in one window, for one subject."""
    entry = ledger_entry.c
    amount = entry.cost_nanousd if budget.scope is Scope.ORGANISATION else entry.billed_nanousd
    charged = func.coalesce(amount, entry.charge_nanousd)
    query = select(*parts(charged, "charged")).where(entry.kind.not_in(UNCOUNTED), *_scope(budget, subject))
    if span is not None:
        query = query.where(entry.occurred_at >= span.start, entry.occurred_at < span.end)
    return exact(connection.execute(query).one(), "charged")


def _scope(budget: Budget, subject: str) -> list[ColumnElement[bool]]:
    entry = ledger_entry.c
    owners = {
        Scope.ORGANISATION: [],
        Scope.TENANT: [entry.tenant_id == budget.tenant_id],
        Scope.PROJECT: [entry.project_id == budget.project_id],
        Scope.KEY: [entry.api_key_id == budget.api_key_id],
        Scope.END_USER: [entry.end_user_id == budget.end_user_id],
        Scope.EACH_USER: [entry.tenant_id == budget.tenant_id, entry.end_user_id.is_not(None)],
    }
    conditions: list[ColumnElement[bool]] = owners[budget.scope]
    if budget.window is Window.SESSION:
        return [*conditions, entry.session_id == subject]
    if budget.scope is Scope.EACH_USER:
        return [*conditions, entry.end_user_id == subject]
    return conditions

"""What budgets have spent: the poster counts every new ledger entry in all windows that enclose it.

A window's row that is missing is made from the ledger's sum, be it that the budget is new, or the window, or
the subject. That is done under the lock of the chain's head, so that no posting comes between the two.

The order of locks, for everybody: the chain's head, then rows of `budget_window` sorted by their key. A row
of `lease` is written only by who holds the window it belongs to.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import islice
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    Update,
    bindparam,
    case,
    func,
    literal,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from proxy.core.budgets import EPOCH, Budget, BudgetBook, Payer, Pot, Scope
from proxy.core.records import Kind
from proxy.core.windows import Span, Window
from proxy.store.columns import Instant
from proxy.store.schema import budget_window, lease, ledger_entry
from proxy.store.sums import exact, parts

POTS_MAX = 2_000  # in one statement: three parameters each, and SQLite takes 32,766
SUBJECTS_MAX = 10_000

METERED = (Kind.RESPONSE, Kind.TRANSCRIPTION, Kind.DURATION)


@dataclass(frozen=True, slots=True)
class Charge:
    """What one posting did to a pot."""

    amount_nanousd: int
    taken_nanousd: int  # from this instance's lease in all: with what earlier postings took
    spent_nanousd: int  # in the window now
    before_nanousd: int = 0  # in the window before; 0 when its row was made now, whatever it started from


# --- Counting


def charge(
    connection: Connection,
    book: BudgetBook,
    rows: Sequence[Mapping[str, Any]],
    *,
    instance_id: str,
    booked: int,
) -> Mapping[Pot, Charge]:
    """Count the new ledger rows `rows`; `booked` entries were there before. The caller holds the chain."""
    amounts = _amounts(book, rows)
    if not amounts:
        return {}
    made = ensure_windows(connection, {pot: book.budgets[pot.budget_id] for pot in amounts}, upto=booked)
    spent = lock_windows(connection, amounts)
    taken = _take(connection, instance_id, amounts)
    _add(connection, amounts)
    return {
        pot: Charge(amount, taken.get(pot, 0), spent[pot] + amount, 0 if pot in made else spent[pot])
        for pot, amount in amounts.items()
    }


def charged_nanousd(row: Mapping[str, Any], scope: Scope | None) -> int:
    """Return what a ledger row is charged to a budget: `charged` in Python."""
    if row["cost_nanousd"] is None:
        return row["charge_nanousd"] or 0
    return row["cost_nanousd" if scope is Scope.ORGANISATION else "billed_nanousd"] or 0


def charged(scope: Scope) -> ColumnElement[int]:
    """Return what an entry is charged to a budget of `scope`."""
    entry = ledger_entry.c
    amount = entry.cost_nanousd if scope is Scope.ORGANISATION else entry.billed_nanousd
    unrated = func.coalesce(entry.charge_nanousd, 0)
    return case((entry.cost_nanousd.is_(None), unrated), else_=func.coalesce(amount, 0))


def _amounts(book: BudgetBook, rows: Iterable[Mapping[str, Any]]) -> dict[Pot, int]:
    """Return what `rows` come to per pot, in the order of locking. Adjustments and credits never count."""
    found: dict[Pot, int] = {}
    enclosing: dict[str, list[tuple[Budget, str]]] = {}  # with its subject, by session
    spans = _Spans()
    for row in rows:
        if row["kind"] not in METERED:
            continue
        around = enclosing.get(row["session_id"])
        if around is None:
            payer = _payer(row)
            around = [(budget, budget.subject(payer)) for budget in book.enclosing(payer)]
            enclosing[row["session_id"]] = around
        for budget, subject in around:
            span = spans.at(budget, row["occurred_at"])
            pot = Pot(budget.id, subject, span.start if span else EPOCH)
            found[pot] = found.get(pot, 0) + charged_nanousd(row, budget.scope)
    return dict(sorted(found.items()))


def _payer(row: Mapping[str, Any]) -> Payer:
    return Payer(
        row["session_id"], row["tenant_id"], row["project_id"], row["api_key_id"], row["end_user_id"]
    )


class _Spans:
    """The last span found of each budget: most entries of a posting lie in the same one."""

    def __init__(self) -> None:
        self._found: dict[str, Span | None] = {}

    def at(self, budget: Budget, at: datetime) -> Span | None:
        span = self._found.get(budget.id)
        if budget.id not in self._found or (span is not None and not span.start <= at < span.end):
            span = self._found[budget.id] = budget.span(at)
        return span


def _take(connection: Connection, instance_id: str, amounts: Mapping[Pot, int]) -> dict[Pot, int]:
    """Take the amounts from what this instance was granted, as far as that goes; return what is taken in all.

    A correction that gives money back takes nothing: the lease it came from is long settled.
    """
    taken: dict[Pot, int] = {}
    values = []
    for row in rows_of(connection, lease, amounts, of_instance=instance_id):
        pot = pot_in(row)
        amount = max(0, min(amounts[pot], row.granted_nanousd - row.taken_nanousd))
        taken[pot] = row.taken_nanousd + amount
        if amount:
            values.append({**key_of(pot), "of_instance": instance_id, "amount": amount})
    if values:
        connection.execute(_taking(), values)
    return taken


def taken_by(connection: Connection, instance_id: str) -> dict[Pot, int]:
    """Return what postings have taken from each lease of an instance. The caller holds the chain."""
    mine = select(lease).where(lease.c.instance_id == instance_id)
    return {pot_in(row): row.taken_nanousd for row in connection.execute(mine)}


def _add(connection: Connection, amounts: Mapping[Pot, int]) -> None:
    values = [{**key_of(pot), "amount": amount} for pot, amount in amounts.items() if amount]
    if values:
        connection.execute(_adding(), values)


# --- Windows


def ensure_windows(connection: Connection, budgets: Mapping[Pot, Budget], *, upto: int) -> Mapping[Pot, int]:
    """Make the rows of `budgets` that are missing, from the ledger's first `upto` entries; return their sums.

    The caller holds the lock of the chain's head.
    """
    missing = missing_windows(connection, budgets)
    if not missing:
        return {}
    spent = ledger_sums(connection, {pot: budgets[pot] for pot in missing}, upto=upto)
    ends = {(pot.budget_id, pot.starts_at): budgets[pot].span(pot.starts_at) for pot in missing}
    rows = []
    for pot in missing:
        span = ends[pot.budget_id, pot.starts_at]
        key = {"budget_id": pot.budget_id, "subject": pot.subject, "starts_at": pot.starts_at}
        rows.append({**key, "ends_at": span.end if span else None, "spent_nanousd": spent[pot]})
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    key_names = ("budget_id", "subject", "starts_at")
    connection.execute(dialect.insert(budget_window).on_conflict_do_nothing(index_elements=key_names), rows)
    return spent


def missing_windows(connection: Connection, pots: Collection[Pot]) -> list[Pot]:
    """Return which of `pots` have no row. None is ever deleted, so this needs no lock."""
    found = {pot_in(row) for row in rows_of(connection, budget_window, pots)}
    return sorted(pot for pot in pots if pot not in found)


def lock_windows(connection: Connection, pots: Collection[Pot]) -> dict[Pot, int]:
    """Lock the rows of `pots` in their order; return what each has spent."""
    return {pot_in(row): row.spent_nanousd for row in rows_of(connection, budget_window, pots, lock=True)}


def ledger_sums(
    connection: Connection, budgets: Mapping[Pot, Budget], *, upto: int | None = None
) -> dict[Pot, int]:
    """Return what the ledger says was spent from each pot, by its first `upto` entries or all."""
    found = dict.fromkeys(budgets, 0)
    groups: dict[tuple[str, datetime], list[Pot]] = {}
    for pot in budgets:
        groups.setdefault((pot.budget_id, pot.starts_at), []).append(pot)
    for (budget_id, starts_at), pots in groups.items():
        budget = budgets[pots[0]]
        for some in chunks([pot.subject for pot in pots], SUBJECTS_MAX):
            for row in connection.execute(_spent(budget, starts_at, some, upto)):
                found[Pot(budget_id, row.subject or "", starts_at)] = exact(row, "spent")
    return found


def spent_of(connection: Connection, budgets: Mapping[Pot, Budget]) -> Mapping[Pot, int]:
    """Return what was spent from each pot; where nobody has counted yet, what the ledger says."""
    known = counted(connection, budgets)
    return ledger_sums(connection, {pot: budgets[pot] for pot in budgets.keys() - known.keys()}) | known


def counted(connection: Connection, pots: Collection[Pot]) -> dict[Pot, int]:
    """Return what was spent from each of `pots` that somebody has counted."""
    return {pot_in(row): row.spent_nanousd for row in rows_of(connection, budget_window, pots)}


def held(connection: Connection, pots: Collection[Pot]) -> dict[Pot, int]:
    """Return what instances hold of each of `pots`: leased, and by no posting taken yet."""
    found = dict.fromkeys(pots, 0)
    for row in rows_of(connection, lease, pots):
        found[pot_in(row)] += row.granted_nanousd - row.taken_nanousd
    return found


def _spent(budget: Budget, starts_at: datetime, subjects: Sequence[str], upto: int | None) -> Select[Any]:
    entry = ledger_entry.c
    wanted: list[ColumnElement[bool]] = [entry.kind.in_(METERED), *in_scope(budget)]
    if upto is not None:
        wanted.append(entry.id <= upto)
    if span := budget.span(starts_at):
        wanted += [entry.occurred_at >= span.start, entry.occurred_at < span.end]
    spent = parts(charged(budget.scope), "spent")
    subject: ColumnElement[str | None] | None = None
    if budget.window is Window.SESSION:
        subject = entry.session_id
    elif budget.scope is Scope.EACH_USER:
        subject = entry.end_user_id
    if subject is None:
        return select(literal("").label("subject"), *spent).where(*wanted)
    return select(subject.label("subject"), *spent).where(*wanted, subject.in_(subjects)).group_by(subject)


def in_scope(budget: Budget) -> list[ColumnElement[bool]]:
    """Say which entries it counts: `Budget.encloses` in SQL."""
    entry = ledger_entry.c
    match budget.scope:
        case Scope.ORGANISATION:
            return []
        case Scope.TENANT:
            return [entry.tenant_id == budget.tenant_id]
        case Scope.PROJECT:
            return [entry.project_id == budget.project_id]
        case Scope.KEY:
            return [entry.api_key_id == budget.api_key_id]
        case Scope.END_USER:
            return [entry.end_user_id == budget.end_user_id]
        case Scope.EACH_USER:
            return [entry.tenant_id == budget.tenant_id, entry.end_user_id.is_not(None)]


# --- Rows by their pot


def rows_of(
    connection: Connection,
    table: Table,
    pots: Collection[Pot],
    *,
    of_instance: str | None = None,
    lock: bool = False,
) -> Iterator[Row[Any]]:
    """Yield the rows of `table` that belong to `pots`, in the order of pots, locked one after another.

    The order is that of Python's strings: PostgreSQL's own would depend on how the database was made.
    """
    query = _by_pot(table, connection.dialect.name, of_instance is not None, lock)
    whose = {} if of_instance is None else {"of_instance": of_instance}
    for some in chunks(sorted(pots), POTS_MAX):
        keys = [(pot.budget_id, pot.subject, pot.starts_at) for pot in some]
        yield from connection.execute(query, {"pots": keys, **whose}).all()


# Statements are made once: the poster shares its interpreter with the relay.


@cache
def _by_pot(table: Table, dialect: str, is_of_instance: bool, lock: bool) -> Select[Any]:
    key = (table.c.budget_id, table.c.subject, table.c.starts_at)
    order = (*(c.collate("C") if dialect == "postgresql" else c for c in key[:2]), key[2])
    query = select(table).where(tuple_(*key).in_(bindparam("pots", expanding=True))).order_by(*order)
    if is_of_instance:
        query = query.where(table.c.instance_id == bindparam("of_instance"))
    return query.with_for_update() if lock else query


@cache
def _taking() -> Update:
    taken = lease.c.taken_nanousd + bindparam("amount")
    mine = lease.c.instance_id == bindparam("of_instance")
    return update(lease).where(at_key(lease), mine).values(taken_nanousd=taken)


@cache
def _adding() -> Update:
    spent = budget_window.c.spent_nanousd + bindparam("amount")
    return update(budget_window).where(at_key(budget_window)).values(spent_nanousd=spent)


def pot_in(row: Row[Any]) -> Pot:
    """Return the pot that a row of `budget_window` or `lease` belongs to."""
    return Pot(row.budget_id, row.subject, row.starts_at)


def at_key(table: Table) -> ColumnElement[bool]:
    """Return the condition for one pot's row, with the parameters of `key_of`."""
    return (
        (table.c.budget_id == bindparam("of_budget"))
        & (table.c.subject == bindparam("of_subject"))
        & (table.c.starts_at == bindparam("of_start", type_=Instant))
    )


def key_of(pot: Pot) -> dict[str, Any]:
    """Return the parameters of `at_key`."""
    return {"of_budget": pot.budget_id, "of_subject": pot.subject, "of_start": pot.starts_at}


def chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Yield `items` in lists of at most `size`."""
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some

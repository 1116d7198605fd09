"""Reading the ledger: entries with their lines."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, func, select

from proxy.core.records import Kind, Role
from proxy.store import Conflict, NotFound
from proxy.store.archives import need_lines
from proxy.store.database import reading
from proxy.store.filters import EVERYTHING, Condition, Filters, conditions, line_conditions
from proxy.store.instants import format_instant
from proxy.store.pages import Within
from proxy.store.periods import Closes, load_closes
from proxy.store.schema import ledger_archive, ledger_entry, ledger_line, project, tenant

PAGE_ENTRIES = 500
WINDOW_IDS = 1_000
TURNS_MAX = 10_000
_DERIVED = ("tenant", "project", "corrects_period", "archive", "lines")
_corrected = ledger_entry.alias("corrected")


@dataclass(frozen=True, slots=True)
class Line:
    """One meter's part of an entry. Price and cost are None where no card had a price."""

    meter: str
    quantity: int
    unit: str
    price_nanousd: int | None
    price_per: int | None
    cost_nanousd: int | None
    rate_card_id: str | None
    list_nanousd: int | None
    billed_nanousd: int | None


@dataclass(frozen=True, slots=True)
class Booked:
    """A ledger entry as people and programs see it, with names instead of ids where there are names."""

    id: int
    occurred_at: datetime
    posted_at: datetime
    provider: str
    account: str | None
    tenant_id: str
    tenant: str
    project_id: str | None
    project: str | None
    api_key_id: str | None
    end_user_id: str | None
    session_id: str | None
    upstream_session_id: str | None
    model: str | None
    kind: str
    role: str
    subject_id: str
    status: str
    status_reason: str | None
    estimated: bool
    flags: Sequence[str]
    period: str
    cost_nanousd: int | None
    billed_nanousd: int | None
    list_nanousd: int | None
    public_card_id: str | None
    agreed_card_id: str | None
    markup_bp: int | None
    tags: Mapping[str, str]
    corrects: int | None
    corrects_period: str | None  # the closed period that it concerns
    archive: str | None  # the file that has its lines, which are not here any more
    lines: Sequence[Line]

    @property
    def rated(self) -> bool:
        return self.cost_nanousd is not None

    @property
    def reason_to_tenant(self) -> str | None:
        """Return why it is there; None where only what we are charged moves, which the words may tell."""
        is_ours = self.kind in (Kind.ADJUSTMENT, Kind.CREDIT) and not self.billed_nanousd
        return None if is_ours else self.status_reason

    def need_lines(self) -> None:
        """Raises StoreError: its lines are in an archive."""
        if self.archive is not None:
            raise Conflict(
                f"{self.period} is archived in {self.archive}: the lines of its entries are there."
            )

    def as_json(self) -> dict[str, Any]:
        """Return the entry as `ledger list --json` prints it."""
        return {
            "id": self.id,
            "occurred_at": format_instant(self.occurred_at),
            "tenant": self.tenant,
            "project": self.project,
            "api_key_id": self.api_key_id,
            "session_id": self.session_id,
            "upstream_session_id": self.upstream_session_id,
            "model": self.model,
            "kind": self.kind,
            "role": self.role,
            "subject_id": self.subject_id,
            "status": self.status,
            "status_reason": self.status_reason,
            "rated": self.rated,
            "estimated": self.estimated,
            "flags": list(self.flags),
            "period": self.period,
            "cost_nanousd": self.cost_nanousd,
            "billed_nanousd": self.billed_nanousd,
            "list_nanousd": self.list_nanousd,
            "public_card_id": self.public_card_id,
            "agreed_card_id": self.agreed_card_id,
            "markup_bp": self.markup_bp,
            "corrects": self.corrects,
            "corrects_period": self.corrects_period,
            "archive": self.archive,
            "lines": [{name: getattr(line, name) for name in Line.__slots__} for line in self.lines],
        }


@dataclass(frozen=True, slots=True)
class Window:
    """What was found in a window of ids, and how many were looked at by then of all that count."""

    entries: Sequence[Booked]
    done: int
    total: int


def entries(engine: Engine, filters: Filters = EVERYTHING, *, after: int = 0) -> Iterator[Booked]:
    """Yield the entries behind id `after` in the order of the chain, as `windows` finds them."""
    for window in windows(engine, filters, after=after):
        yield from window.entries


def windows(engine: Engine, filters: Filters = EVERYTHING, *, after: int = 0) -> Iterator[Window]:
    """Yield what the ledger has now behind id `after`, in the order of the chain, a window of ids at a time.

    Each is a short transaction: a long list must not hold back vacuum or checkpoints. And each reads its own
    ids and no others, so that the last costs no more than the first.

    Raises:
        StoreError: a filter names what does not exist.
    """
    with reading(engine) as connection:
        first, last = _ends(connection, filters, after)
    for start in range(first, last + 1, WINDOW_IDS):
        end = min(start + WINDOW_IDS - 1, last)
        with reading(engine) as connection:
            found = _between(connection, filters, start, end)
        yield Window(found, end - first + 1, last - first + 1)


def _wanted(connection: Connection, filters: Filters) -> list[Condition]:
    if line_conditions(filters):
        need_lines(connection, filters, "a list by meter or modality")
    return conditions(connection, filters)


def _ends(connection: Connection, filters: Filters, after: int) -> tuple[int, int]:
    """Return the first and the last id that are meant; where there is none, the last is before the first."""
    wanted = [*_wanted(connection, filters), ledger_entry.c.id > after]
    first, last = (
        select(end(ledger_entry.c.id)).where(*wanted).scalar_subquery() for end in (func.min, func.max)
    )
    row = connection.execute(select(first, last)).one()
    return (0, -1) if row[0] is None else (int(row[0]), int(row[1]))


def _between(
    connection: Connection,
    filters: Filters,
    first: int,
    last: int,
    limit: int | None = None,
    *,
    newest_first: bool = False,
) -> list[Booked]:
    """Return what is meant of these ids, both inside."""
    wanted = [*conditions(connection, filters, by_id=True), ledger_entry.c.id.between(first, last)]
    order = ledger_entry.c.id.desc() if newest_first else ledger_entry.c.id
    return with_lines(connection, booked().where(*wanted).order_by(order).limit(limit))


def page_of_entries(
    connection: Connection,
    filters: Filters,
    *,
    after: int | None = None,
    limit: int,
    newest_first: bool = False,
) -> list[Booked]:
    """Return the first `limit` entries behind id `after`; with `newest_first` in the opposite direction.

    An index says where the next one is, and it is read with its neighbours: neither all that a tenant has is
    sorted for a page of it, nor all that others have in between is read.

    Raises:
        StoreError: a filter names what does not exist.
    """
    found: list[Booked] = []
    wanted = _wanted(connection, filters)
    entry_id = ledger_entry.c.id
    nearest, way = (func.max, -1) if newest_first else (func.min, 1)
    while len(found) < limit:
        behind = [] if after is None else [entry_id < after if newest_first else entry_id > after]
        start = connection.execute(select(nearest(entry_id)).where(*wanted, *behind)).scalar_one()
        if start is None:
            break
        after = start + way * (WINDOW_IDS - 1)
        first, last = sorted((start, after))
        left = limit - len(found)
        found += _between(connection, filters, first, last, left, newest_first=newest_first)
    return found


def find_entry(connection: Connection, entry_id: int, within: Within = None) -> Booked:
    """Raises StoreError: there is no such entry, or it is of no tenant `within`."""
    wanted = [ledger_entry.c.id == entry_id]
    if within is not None:
        wanted.append(ledger_entry.c.tenant_id.in_(within))
    found = with_lines(connection, booked().where(*wanted))
    if not found:
        raise NotFound(f"There is no entry {entry_id} in the ledger: its list says which there are.")
    return found[0]


def corrections_of(connection: Connection, entry: Booked) -> list[int]:
    """Return the ids of the entries that correct this one: its reversal, and what stands in its place."""
    of = ledger_entry.c
    reverses = (of.role == Role.REVERSAL) & (of.corrects == entry.id)  # as its index says it
    found = set(connection.execute(select(of.id).where(reverses)).scalars())
    if entry.session_id is not None:
        replaces = (of.session_id == entry.session_id) & (of.corrects == entry.id)
        found |= set(connection.execute(select(of.id).where(replaces)).scalars())
    return sorted(found)


def newest(engine: Engine, filters: Filters = EVERYTHING, limit: int = 50) -> list[Booked]:
    """Return the last `limit` entries, in the order of the chain.

    Raises:
        StoreError: a filter names what does not exist.
    """
    with reading(engine) as connection:
        query = booked().where(*_wanted(connection, filters))
        found = with_lines(connection, query.order_by(ledger_entry.c.id.desc()).limit(limit))
    return found[::-1]


def session_turns(engine: Engine, session_id: str) -> list[Booked]:
    """Return what was booked for a session, in the order it happened (the first ten thousand)."""
    with reading(engine) as connection:
        return entries_of_session(connection, session_id, TURNS_MAX)


def entries_of_session(connection: Connection, session_id: str, limit: int) -> list[Booked]:
    """Return the first `limit` entries of a session, in the order they happened."""
    query = booked().where(ledger_entry.c.session_id == session_id)
    query = query.order_by(ledger_entry.c.occurred_at, ledger_entry.c.id).limit(limit)
    return with_lines(connection, query)


def booked() -> Select[Any]:
    """Return the query for entries with names, which `with_lines` takes."""
    entry = ledger_entry.c
    names = [name for name in Booked.__slots__ if name not in _DERIVED]
    return (
        select(
            *(entry[name] for name in names),
            func.coalesce(tenant.c.name, entry.tenant_id).label("tenant"),
            func.coalesce(project.c.name, entry.project_id).label("project"),
            _corrected.c.period.label("period_of_corrected"),
            ledger_archive.c.file.label("archive"),
        )
        .join(tenant, tenant.c.id == entry.tenant_id, isouter=True)
        .join(project, project.c.id == entry.project_id, isouter=True)
        .join(_corrected, _corrected.c.id == entry.corrects, isouter=True)
        .join(ledger_archive, ledger_archive.c.period == entry.period, isouter=True)
    )


def with_lines(connection: Connection, query: Select[Any]) -> list[Booked]:
    """Return the entries of a query, each with its lines."""
    rows = connection.execute(query).all()
    lines: dict[int, list[Line]] = {row.id: [] for row in rows}
    wanted = list(lines)
    for start in range(0, len(wanted), PAGE_ENTRIES):
        found = select(ledger_line).where(ledger_line.c.entry_id.in_(wanted[start : start + PAGE_ENTRIES]))
        for row in connection.execute(found.order_by(ledger_line.c.entry_id, ledger_line.c.meter)):
            lines[row.entry_id].append(Line(**{name: getattr(row, name) for name in Line.__slots__}))
    closes = load_closes(connection)
    return [_booked(row, closes, lines[row.id]) for row in rows]


def _booked(row: Row[Any], closes: Closes, lines: Sequence[Line]) -> Booked:
    values = dict(row._mapping)
    period_of_corrected = values.pop("period_of_corrected")
    return Booked(**values, corrects_period=closes.corrected(row, period_of_corrected), lines=lines)

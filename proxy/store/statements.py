"""Statements: what each tenant owes for a closed period, as it was stated then."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from proxy.core.money import NANOUSD_PER_CENT, format_cents, format_usd, to_cents
from proxy.core.periods import span_of
from proxy.core.usage import meter_label
from proxy.store import NotFound
from proxy.store.adjustments import KINDS
from proxy.store.chain import Head
from proxy.store.csv_text import to_csv
from proxy.store.instants import format_instant, parse_zone
from proxy.store.pages import Page, Within, is_within
from proxy.store.schema import ledger_period, statement, statement_line
from proxy.store.stating import ENTRY, StatedLine
from proxy.store.tenants import find_tenant

DISCLAIMER = "This is not a tax invoice."
STATEMENTS_MAX = 10_000
UNITS = {"token": "tokens", "ms": "ms", ENTRY: "entries"}  # as people read them
# The parts of a statement that people read: name, title, and what it is.
SECTIONS = (
    ("usage", "Usage", ""),
    (
        "unrated",
        "Usage without a price",
        "It has no amount here. Once it has a price, a later statement corrects this one.",
    ),
    ("adjustment", "Adjustments and credits", ""),
    (
        "correction",
        "Corrections of earlier months",
        "Those months were closed before this was known; their statements stay as they are.",
    ),
)
CSV_COLUMNS = (
    *(
        "statement",
        "period",
        "tenant",
        "tenant_id",
        "line",
        "project",
        "project_id",
        "model",
        "meter",
        "kind",
    ),
    *("corrects_period", "entry_id", "reason", "quantity", "unit", "billed_nanousd", "billed_usd"),
)


@dataclass(frozen=True, slots=True)
class Statement:
    """The head of a statement. Amounts are nano-dollars; `seal` is the ledger's at the close."""

    number: str
    period: str
    zone: str
    closed_at: datetime
    seal: str
    issuer: str | None
    tenant: str
    tenant_id: str
    entries: int
    unrated_entries: int
    billed_nanousd: int  # the exact sum of the lines
    rounding_nanousd: int

    @property
    def total_cents(self) -> int:
        """Return what is owed: the sum and its rounding."""
        return (self.billed_nanousd + self.rounding_nanousd) // NANOUSD_PER_CENT

    @property
    def starts_at(self) -> datetime:
        return span_of(self.period, parse_zone(self.zone)).start

    @property
    def ends_at(self) -> datetime:
        """Return the first instant that is no longer inside."""
        return span_of(self.period, parse_zone(self.zone)).end

    def as_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "period": self.period,
            "zone": self.zone,
            "starts_at": format_instant(self.starts_at),
            "ends_at": format_instant(self.ends_at),
            "closed_at": format_instant(self.closed_at),
            "issuer": self.issuer,
            "tenant": self.tenant,
            "tenant_id": self.tenant_id,
            "entries": self.entries,
            "unrated_entries": self.unrated_entries,
            "billed_nanousd": self.billed_nanousd,
            "billed_usd": format_usd(self.billed_nanousd),
            "rounding_nanousd": self.rounding_nanousd,
            "rounding_usd": format_usd(self.rounding_nanousd),
            "total_usd": format_cents(self.total_cents),
            "digest": self.seal,
            "note": DISCLAIMER,
        }


@dataclass(frozen=True, slots=True)
class Whole:
    """A statement with its lines."""

    head: Statement
    lines: Sequence[StatedLine]

    def as_json(self) -> dict[str, Any]:
        return {**self.head.as_json(), "lines": [_json_line(line) for line in self.lines]}

    def as_csv(self) -> str:
        """Return a row for each line and one for the rounding: together they are the total."""
        return to_csv(CSV_COLUMNS, self._rows())

    def _rows(self) -> Iterator[Mapping[str, object]]:
        head = self.head
        common = {"statement": head.number, "period": head.period, "tenant": head.tenant}
        common["tenant_id"] = head.tenant_id
        for line in self.lines:
            yield {**common, **_json_line(line)}
        rounding = {"line": "rounding", "billed_nanousd": head.rounding_nanousd}
        rounding["billed_usd"] = format_usd(head.rounding_nanousd)
        yield {**dict.fromkeys(CSV_COLUMNS), **common, **rounding}


def section_of(line: StatedLine) -> str:
    """Return which part of a statement a line belongs to."""
    if line.corrects_period is not None:
        return "correction"
    if line.entry_id is not None:
        return "adjustment"
    return "usage" if line.billed_nanousd is not None else "unrated"


def what_for(line: StatedLine) -> str:
    """Return what a line is about, as people read it."""
    if line.kind in KINDS:
        return f"{line.kind.capitalize()}: {line.reason} (entry {line.entry_id})"
    if line.meter is None:
        return f"{line.kind.capitalize()} without usage"
    return meter_label(line.meter)


def _json_line(line: StatedLine) -> dict[str, Any]:
    billed = line.billed_nanousd
    values = {name: getattr(line, name) for name in StatedLine.__slots__}
    usd = format_usd(billed) if billed is not None else None
    return {"line": section_of(line), **values, "billed_usd": usd}


def list_statements(
    connection: Connection,
    *,
    period: str | None = None,
    tenant: str | None = None,
    limit: int = STATEMENTS_MAX,
) -> list[Statement]:
    """Return the newest `limit` statements, in the order of their numbers; a tenant by name or id.

    Raises:
        StoreError: there is no such tenant.
    """
    query = _heads()
    if period is not None:
        query = query.where(statement.c.period == period)
    if tenant is not None:
        query = query.where(statement.c.tenant_id == find_tenant(connection, tenant).id)
    order = (statement.c.period.desc(), statement.c.tenant.desc(), statement.c.tenant_id.desc())
    rows = connection.execute(query.order_by(*order).limit(min(limit, STATEMENTS_MAX))).all()
    return sorted((_head(row) for row in rows), key=lambda one: (one.period, len(one.number), one.number))


def page_of_statements(
    connection: Connection, page: Page, *, period: str | None = None, tenant_id: str | None = None
) -> list[Statement]:
    """Return a page of statements, by period and number."""
    query = _heads()
    if period is not None:
        query = query.where(statement.c.period == period)
    if tenant_id is not None:
        query = query.where(statement.c.tenant_id == tenant_id)
    key = (statement.c.period, statement.c.number)
    rows = connection.execute(page.of(query, *key, tenant_id=statement.c.tenant_id))
    return [_head(row) for row in rows]


def find_statement(connection: Connection, number: str, within: Within = None) -> Whole:
    """Return a statement with its lines.

    Raises:
        StoreError: there is none of this number, or it is of no tenant `within`.
    """
    row = connection.execute(_heads().where(statement.c.number == number)).one_or_none()
    if row is None or not is_within(row.tenant_id, within):
        raise NotFound(f"There is no statement {number[:40]!r}: the list of statements says which there are.")
    return Whole(_head(row), stated_lines(connection, number))


def stated_lines(connection: Connection, number: str) -> list[StatedLine]:
    """Return a statement's lines, in their order."""
    query = select(*(statement_line.c[name] for name in StatedLine.__slots__))
    query = query.where(statement_line.c.statement == number).order_by(statement_line.c.position)
    return [StatedLine(**row._mapping) for row in connection.execute(query)]


def _heads() -> Select[Any]:
    of = ledger_period.c
    closes = (of.zone, of.closed_at, of.entries.label("chain_entries"), of.digest)
    return select(statement, *closes).join(ledger_period)


def _head(row: Row[Any]) -> Statement:
    return Statement(
        number=row.number,
        period=row.period,
        zone=row.zone,
        closed_at=row.closed_at,
        seal=Head(row.chain_entries, 0, row.digest).seal,
        issuer=row.issuer,
        tenant=row.tenant,
        tenant_id=row.tenant_id,
        entries=row.entries,
        unrated_entries=row.unrated_entries,
        billed_nanousd=row.billed_nanousd,
        rounding_nanousd=row.rounding_nanousd,
    )


def rounding_of(billed_nanousd: int) -> int:
    """Return what makes whole cents of an amount, in nano-dollars."""
    return to_cents(billed_nanousd) * NANOUSD_PER_CENT - billed_nanousd

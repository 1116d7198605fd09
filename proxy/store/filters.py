"""Which ledger entries are meant: one set of filters for lists, reports and exports."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, select

from proxy.core.periods import month_after, month_of, parse_period, span_of
from proxy.core.records import Kind
from proxy.core.usage import MODALITIES, Meter, Modality
from proxy.store import NotFound, StoreError
from proxy.store.groups import TAG_CHARS_MAX, meters_of, tag_value
from proxy.store.pages import Within
from proxy.store.schema import end_user, ledger_entry, ledger_line, project, rollup_group, tenant
from proxy.store.tenants import find_tenant

Condition = ColumnElement[bool]


@dataclass(frozen=True, slots=True)
class Filters:
    """Entries that fulfil all that is given; `start` is inside, `end` is not.

    A tenant, project or end user is meant by its name or id, the others by id. A tag is written name=value.
    Of entries in which a meter or a modality was used, reports count that part only.
    With `months_of`, `start` and `end` are first moments of months in that zone, and do not say when entries
    occurred, but which of these months they are accounted in.
    Tenants that are not `within` do not exist.
    """

    start: datetime | None = None
    end: datetime | None = None
    tenant: str | None = None
    project: str | None = None
    key: str | None = None
    model: str | None = None
    session: str | None = None
    kind: str | None = None
    period: str | None = None  # the month that it is accounted in
    months_of: tzinfo | None = None
    unrated: bool = False
    end_user: str | None = None
    tag: str | None = None
    status: str | None = None
    meter: str | None = None
    modality: str | None = None
    estimated: bool = False
    kinds: frozenset[str] | None = None
    within: Within = None


EVERYTHING = Filters()


def conditions(connection: Connection, filters: Filters, *, by_id: bool = False) -> list[Condition]:
    """Return `filters` as SQL.

    `by_id` is for who reads a stretch of ids: no index of tenants or periods leads the database through all
    that one of them has, for each stretch again.

    Raises:
        StoreError: a tenant or project does not exist, a project's name is not unique, or a filter says
            what cannot be.
    """
    entry = ledger_entry.c
    found = [*_times(filters, by_id), *_who_and_what(connection, filters, ledger_entry, by_id=by_id)]
    if filters.session is not None:
        found.append(entry.session_id == filters.session)
    if filters.status is not None:
        found.append(entry.status == filters.status)
    if filters.end_user is not None:
        found.append(_of_user(filters.end_user))
    if filters.tag is not None:
        name, value = parse_tag(filters.tag)
        found.append(tag_value(name, connection.dialect.name) == value)
    if filters.unrated:
        found.append(entry.cost_nanousd.is_(None))
    if used := line_conditions(filters):
        own = select(ledger_line.c.entry_id).where(ledger_line.c.entry_id == entry.id, *used)
        found.append(own.correlate(ledger_entry).exists())
    return found


def line_conditions(filters: Filters) -> list[Condition]:
    """Return which lines of the entries are meant. Raises StoreError: a meter or modality that is none."""
    meter = _one_of(Meter, "meter", filters.meter)
    modality = _one_of(Modality, "modality", filters.modality)
    if meter is not None and modality not in (None, MODALITIES[meter]):
        raise StoreError(
            f"The meter {meter} counts {MODALITIES[meter]}, not {modality}: give one of the two filters."
        )
    if meter is not None:
        return [ledger_line.c.meter == meter]
    return [ledger_line.c.meter.in_(meters_of(modality))] if modality is not None else []


def check_filters(filters: Filters) -> None:
    """Raises StoreError: a filter says what cannot be, whatever there is in the database."""
    _check_order(filters)
    accounted_months(filters)
    line_conditions(filters)
    _one_of(Kind, "kind", filters.kind)
    if filters.tag is not None:
        parse_tag(filters.tag)


def group_conditions(connection: Connection, filters: Filters) -> list[Condition]:
    """Return which groups of the rollups are meant, but for parts, meters and modalities.

    Raises:
        StoreError: as `conditions`.
    """
    found = _who_and_what(connection, filters, rollup_group)
    return [*found, ~rollup_group.c.rated] if filters.unrated else found


def _times(filters: Filters, by_id: bool) -> list[Condition]:
    _check_order(filters)
    at, period = ledger_entry.c.occurred_at, _unless(by_id, ledger_entry.c.period)
    found = [period == filters.period] if filters.period is not None else []
    if filters.months_of is None:
        return [*found, *_between(at, filters.start, filters.end)]
    return [*found, *_between(period, *accounted_months(filters))]


def _check_order(filters: Filters) -> None:
    if filters.start is not None and filters.end is not None and filters.end <= filters.start:
        raise StoreError("The time asked about ends before it begins: give an end after its start.")


def _between(column: ColumnElement[Any], first: object, end: object) -> list[Condition]:
    return [*([column >= first] if first is not None else []), *([column < end] if end is not None else [])]


def accounted_months(filters: Filters) -> tuple[str | None, str | None]:
    """Return the first period that is meant and the one behind the last; None is open.

    Raises:
        StoreError: a start or an end is no month's first moment, or a period is given beside them.
    """
    if filters.months_of is None:
        return (filters.period, month_after(filters.period)) if filters.period is not None else (None, None)
    first, end = (month_from(at, filters.months_of) for at in (filters.start, filters.end))
    if filters.period is not None and (first, end) != (None, None):
        raise StoreError("One period is given, and a start or an end of periods too: give one of the two.")
    return (filters.period, month_after(filters.period)) if filters.period is not None else (first, end)


def month_from(at: datetime | None, zone: tzinfo) -> str | None:
    """Return the month in `zone` that begins at an instant; raises StoreError where none does."""
    if at is None:
        return None
    try:
        month = parse_period(month_of(at, zone))
    except (ValueError, OverflowError):
        raise StoreError(f"There is no accounting month in the year {at.year}: give another one.") from None
    if span_of(month, zone).start != at:
        raise StoreError(
            f"Accounting months begin on the first day of a month in {zone}: give {month}-01 or"
            f" {month_after(month)}-01."
        )
    return month


def _who_and_what(
    connection: Connection, filters: Filters, table: Table, *, by_id: bool = False
) -> list[Condition]:
    """Return the conditions on what both entries and groups of the rollups know."""
    columns = table.c
    found: list[Condition] = []
    tenant_id = (
        find_tenant(connection, filters.tenant, filters.within).id if filters.tenant is not None else None
    )
    within = filters.within if tenant_id is None else frozenset({tenant_id})
    if within is not None:
        found.append(_unless(by_id, columns.tenant_id).in_(within))
    if filters.project is not None:
        found.append(columns.project_id == project_id(connection, within, filters.project))
    if filters.kinds is not None:
        found.append(columns.kind.in_(filters.kinds))
    for column, value in (
        (columns.api_key_id, filters.key),
        (columns.model, filters.model),
        (columns.kind, _one_of(Kind, "kind", filters.kind)),
    ):
        if value is not None:
            found.append(column == value)
    if filters.estimated:
        found.append(columns.estimated)
    return found


def _unless(by_id: bool, column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the column of an index, or the same where no index serves."""
    return column.concat("") if by_id else column


def _one_of(names: type[StrEnum], what: str, given: str | None) -> Any:
    if given is None:
        return None
    known: Sequence[str] = [one.value for one in names]
    if given not in known:
        raise StoreError(f"{given[:60]!r} is no {what}: use one of {', '.join(known)}.")
    return names(given)


def parse_tag(given: str) -> tuple[str, str]:
    """Return the name and the value in NAME=VALUE; raises StoreError where it is none."""
    name, equals, value = given.partition("=")
    if not name or not equals or len(name) > TAG_CHARS_MAX or not given.isprintable():
        raise StoreError(f"{given[:60]!r} is no tag to filter by: write NAME=VALUE, such as team=support.")
    return name, value


def _of_user(name_or_id: str) -> Condition:
    """An erased user is still meant by its id, which stays in the ledger."""
    named = select(end_user.c.id).where(end_user.c.name == name_or_id)
    return ledger_entry.c.end_user_id.in_(named) | (ledger_entry.c.end_user_id == name_or_id)


def project_id(connection: Connection, within: Within, name_or_id: str) -> str:
    """Raises StoreError: no project of tenants `within` is meant, or several are."""
    query = (
        select(project.c.id, tenant.c.name)
        .join(tenant, tenant.c.id == project.c.tenant_id)
        .where((project.c.name == name_or_id) | (project.c.id == name_or_id))
    )
    if within is not None:
        query = query.where(project.c.tenant_id.in_(within))
    rows = connection.execute(query).all()
    if not rows:
        raise NotFound(
            f"There is no project {name_or_id[:100]!r}: the list of projects says which there are."
        )
    if len(rows) > 1:
        owners = ", ".join(sorted(row.name for row in rows)[:10])
        raise StoreError(
            f"Several tenants have a project {name_or_id[:100]!r} ({owners}): give the tenant too."
        )
    return str(rows[0].id)

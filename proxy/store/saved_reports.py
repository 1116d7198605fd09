"""Saved reports: questions that are asked again, by name, about a span that goes with the time.

One belongs to a tenant and is about that tenant only, or to the installation. It holds a `CostQuery` without
its times; which ones are meant, `last-month` say, is found when it is run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine, Row, Select, delete, func, insert, select, update

from proxy.core.spans import parse_span
from proxy.ids import new_id
from proxy.store import Conflict, NotFound, StoreError
from proxy.store.audit import Act
from proxy.store.changes import lock
from proxy.store.filters import Filters, conditions, line_conditions
from proxy.store.groups import check_groups
from proxy.store.instants import parse_zone
from proxy.store.pages import EVERYTHING, Page, Within, is_within
from proxy.store.reports import CostQuery, Report, run
from proxy.store.schema import end_user, saved_report, schedule, tenant
from proxy.store.tenants import active_tenant, checked_name, find_tenant

REPORTS_MAX = 200  # of one tenant, and of the installation
FILTERS = (
    "project",
    "key",
    "model",
    "end_user",
    "tag",
    "kind",
    "status",
    "meter",
    "modality",
    "unrated",
    "estimated",
)


@dataclass(frozen=True, slots=True)
class SavedReport:
    """A question by its name. Without a tenant it is about all of them."""

    id: str
    tenant_id: str | None
    tenant: str | None
    name: str
    query: Mapping[str, Any]
    span: str
    created_at: datetime
    changed_at: datetime

    def cost_query(self) -> CostQuery:
        """Return what is asked, without its times; raises StoreError where this version cannot read it."""
        try:
            filters = Filters(**self.query["filters"], tenant=self.tenant_id)
            groups, count = tuple(self.query["group_by"]), bool(self.query["count_sessions"])
            return CostQuery(groups, filters, parse_zone(self.query["zone"]), count)
        except (KeyError, TypeError):
            raise StoreError(
                f"Saved report {self.name!r} cannot be read by this version: save it again."
            ) from None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A report to be saved: what it is called, what it asks, about which span."""

    name: str
    query: CostQuery
    span: str


def save_report(
    connection: Connection, wanted: Wanted, act: Act, *, tenant: str | None = None, only_new: bool = False
) -> SavedReport:
    """Save a report, in the place of the one that this tenant, or the installation, has of this name.

    Raises:
        StoreError: no such tenant, a name, a query or a span that cannot be used, too many of them, or it is
            there already and `only_new` was asked for.
    """
    lock(connection)  # or two at once would both make one
    owner = None if tenant is None else active_tenant(connection, tenant)
    owner_id = owner.id if owner else None
    row = _row(connection, wanted, owner_id)
    old = _named(connection, owner_id, row["name"])
    if old is not None:
        if only_new:
            raise Conflict(f"There is a saved report {old.name!r} already: change {old.id}.")
        return _changed(connection, old, row, act)
    own = saved_report.c.tenant_id.is_not_distinct_from(owner_id)
    if connection.execute(select(func.count()).where(own)).scalar_one() >= REPORTS_MAX:
        whose = "A tenant" if owner else "An installation"
        raise Conflict(f"{whose} has at most {REPORTS_MAX} saved reports: forget one first.")
    row |= {"id": new_id("rep"), "tenant_id": owner_id, "created_at": act.at, "changed_at": act.at}
    connection.execute(insert(saved_report).values(row))
    made = find_report(connection, row["id"])
    act.note(connection, "report.save", made.id, tenant_id=owner_id, after=noted(made))
    return made


def change_report(connection: Connection, report_id: str, wanted: Wanted, act: Act) -> SavedReport:
    """Put another question, another name or another span in the place of a saved report's.

    Raises:
        StoreError: there is no such report, its new name is taken, or as `save_report`.
    """
    lock(connection)
    old = find_report(connection, report_id)
    row = _row(connection, wanted, old.tenant_id)
    taken = _named(connection, old.tenant_id, row["name"])
    if taken is not None and taken.id != old.id:
        raise Conflict(f"There is a saved report {taken.name!r} already ({taken.id}).")
    return _changed(connection, old, row, act)


def rename_report(connection: Connection, report_id: str, name: str, act: Act) -> SavedReport:
    """Give a saved report another name; raises as `change_report` does."""
    old = find_report(connection, report_id)
    return change_report(connection, old.id, Wanted(name, old.cost_query(), old.span), act)


def forget_report(connection: Connection, report_id: str, act: Act) -> SavedReport:
    """Delete a saved report. What it was stands in the audit log.

    Raises:
        StoreError: there is no such report, or a schedule sends it.
    """
    lock(connection)
    old = find_report(connection, report_id)
    sent = connection.execute(select(schedule.c.name).where(schedule.c.report_id == old.id)).first()
    if sent is not None:
        raise Conflict(f"The schedule {sent.name!r} sends this report: remove that first.")
    connection.execute(delete(saved_report).where(saved_report.c.id == old.id))
    act.note(connection, "report.forget", old.id, tenant_id=old.tenant_id, before=noted(old))
    return old


def list_reports(
    connection: Connection, tenant_name: str | None = None, page: Page = EVERYTHING
) -> list[SavedReport]:
    """Return saved reports, of one tenant or of all: in the order of their names, or a page of them by id."""
    query = _reports()
    if tenant_name is not None:
        query = query.where(saved_report.c.tenant_id == find_tenant(connection, tenant_name, page.within).id)
    rows = connection.execute(page.of(query, saved_report.c.id, tenant_id=saved_report.c.tenant_id))
    found = [_report(row) for row in rows]
    return sorted(found, key=lambda one: (one.tenant or "", one.name)) if page.is_everything else found


def find_report(
    connection: Connection, name_or_id: str, tenant_name: str | None = None, within: Within = None
) -> SavedReport:
    """Return the report of this id or name, of that tenant if one is given.

    Raises:
        StoreError: there is none, it is of no tenant `within`, or several are called so.
    """
    query = _reports().where((saved_report.c.id == name_or_id) | (saved_report.c.name == name_or_id))
    if tenant_name is not None:
        query = query.where(saved_report.c.tenant_id == find_tenant(connection, tenant_name, within).id)
    found = [_report(row) for row in connection.execute(query) if is_within(row.tenant_id, within)]
    by_id = [one for one in found if one.id == name_or_id]
    if not found:
        raise NotFound(
            f"There is no saved report {name_or_id[:100]!r}: the list of saved reports says which there are."
        )
    if len(found) > 1 and not by_id:
        owners = ", ".join(sorted(one.tenant or "the installation" for one in found)[:10])
        raise StoreError(f"Several saved reports are called {name_or_id[:100]!r} ({owners}): give the id.")
    return (by_id or found)[0]


def run_saved(
    engine: Engine, report: SavedReport, now: datetime, *, is_billed: bool, within: Within = None
) -> Report:
    """Answer a saved report about the span that it means at `now`; raises as `reports.run` does."""
    query = report.cost_query()
    span = parse_span(report.span).at(now, query.zone)
    filters = replace(query.filters, start=span.start, end=span.end, within=within)
    return run(engine, replace(query, filters=filters, is_billed=is_billed))


def noted(report: SavedReport) -> dict[str, Any]:
    """Return what the audit log says of a saved report."""
    return {"name": report.name, "span": report.span, **report.query}


def _changed(connection: Connection, old: SavedReport, row: Mapping[str, Any], act: Act) -> SavedReport:
    if row == {"name": old.name, "query": old.query, "span": old.span}:
        return old
    own = saved_report.c.id == old.id
    connection.execute(update(saved_report).where(own).values(**row, changed_at=act.at))
    made = find_report(connection, old.id)
    before, after = noted(old), noted(made)
    act.note(connection, "report.save", made.id, tenant_id=made.tenant_id, before=before, after=after)
    return made


def _row(connection: Connection, wanted: Wanted, tenant_id: str | None) -> dict[str, Any]:
    try:
        parse_span(wanted.span)
    except ValueError as problem:
        raise StoreError(f"{problem}.") from None
    query = _checked(connection, wanted.query, tenant_id)
    return {"name": checked_name(wanted.name), "query": query, "span": wanted.span}


def _checked(connection: Connection, query: CostQuery, tenant_id: str | None) -> dict[str, Any]:
    """Return a query as it is kept. An end user by the id, since a name can be erased."""
    given = {name: getattr(query.filters, name) for name in Filters.__slots__}
    kept = {name: value for name, value in given.items() if value not in (None, False) and name in FILTERS}
    if query.filters.end_user is not None:
        kept["end_user"] = _user_id(connection, query.filters.end_user, tenant_id)
    filters = Filters(**kept, tenant=tenant_id)
    if replace(query.filters, tenant=tenant_id, end_user=filters.end_user) != filters:
        raise StoreError("A saved report has a span in the place of times, sessions and accounting months.")
    check_groups(query.group_by)
    conditions(connection, filters)
    line_conditions(filters)
    assert isinstance(query.zone, ZoneInfo), "a zone with a name"
    return {
        "group_by": list(query.group_by),
        "filters": kept,
        "zone": query.zone.key,
        "count_sessions": query.count_sessions,
    }


def _user_id(connection: Connection, name_or_id: str, tenant_id: str | None) -> str:
    query = select(end_user.c.id).where((end_user.c.name == name_or_id) | (end_user.c.id == name_or_id))
    if tenant_id is not None:
        query = query.where(end_user.c.tenant_id == tenant_id)
    ids = connection.execute(query.limit(2)).scalars().all()
    if not ids:
        raise NotFound("There is no such end user: only one who has spoken can be reported on.")
    if len(ids) > 1:
        raise StoreError("Several tenants have an end user of that name: save the report for one tenant.")
    return str(ids[0])


def _named(connection: Connection, tenant_id: str | None, name: str) -> SavedReport | None:
    own = saved_report.c.tenant_id.is_not_distinct_from(tenant_id) & (saved_report.c.name == name)
    row = connection.execute(_reports().where(own)).first()
    return _report(row) if row else None


def _reports() -> Select[Any]:
    names = tenant.c.name.label("tenant")
    return select(saved_report, names).join(tenant, tenant.c.id == saved_report.c.tenant_id, isouter=True)


def _report(row: Row[Any]) -> SavedReport:
    return SavedReport(**row._mapping)

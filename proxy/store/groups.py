"""What a report can be grouped by: the SQL to group with, and what its values are called."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from sqlalchemy import JSON, Column, ColumnElement, Connection, Text, cast, func, select, type_coerce

from proxy.store import StoreError
from proxy.store.calendar import DAY, HOUR, day_text, hour_text, local_micros, month_of, offset_of
from proxy.store.columns import EPOCH
from proxy.store.schema import api_key, end_user, ledger_entry, ledger_line, project, tenant

GROUPS_MAX = 6
TAG = "tag:"
METER = "meter"
TIMES = ("hour", "day", "month")
_PLAIN = {"model": "model", "kind": "kind", "status": "status", "session": "session_id"}
_NAMED = {
    "tenant": (ledger_entry.c.tenant_id, tenant),
    "project": (ledger_entry.c.project_id, project),
    "key": (ledger_entry.c.api_key_id, api_key),
    "end_user": (ledger_entry.c.end_user_id, end_user),
}
GROUPS = (*_NAMED, *_PLAIN, *TIMES, METER)
_IDS_PER_QUERY = 500

Shown = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Group:
    """One thing to group by. `show` turns the values of `columns` into the columns of a report."""

    name: str
    columns: Sequence[ColumnElement[Any]]
    show: Callable[[Connection, Sequence[Sequence[Any]]], list[Shown]]


def check_groups(names: Sequence[str]) -> None:
    """Raises StoreError: one of `names` is nothing to group by, or there are too many."""
    for name in names:
        if name not in GROUPS and not (name.startswith(TAG) and len(name) > len(TAG) and name.isprintable()):
            raise StoreError(f"{name[:60]!r} is nothing to group by: use {', '.join(GROUPS)} or tag:NAME.")
    if len(set(names)) < len(names) or len(names) > GROUPS_MAX:
        raise StoreError(f"Group by at most {GROUPS_MAX} things, each once.")


def make_groups(
    connection: Connection, names: Sequence[str], zone: tzinfo, wanted: Iterable[ColumnElement[bool]]
) -> list[Group]:
    """Return the groups of these names. Times are those of `zone`; `wanted` are the report's entries."""
    span = _span(connection, wanted) if set(TIMES) & set(names) else (EPOCH, EPOCH)
    return [_make(connection.dialect.name, name, zone, span) for name in names]


def _span(connection: Connection, wanted: Iterable[ColumnElement[bool]]) -> tuple[datetime, datetime]:
    """Return the first and last instant that any entry has."""
    at = ledger_entry.c.occurred_at
    first, last = connection.execute(select(func.min(at), func.max(at)).where(*wanted)).one()
    return (first, last) if first is not None else (EPOCH, EPOCH)


def _make(dialect: str, name: str, zone: tzinfo, span: tuple[datetime, datetime]) -> Group:
    if name in TIMES:
        return _time_group(dialect, name, zone, span)
    if name in _NAMED:
        return _named_group(name)
    if name == METER:
        return _plain_group(name, ledger_line.c.meter)
    if name in _PLAIN:
        return _plain_group(name, ledger_entry.c[_PLAIN[name]])
    return _plain_group(name, _tag(name.removeprefix(TAG), dialect))


def _plain_group(name: str, column: ColumnElement[Any]) -> Group:
    return Group(name, [column], lambda _connection, keys: [{name: key[0]} for key in keys])


def _tag(name: str, dialect: str) -> ColumnElement[Any]:
    tags = type_coerce(ledger_entry.c.tags, Text)
    if dialect == "sqlite":  # by exact key: a path could not express every name
        pairs = func.json_each(tags).table_valued("key", "value")
        return select(pairs.c.value).where(pairs.c.key == name).scalar_subquery()
    return func.json_extract_path_text(cast(tags, JSON), name)


def _time_group(dialect: str, name: str, zone: tzinfo, span: tuple[datetime, datetime]) -> Group:
    at = ledger_entry.c.occurred_at
    offset = offset_of(at, zone, *span)
    local = local_micros(at, offset)
    if name == "month":
        return _plain_group(name, month_of(local, dialect))
    if name == "day":
        return Group(name, [local // DAY], lambda _, keys: [{name: day_text(key[0])} for key in keys])
    return Group(name, [local // HOUR, offset], lambda _, keys: [{name: hour_text(*key)} for key in keys])


def _named_group(name: str) -> Group:
    """Group by id, since names need not be unique; show the name, and the id where it says more."""
    column, table = _NAMED[name]

    def show(connection: Connection, keys: Sequence[Sequence[Any]]) -> list[Shown]:
        ids = [key[0] for key in keys]
        names = _names(connection, table.c.id, table.c.name, {id for id in ids if id is not None})
        return [_shown(name, id, names.get(id)) for id in ids]

    return Group(name, [column], show)


def _shown(group: str, id: str | None, name: str | None) -> Shown:
    if group == "key":
        return {"key": id, "key_name": name}
    if group == "tenant":
        return {"tenant": name or id}
    return {group: name or id, f"{group}_id": id}


def _names(connection: Connection, id: Column[Any], name: Column[Any], ids: set[str]) -> dict[str, str]:
    """Return names by id. Not a join: what has lost its name must not lose its cost."""
    wanted = sorted(ids)
    names: dict[str, str] = {}
    for start in range(0, len(wanted), _IDS_PER_QUERY):
        query = select(id, name).where(id.in_(wanted[start : start + _IDS_PER_QUERY]))
        names |= {row[0]: row[1] for row in connection.execute(query)}
    return names

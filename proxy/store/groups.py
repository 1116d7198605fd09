"""What a report can be grouped by: the SQL to group with, and what its values are called."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Connection,
    Table,
    Text,
    case,
    cast,
    func,
    select,
    type_coerce,
)

from proxy.core.usage import MODALITIES, Modality
from proxy.store import StoreError
from proxy.store.calendar import (
    DAY,
    HOUR,
    day_text,
    hour_text,
    local_micros,
    month_of,
    offset_of,
    week_of,
    week_text,
)
from proxy.store.schema import api_key, end_user, ledger_entry, ledger_line, project, rollup_group, tenant

GROUPS_MAX = 6
TAG = "tag:"
TAG_CHARS_MAX = 100
METER = "meter"
MODALITY = "modality"
TIMES = ("hour", "day", "week", "month")
PERIOD = "period"
_PLAIN = {"model": "model", "kind": "kind", "status": "status", "session": "session_id"}
_NAMED = {
    "tenant": ("tenant_id", tenant),
    "project": ("project_id", project),
    "key": ("api_key_id", api_key),
    "end_user": ("end_user_id", end_user),
}
GROUPS = (*_NAMED, *_PLAIN, *TIMES, PERIOD, METER, MODALITY)
_IDS_PER_QUERY = 500

Shown = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Group:
    """One thing to group by. `show` turns the values of `columns` into the columns of a report."""

    name: str
    columns: Sequence[ColumnElement[Any]]
    show: Callable[[Connection, Sequence[Sequence[Any]]], list[Shown]]


@dataclass(frozen=True, slots=True)
class Source:
    """Where groups are read from: who and what, when, in which period, and of which meter and modality."""

    table: Table
    at: ColumnElement[Any]
    period: ColumnElement[Any]
    meter: ColumnElement[Any]
    modality: ColumnElement[Any]


def meters_of(modality: Modality) -> list[str]:
    """Return the meters that count content of this kind."""
    return [meter.value for meter, own in MODALITIES.items() if own is modality]


LINES = Source(
    ledger_entry,
    ledger_entry.c.occurred_at,
    ledger_entry.c.period,
    ledger_line.c.meter,
    case(*((ledger_line.c.meter.in_(meters_of(one)), one.value) for one in Modality)),
)


def cells(at: ColumnElement[Any], period: ColumnElement[Any]) -> Source:
    """Return the rollup whose cells begin at `at`, and are taken for those of a period."""
    return Source(rollup_group, at, period, rollup_group.c.meter, rollup_group.c.modality)


def month_in(
    dialect: str, at: ColumnElement[Any], zone: tzinfo, span: tuple[datetime, datetime]
) -> ColumnElement[str]:
    """Return the month in `zone`, such as 2026-11, of an instant that lies in `span`."""
    return month_of(local_micros(at, offset_of(at, zone, *span)), dialect)


def check_groups(names: Sequence[str]) -> None:
    """Raises StoreError: one of `names` is nothing to group by, or there are too many."""
    for name in names:
        if name not in GROUPS and not is_tag(name):
            raise StoreError(f"{name[:60]!r} is nothing to group by: use {', '.join(GROUPS)} or tag:NAME.")
    if len(set(names)) < len(names) or len(names) > GROUPS_MAX:
        raise StoreError(f"Group by at most {GROUPS_MAX} things, each once.")


def is_tag(name: str) -> bool:
    """Return whether a name means a tag to group by."""
    tag = name.removeprefix(TAG)
    return tag != name and 0 < len(tag) <= TAG_CHARS_MAX and tag.isprintable()


def titles_of(name: str) -> tuple[str, ...]:
    """Return the columns of a report that show a group of this name."""
    if name == "key":
        return ("key", "key_name")
    return (name, f"{name}_id") if name in _NAMED and name != "tenant" else (name,)


def make_groups(
    dialect: str, names: Sequence[str], zone: tzinfo, source: Source, span: tuple[datetime, datetime]
) -> list[Group]:
    """Return the groups of these names. Times are those of `zone`; all that is read lies in `span`."""
    return [_make(dialect, name, zone, source, span) for name in names]


def _make(dialect: str, name: str, zone: tzinfo, source: Source, span: tuple[datetime, datetime]) -> Group:
    if name in TIMES:
        return _time_group(dialect, name, zone, source.at, span)
    if name in _NAMED:
        return _named_group(name, source)
    if name == PERIOD:
        return _plain_group(name, source.period)
    if name == METER:
        return _plain_group(name, source.meter)
    if name == MODALITY:
        return _plain_group(name, source.modality)
    if name in _PLAIN:
        return _plain_group(name, source.table.c[_PLAIN[name]])
    return _plain_group(name, tag_value(name.removeprefix(TAG), dialect))


def _plain_group(name: str, column: ColumnElement[Any]) -> Group:
    return Group(name, [column], lambda _connection, keys: [{name: key[0]} for key in keys])


def tag_value(
    name: str, dialect: str, tagged: ColumnElement[Any] = ledger_entry.c.tags
) -> ColumnElement[Any]:
    """Return the value of the tag `name` of an entry, or of what else is `tagged`; null where it has none."""
    tags = type_coerce(tagged, Text)
    if dialect == "sqlite":  # by exact key: a path could not express every name
        pairs = func.json_each(tags).table_valued("key", "value")
        return select(pairs.c.value).where(pairs.c.key == name).scalar_subquery()
    return func.json_extract_path_text(cast(tags, JSON), name)


def _time_group(
    dialect: str, name: str, zone: tzinfo, at: ColumnElement[Any], span: tuple[datetime, datetime]
) -> Group:
    offset = offset_of(at, zone, *span)
    local = local_micros(at, offset)
    match name:
        case "month":
            return _plain_group(name, month_of(local, dialect))
        case "week":
            return Group(name, [week_of(local)], lambda _, keys: [{name: week_text(key[0])} for key in keys])
        case "day":
            return Group(name, [local // DAY], lambda _, keys: [{name: day_text(key[0])} for key in keys])
    return Group(name, [local // HOUR, offset], lambda _, keys: [{name: hour_text(*key)} for key in keys])


def _named_group(name: str, source: Source) -> Group:
    """Group by id, since names need not be unique; show the name, and the id where it says more."""
    column, table = _NAMED[name]

    def show(connection: Connection, keys: Sequence[Sequence[Any]]) -> list[Shown]:
        ids = [key[0] for key in keys]
        names = _names(connection, table.c.id, table.c.name, {id for id in ids if id is not None})
        return [_shown(name, id, names.get(id)) for id in ids]

    return Group(name, [source.table.c[column]], show)


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

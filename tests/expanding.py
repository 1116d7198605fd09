"""What a migration takes away from code that is older than it: two looks at a database, compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, inspect


@dataclass(frozen=True)
class Shape:
    """One table, as far as statements can tell."""

    columns: Mapping[str, tuple[str, bool, bool]]  # type, may be null, has a default
    keys: frozenset[tuple[str, ...]]  # columns that are unique together: an upsert may name them
    rules: frozenset[str]  # what rows must fulfil: checks and foreign keys


Shapes = Mapping[str, Shape]


def shapes(connection: Connection) -> Shapes:
    """Return the tables of a database, but for Alembic's own."""
    looking = inspect(connection)
    return {
        name: Shape(
            {one["name"]: _column(one) for one in looking.get_columns(name)},
            _keys(looking, name),
            frozenset(
                [f"check {one['sqltext']}" for one in looking.get_check_constraints(name)]
                + [
                    f"{','.join(one['constrained_columns'])} refers to {one['referred_table']}"
                    for one in looking.get_foreign_keys(name)
                ]
            ),
        )
        for name in looking.get_table_names()
        if name != "alembic_version"
    }


def _column(one: Any) -> tuple[str, bool, bool]:
    return str(one["type"]), bool(one["nullable"]), one.get("default") is not None


def _keys(looking: Any, name: str) -> frozenset[tuple[str, ...]]:
    primary = looking.get_pk_constraint(name)["constrained_columns"]
    unique = [one["column_names"] for one in looking.get_unique_constraints(name)]
    indexes = [one["column_names"] for one in looking.get_indexes(name) if one["unique"]]
    return frozenset(tuple(one) for one in (primary, *unique, *indexes) if one)


def taken_away(before: Shapes, after: Shapes) -> list[str]:
    """Return what statements of before may no longer do, a line each; nothing if things were only added."""
    lost = [f"{name} is gone" for name in before if name not in after]
    for name, was in before.items():
        if name in after:
            lost += [f"{name}: {what}" for what in _lost(was, after[name])]
    return lost


def _lost(was: Shape, now: Shape) -> Sequence[str]:
    found = [f"{column} is gone" for column in was.columns if column not in now.columns]
    for column, (kind, may_be_null, has_default) in now.columns.items():
        if column not in was.columns:
            if not (may_be_null or has_default):
                found.append(f"{column} is new, and has to be given")
            continue
        old_kind, could_be_null, had_default = was.columns[column]
        if kind != old_kind:
            found.append(f"{column} is {kind}, and was {old_kind}")
        if could_be_null and not may_be_null:
            found.append(f"{column} may no longer be null")
        if had_default and not has_default:
            found.append(f"{column} has no default any more")
    found += [f"{', '.join(key)} is no longer unique" for key in sorted(was.keys - now.keys)]
    found += [f"{', '.join(key)} has to be unique" for key in sorted(now.keys - was.keys)]
    return found + [f"{rule}: a new rule" for rule in sorted(now.rules - was.rules)]

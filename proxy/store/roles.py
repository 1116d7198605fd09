"""What PostgreSQL lets the role do that `serve` and the command line connect as.

It owns nothing: an owner could switch off what protects the ledger. What is booked, stated, compared, priced
or audited it may read and add to; archives it may only read. Everything else, such as counters, leases and
what is live, it may change as well.
"""

from sqlalchemy import Connection, Table, column, func, select, table, text

from proxy.store import StoreError
from proxy.store.columns import metadata
from proxy.store.schema import (
    approval_decision,
    approval_request,
    audit,
    entry_conflict,
    ledger_archive,
    ledger_archive_block,
    ledger_archive_cell,
    ledger_block,
    ledger_entry,
    ledger_line,
    ledger_period,
    markup,
    rate_card,
    rate_price,
    reconciliation,
    reconciliation_day,
    reconciliation_row,
    schema_floor,
    statement,
    statement_line,
)

LEDGER = (ledger_entry, ledger_line, ledger_block, ledger_period, statement, statement_line)
APPROVALS = (approval_request, approval_decision)
RECONCILED = (reconciliation, reconciliation_day, reconciliation_row)
ARCHIVES = (ledger_archive, ledger_archive_block, ledger_archive_cell)  # only the owner makes one
_BOOKS = (*LEDGER, *APPROVALS, *RECONCILED, *ARCHIVES)
APPEND_ONLY = (*_BOOKS, entry_conflict, rate_card, rate_price, markup, audit)

_pg_class = table("pg_class", column("oid"), column("relname"), column("relowner"))
_pg_roles = table("pg_roles", column("rolname"))


def is_protected(connection: Connection) -> bool:
    """Return whether this connection's role can do no more to the ledger than read it and add to it.

    On SQLite nothing owns a table: whoever can write the file can do everything.
    """
    return not (
        connection.dialect.name == "postgresql" and _may_act_as_owner(connection, func.current_user())
    )


def grant(connection: Connection, role: str) -> None:
    """Give a role what `serve` and the command line need, and take from it what they do not.

    Raises:
        StoreError: there is no such role, or it owns the ledger anyway.
    """
    if connection.dialect.name != "postgresql":
        raise StoreError(
            "Roles are PostgreSQL's: an embedded database belongs to whoever can write its file."
        )
    known = connection.execute(select(_pg_roles.c.rolname).where(_pg_roles.c.rolname == role)).first()
    name = connection.dialect.identifier_preparer.quote(role)
    if known is None:
        raise StoreError(f"The server has no role {role!r}: CREATE ROLE {name} LOGIN PASSWORD '…' makes it.")
    if _may_act_as_owner(connection, role):
        raise StoreError(
            f"The role {role!r} is a superuser, or owns the tables: migrate as it, and serve as another."
        )
    for one in metadata.sorted_tables:
        connection.execute(text(f"REVOKE ALL ON {one.name} FROM {name}"))
        rights = _rights(one)
        connection.execute(text(f"GRANT {rights} ON {one.name} TO {name}"))
    connection.execute(text(f"GRANT SELECT ON alembic_version TO {name}"))
    connection.execute(text(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {_schema(connection)} TO {name}"))
    connection.execute(text(f"GRANT USAGE ON SCHEMA {_schema(connection)} TO {name}"))


def missing_rights(connection: Connection) -> list[str]:
    """Return what this connection's role may not do and would have to, such as "INSERT on ledger_entry"."""
    if connection.dialect.name != "postgresql":
        return []
    wanted = [(right, one.name) for one in metadata.sorted_tables for right in _rights(one).split(", ")]
    asked = select(*(func.has_table_privilege(name, right) for right, name in wanted))
    answers = connection.execute(asked).one()
    return [f"{right} on {name}" for (right, name), may in zip(wanted, answers, strict=True) if not may]


def _rights(one: Table) -> str:
    if one in ARCHIVES or one is schema_floor:
        return "SELECT"
    return "SELECT, INSERT" if one in APPEND_ONLY else "SELECT, INSERT, UPDATE, DELETE"


def _may_act_as_owner(connection: Connection, role: object) -> bool:
    """Return whether a role is the owner of a table of the ledger, or may become it, as a superuser may."""
    owned = select(_pg_class.c.relname).where(
        _pg_class.c.oid.in_([func.to_regclass(one.name) for one in LEDGER]),
        func.pg_has_role(role, _pg_class.c.relowner, "MEMBER"),
    )
    return connection.execute(owned.limit(1)).first() is not None


def _schema(connection: Connection) -> str:
    schema = connection.execute(select(func.current_schema())).scalar_one()
    return connection.dialect.identifier_preparer.quote(schema)

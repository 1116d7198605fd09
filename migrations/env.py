"""Alembic's entry point. `proxy.store.database.migrate` passes the connection, in a transaction.

`alembic revision --autogenerate` works too, against `TALKMETER_DATABASE_URL`.
"""

import os

from alembic import context
from sqlalchemy import Connection

from proxy.store import schema  # noqa: F401  which declares the tables
from proxy.store.columns import metadata
from proxy.store.database import open_database


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        transactional_ddl=True,  # SQLite can, and a half-made schema must never be seen
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with open_database(os.environ["TALKMETER_DATABASE_URL"]).begin() as connection:
        run(connection)

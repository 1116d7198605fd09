"""Copies of a database: given back, they are what they were, or they are dropped."""

from collections.abc import Iterator

import pytest
from sqlalchemy import URL

from tests.postgres import APP_ROLE, Copies, Server, as_app, connect


@pytest.fixture
def copies(postgres_server: Server) -> Iterator[Copies]:
    template = postgres_server.create()
    with connect(template) as connection:
        connection.execute(f"""
            CREATE TABLE parent (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text);
            CREATE TABLE child (parent_id bigint REFERENCES parent);
            INSERT INTO parent (name) VALUES ('kept');
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
            CREATE TRIGGER refused BEFORE DELETE ON parent EXECUTE FUNCTION refuse();
            GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO {APP_ROLE};
        """)
    copies = Copies(postgres_server, template)
    yield copies
    copies.drop()
    postgres_server.drop(template)


def rows(url: URL) -> list[tuple[int, str]]:
    with connect(url) as connection:
        return connection.execute("SELECT * FROM parent ORDER BY id").fetchall()


def test_one_that_is_given_back_is_taken_again_as_it_was(copies: Copies) -> None:
    url = copies.take()
    with connect(as_app(url)) as connection:
        connection.execute("INSERT INTO parent (name) VALUES ('new')")
        connection.execute("INSERT INTO child VALUES (2)")
        copies.give_back(url)  # whoever is still connected is cut off
    assert copies.take() == url
    assert rows(url) == [(1, "kept")]
    with connect(url) as connection:
        connection.execute("INSERT INTO parent (name) VALUES ('next')")
    assert rows(url) == [(1, "kept"), (2, "next")]
    copies.give_back(url)


@pytest.mark.parametrize(
    "change",
    [
        "DROP TRIGGER refused ON parent",
        "ALTER TABLE parent DISABLE TRIGGER refused",
        "ALTER TABLE child ADD COLUMN more text",
        "CREATE TABLE another ()",
        f"REVOKE SELECT ON parent FROM {APP_ROLE}",
        "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    ],
)
def test_one_that_is_made_otherwise_is_dropped(copies: Copies, change: str) -> None:
    url = copies.take()
    with connect(url) as connection:
        connection.execute(change)
    copies.give_back(url)
    other = copies.take()
    assert other != url and rows(other) == [(1, "kept")]
    copies.give_back(other)

"""Filters: what they mean, and what they say about names that do not exist."""

import pytest
from sqlalchemy import Engine

from proxy.core.records import Kind
from proxy.core.usage import Meter
from proxy.store import StoreError
from proxy.store.database import reading
from proxy.store.filters import EVERYTHING, Filters, conditions
from proxy.store.ledger import entries
from tests.ledgers import MODEL, NOW, Books


@pytest.fixture
def books(database: Engine) -> Books:
    books = Books(database)
    books.open("s1", "acme", "web")
    books.open("s2", "globex", "web")
    books.bill("s1", "r1", {Meter.TEXT_IN: 1})
    books.bill("s1", "r2", model="unheard-of", counts={Meter.TEXT_IN: 1}, at=NOW.replace(hour=13))
    books.bill("s2", "r3", {Meter.TEXT_IN: 1}, kind=Kind.TRANSCRIPTION)
    return books


def subjects(books: Books, filters: Filters) -> list[str]:
    return [entry.subject_id for entry in entries(books.engine, filters)]


def test_filters_narrow_what_is_meant(books: Books) -> None:
    key = books.key("globex", "web")
    assert subjects(books, EVERYTHING) == ["r1", "r2", "r3"]
    assert subjects(books, Filters(tenant="acme")) == ["r1", "r2"]
    assert subjects(books, Filters(tenant=key.tenant_id)) == ["r3"]
    assert subjects(books, Filters(tenant="acme", project="web")) == ["r1", "r2"]
    assert subjects(books, Filters(project=str(key.project_id))) == ["r3"]
    assert subjects(books, Filters(key=key.id)) == ["r3"]
    assert subjects(books, Filters(model=MODEL)) == ["r1", "r3"]
    assert subjects(books, Filters(session="s1")) == ["r1", "r2"]
    assert subjects(books, Filters(kind="transcription")) == ["r3"]
    assert subjects(books, Filters(unrated=True)) == ["r2"]


def test_the_start_is_inside_and_the_end_is_not(books: Books) -> None:
    later = NOW.replace(hour=13)
    assert subjects(books, Filters(start=NOW, end=later)) == ["r1", "r3"]
    assert subjects(books, Filters(start=later)) == ["r2"]
    assert subjects(books, Filters(end=NOW)) == []


@pytest.mark.parametrize(
    ("filters", "problem"),
    [
        (Filters(tenant="nobody"), "no tenant 'nobody'"),
        (Filters(project="none"), "no project 'none'"),
        (Filters(project="web"), r"Several tenants have a project 'web' \(acme, globex\)"),
    ],
)
def test_names_that_mean_nothing_or_too_much_are_told(books: Books, filters: Filters, problem: str) -> None:
    with reading(books.engine) as connection, pytest.raises(StoreError, match=problem):
        conditions(connection, filters)

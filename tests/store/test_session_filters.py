"""Which sessions are meant: every filter, what is refused, and what an index answers."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine, delete, text

from proxy.core.usage import Meter
from proxy.store import NotFound, StoreError
from proxy.store.database import reading, writing
from proxy.store.live import Live, publish
from proxy.store.pages import Page
from proxy.store.schema import session
from proxy.store.session_filters import SEARCH_DAYS_MAX, SessionFilters, State
from proxy.store.sessions import list_sessions, page_of_sessions
from tests.ledgers import NOW, Books

DAY = timedelta(days=1)


@pytest.fixture
def books(database: Engine) -> Books:
    """Three sessions, a day apart; the first has ended, the second is live, the third is lost."""
    books = Books(database)
    books.open("ses_1", "acme", "web", end_user="zoë", tags={"team": "a"}, at=NOW - 3 * DAY)
    books.bill("ses_1", "r1", {Meter.TEXT_IN: 10})
    books.close("ses_1", at=NOW - 2 * DAY)
    books.open("ses_20", "acme", end_user="bob", tags={"team": "b"}, at=NOW - 2 * DAY)
    books.open("ses_21", "globex", "web", end_user="zoë", at=NOW - DAY)
    publish(database, "i1", [Live("ses_20", 0, 0)], NOW)
    return books


def ids(books: Books, **filters: object) -> list[str]:
    asked = SessionFilters(**filters)  # type: ignore[arg-type]
    return [one.id for one in list_sessions(books.engine, NOW, asked)]


def test_each_filter_narrows_the_list(books: Books) -> None:
    key = books.key("acme", "web")
    assert ids(books) == ["ses_21", "ses_20", "ses_1"]
    assert ids(books, tenant="acme") == ["ses_20", "ses_1"]
    assert ids(books, tenant=key.tenant_id, project="web") == ["ses_1"]
    assert ids(books, project=key.project_id) == ["ses_1"]
    assert ids(books, key=key.id) == ["ses_1"]
    assert ids(books, end_user="zoë") == ["ses_21", "ses_1"]
    assert ids(books, end_user="zoë", tenant="globex") == ["ses_21"]
    assert ids(books, tag="team=b") == ["ses_20"]
    assert ids(books, reason="client_closed") == ["ses_1"]
    assert ids(books, model="unheard-of") == []
    assert ids(books, id="ses_2") == ["ses_21", "ses_20"]
    assert ids(books, id="ses_20") == ["ses_20"]
    assert ids(books, id="ses%") == [], "nothing stands for anything"
    assert [ids(books, state=one) for one in State] == [["ses_20"], ["ses_1"], ["ses_21"]]


def test_the_start_is_inside_and_the_end_is_not(books: Books) -> None:
    assert ids(books, start=NOW - 2 * DAY, end=NOW - DAY) == ["ses_20"]
    with pytest.raises(StoreError, match="ends before it begins"):
        ids(books, start=NOW, end=NOW)


def test_an_erased_user_is_meant_by_the_id(books: Books) -> None:
    (found,) = list_sessions(books.engine, NOW, SessionFilters(id="ses_20"))
    with writing(books.engine) as connection:
        user = connection.execute(text("SELECT id FROM end_user WHERE name = 'bob'")).scalar_one()
        connection.execute(text("DELETE FROM end_user WHERE name = 'bob'"))
    assert (found.end_user, ids(books, end_user=user), ids(books, end_user="bob")) == ("bob", ["ses_20"], [])


def test_names_of_other_tenants_are_not_there(books: Books) -> None:
    within = frozenset({books.key("acme").tenant_id})
    page = Page(within=within, newest_first=True)
    with reading(books.engine) as connection:
        found = page_of_sessions(connection, NOW, page, SessionFilters(end_user="zoë"))
        assert [one.id for one in found] == ["ses_1"]
        with pytest.raises(NotFound, match="no tenant 'globex'"):
            page_of_sessions(connection, NOW, page, SessionFilters(tenant="globex"))


def test_a_page_of_several_tenants_is_in_order(books: Books) -> None:
    within = frozenset({books.key("acme").tenant_id, books.key("globex", "web").tenant_id})
    with reading(books.engine) as connection:
        first = page_of_sessions(connection, NOW, Page(within, limit=2, newest_first=True))
        behind = (first[-1].opened_at, first[-1].id)
        rest = page_of_sessions(connection, NOW, Page(within, after=behind, limit=2, newest_first=True))
    assert [[one.id for one in page] for page in (first, rest)] == [["ses_21", "ses_20"], ["ses_1"]]


def test_what_no_index_knows_is_looked_for_in_some_days(books: Books) -> None:
    books.open("ses_0", "acme", at=NOW - timedelta(days=SEARCH_DAYS_MAX + 1))
    with pytest.raises(StoreError, match=r"\(tag, id\).* in at most 100 days, and here are 101"):
        ids(books, tag="team=a", id="ses_")
    assert ids(books, tag="team=a", start=NOW - timedelta(days=SEARCH_DAYS_MAX)) == ["ses_1"]
    assert ids(books, id="ses_0") == ["ses_0"], "a whole id is found whenever it was"
    assert ids(books, tenant="acme") == ["ses_20", "ses_1", "ses_0"], "an index knows that"
    with pytest.raises(StoreError, match="NAME=VALUE"):
        ids(books, tag="team", start=NOW - DAY)
    with writing(books.engine) as connection:
        connection.execute(delete(session))
    assert ids(books, tag="team=a") == [], "nothing is no time"

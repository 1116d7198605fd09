"""Markups: set from an instant on, never edited, found again as the data plane reads them."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine

from proxy.core.rating import Markup
from proxy.store import StoreError
from proxy.store.audit import list_audit
from proxy.store.changes import current
from proxy.store.database import reading, writing
from proxy.store.markups import MarkupRow, list_markups, load_markups, set_markup
from proxy.store.tenants import create_tenant
from tests.ledgers import ACT, NOW


def put(database: Engine, tenant: str | None, points: int, days: int = 0) -> MarkupRow:
    with writing(database) as connection:
        return set_markup(connection, tenant, points, NOW + timedelta(days), ACT)


@pytest.fixture
def acme(database: Engine) -> str:
    with writing(database) as connection:
        return create_tenant(connection, "acme", ACT).id


def test_those_of_all_tenants_come_first_then_by_tenant_and_instant(database: Engine, acme: str) -> None:
    with reading(database) as connection:
        before = current(connection)
    put(database, "acme", -250, days=1)
    put(database, acme, 1_500)
    put(database, None, 1_000)
    with reading(database) as connection:
        found = list_markups(connection)
        assert current(connection) == before + 3  # live instances hear of it
        assert {*load_markups(connection)} == {
            Markup(None, NOW, 1_000),
            Markup(acme, NOW, 1_500),
            Markup(acme, NOW + timedelta(1), -250),
        }
        noted = list_audit(connection)[-1]
    assert [(one.tenant, one.percent) for one in found] == [(None, "10%"), ("acme", "15%"), ("acme", "-2.5%")]
    assert (noted.action, noted.after) == (
        "markup.set",
        {"basis_points": 1_000, "effective_from": "2026-11-23T12:00:00Z"},
    )


def test_the_same_again_changes_nothing_and_another_one_is_refused(database: Engine, acme: str) -> None:
    made = put(database, "acme", 1_500)
    assert put(database, "acme", 1_500) == made
    with pytest.raises(StoreError, match="none is ever edited: give this one a later instant"):
        put(database, "acme", 1_400)
    put(database, None, 1_400)
    with pytest.raises(StoreError, match="Another markup starts at 2026-11-23T12:00:00Z"):
        put(database, None, 0)
    with reading(database) as connection:
        assert len(list_markups(connection)) == 2


@pytest.mark.parametrize(("tenant", "points"), [("nobody", 1), (None, -10_001), (None, 1_000_001)])
def test_what_cannot_be_is_refused(database: Engine, tenant: str | None, points: int) -> None:
    with pytest.raises(
        StoreError, match=r"no tenant 'nobody'|between -100% \(nothing is billed\) and 10000%"
    ):
        put(database, tenant, points)

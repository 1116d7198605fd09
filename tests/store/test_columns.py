"""Column types: instants to the microsecond, text and JSON that both databases keep alike."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, insert, select

from proxy.store.columns import from_micros, storable, to_micros
from proxy.store.database import reading, writing
from proxy.store.schema import api_key, tenant

CET = timezone(timedelta(hours=1))


@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)))
def test_instants_survive_to_the_microsecond(at: datetime) -> None:
    assert from_micros(to_micros(at)) == at


def test_an_instant_without_a_zone_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="without a time zone"):
        to_micros(datetime(2026, 1, 1))


@given(st.text(alphabet=st.characters(exclude_categories=[]), max_size=20))
def test_what_is_storable_can_be_encoded_and_holds_no_nul(text: str) -> None:
    kept = storable(text)
    assert "\0" not in kept.encode().decode()
    assert len(kept) == len(text)
    assert storable(kept) == kept


def test_names_that_peers_chose_are_kept_alike(database: Engine) -> None:
    hostile = "a\0b\ud800c 'x' \N{SNOWMAN}\U0001f600\n"
    at = datetime(2026, 10, 25, 2, 30, 0, 123456, tzinfo=CET)
    with writing(database) as connection:
        connection.execute(insert(tenant).values(id="t1", name=hostile, created_at=at))
        connection.execute(
            insert(api_key).values(
                id="k1",
                tenant_id="t1",
                name="",
                secret_hmac="x",
                prefix="tm_",
                tags={"b\0": "\ud800", "a": ["x\0", 1, None]},
                created_at=at,
            )
        )
    with reading(database) as connection:
        row = connection.execute(select(tenant)).one()
        tags = connection.execute(select(api_key.c.tags)).scalar_one()
    assert row.name == "a\ufffdb\ufffdc 'x' \N{SNOWMAN}\U0001f600\n"
    assert row.created_at == at and row.created_at.tzinfo is UTC
    assert row.archived_at is None
    assert tags == {"b\ufffd": "\ufffd", "a": ["x\ufffd", 1, None]}

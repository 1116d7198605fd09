"""Rotating keys: two that work for a while, and what the new one has of the old one's."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, func, select

from proxy.core.budgets import Budget, OnExhausted, OnStoreDown, Scope
from proxy.core.identity import Principal
from proxy.core.limits import LimitName
from proxy.core.money import NANOUSD_PER_USD
from proxy.core.refusal import KEY_EXPIRED, Refusal
from proxy.core.windows import Window
from proxy.store import StoreError
from proxy.store.audit import Act, list_audit
from proxy.store.budget_list import list_budgets
from proxy.store.budgets import Terms, delete_budget, raise_budget, set_budget
from proxy.store.catalog import Catalog
from proxy.store.database import reading, writing
from proxy.store.key_rotation import OVERLAP_MAX, rotate_key
from proxy.store.limits import list_limits, list_models, set_limit, set_model
from proxy.store.schema import api_key, key_rotation
from proxy.store.tenants import (
    Key,
    archive_project,
    create_key,
    create_tenant,
    find_key,
    list_keys,
    revoke_key,
)
from tests.ledgers import PEPPER

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ACT = Act("test", NOW, "leaked")


def make(connection: Connection, **more: Any) -> tuple[Key, str]:
    create_tenant(connection, "acme", ACT)
    given: dict[str, Any] = {"project_name": "web", "name": "shop", "tags": {"team": "a"}} | more
    return create_key(connection, PEPPER, tenant_name="acme", act=ACT, **given)


def rotate(connection: Connection, key_id: str, **more: Any) -> Any:
    given: dict[str, Any] = {"until": NOW + DAY, "act": ACT} | more
    return rotate_key(connection, PEPPER, key_id, **given)


def terms_of(rule: Budget) -> Terms:
    """Return all that there is to say about a budget besides its amount."""
    said = {one.name: getattr(rule, one.name) for one in fields(Terms)}
    return Terms(**said | {"zone": rule.zone.key})


async def test_both_work_until_the_overlap_ends(database: Engine) -> None:
    with writing(database) as connection:
        old, old_secret = make(connection)
        done, secret = rotate(connection, old.id)
    new = done.new
    assert (new.tenant_id, new.project, new.name, new.tags) == (old.tenant_id, "web", "shop", {"team": "a"})
    assert (new.expires_at, new.replaces, new.replaced_by) == (None, old.id, None)
    assert (done.old.expires_at, done.old.replaces, done.old.replaced_by) == (NOW + DAY, None, new.id)
    catalog = Catalog(database, PEPPER)
    catalog.start()
    try:
        for at, expected in ((NOW + DAY - timedelta(seconds=1), Principal), (NOW + DAY, Refusal)):
            assert isinstance(await catalog.authenticate(old_secret, at), expected)
            assert isinstance(await catalog.authenticate(secret, at), Principal)
        assert catalog.key_ok(old.id, NOW + DAY) == KEY_EXPIRED, "its live sessions end then"
    finally:
        catalog.stop()
    with reading(database) as connection:
        listed = {one.id: (one.replaces, one.replaced_by) for one in list_keys(connection)}
        made, rotated = list_audit(connection)[-2:]
    assert listed == {old.id: (None, new.id), new.id: (old.id, None)}
    assert (made.action, made.object, rotated.action, rotated.object) == (
        "key.create",
        new.id,
        "key.rotate",
        old.id,
    )
    assert (rotated.before, rotated.after, rotated.reason) == (
        {"expires_at": None},
        {"expires_at": "2026-11-27T12:00:00Z", "replaced_by": new.id},
        "leaked",
    )
    assert secret not in repr((made, rotated))


def test_a_key_of_so_many_days_is_followed_by_one_of_as_many(database: Engine) -> None:
    with writing(database) as connection:
        old, _ = make(connection, expires_at=NOW + 30 * DAY)
        later = Act("test", NOW + 29 * DAY + timedelta(hours=20))
        done, _ = rotate(connection, old.id, until=later.at + DAY, act=later)
        assert done.new.expires_at == later.at + 30 * DAY
        assert done.old.expires_at == NOW + 30 * DAY, "it is not made to live longer"
        again, _ = rotate(
            connection, done.new.id, until=later.at, act=later, expires_at=later.at + timedelta(hours=1)
        )
        assert (again.old.expires_at, again.new.expires_at) == (later.at, later.at + timedelta(hours=1))


def test_limits_rules_and_budgets_go_with_it(database: Engine) -> None:
    usd = NANOUSD_PER_USD
    with writing(database) as connection:
        old, _ = make(connection)
        set_limit(connection, "acme", LimitName.SESSIONS, 9, act=ACT)
        set_limit(connection, "acme", LimitName.SESSIONS, 3, act=ACT, key_id=old.id)
        set_model(connection, "acme", "gpt-realtime*", True, act=ACT, key_id=old.id)
        terms = Terms("Europe/Berlin", OnExhausted.BLOCK, OnStoreDown.CONTINUE, usd, (70,), (90, 120))
        budget: dict[str, Any] = {"scope": Scope.KEY, "name": old.id}
        month = set_budget(
            connection, ACT, **budget, window=Window.MONTH, amount_nanousd=50 * usd, terms=terms
        )
        gone = set_budget(connection, ACT, **budget, window=Window.DAY, amount_nanousd=5 * usd)
        delete_budget(connection, ACT, gone.rule.id)
        set_budget(connection, ACT, scope=Scope.TENANT, tenant="acme", window=Window.DAY, amount_nanousd=1)
        raise_budget(connection, ACT, month.rule.id, amount_nanousd=usd, starts_at=NOW, ends_at=NOW + 9 * DAY)
        done, _ = rotate(connection, old.id)
        limits = {(one.api_key_id, one.name.value, one.value) for one in list_limits(connection)}
        models = {(one.api_key_id, one.model, one.allowed) for one in list_models(connection)}
        budgets = {one.rule.id: one for one in list_budgets(connection, NOW)}
    new = done.new.id
    assert (done.limits, done.models) == (("sessions",), ("gpt-realtime*",))
    assert limits == {(None, "sessions", 9), (old.id, "sessions", 3), (new, "sessions", 3)}
    assert models == {(old.id, "gpt-realtime*", True), (new, "gpt-realtime*", True)}
    (made,) = done.budgets
    assert len(budgets) == 3 and month.rule.id in budgets
    rule = budgets[made].rule
    assert (rule.api_key_id, rule.window, rule.amount_nanousd) == (new, Window.MONTH, 50 * usd)
    assert terms_of(rule) == terms
    assert (budgets[made].spent_nanousd, budgets[made].raises) == (0, ())


def test_what_cannot_be_rotated(database: Engine) -> None:
    with writing(database) as connection:
        key, _ = make(connection)
        short, _ = create_key(
            connection, PEPPER, tenant_name="acme", act=ACT, expires_at=NOW + timedelta(seconds=1)
        )
        revoked, _ = create_key(connection, PEPPER, tenant_name="acme", act=ACT)
        revoke_key(connection, revoked.id, ACT)
    late = Act("test", NOW + timedelta(seconds=1))
    for key_id, text, more in (
        ("key_0", "There is no key 'key_0'", {}),
        (revoked.id, "is revoked: create another key instead", {}),
        (short.id, "has expired: create another key instead", {"act": late}),
        (key.id, "The old key works for 0 s to 90 days more", {"until": NOW - DAY}),
        (key.id, "The old key works for 0 s to 90 days more", {"until": NOW + OVERLAP_MAX + DAY}),
        (key.id, "would have expired already", {"expires_at": NOW}),
    ):
        with pytest.raises(StoreError, match=text), writing(database) as connection:
            rotate(connection, key_id, **more)
    with writing(database) as connection:
        done, _ = rotate(connection, key.id)
    with (
        pytest.raises(StoreError, match=f"was replaced by {done.new.id} already: rotate that one"),
        writing(database) as connection,
    ):
        rotate(connection, key.id)
    with writing(database) as connection:
        archive_project(connection, "acme", "web", ACT)
    with pytest.raises(StoreError, match="is archived"), writing(database) as connection:
        rotate(connection, done.new.id)
    with reading(database) as connection:
        assert connection.execute(select(func.count()).select_from(key_rotation)).scalar_one() == 1
        assert connection.execute(select(func.count()).select_from(api_key)).scalar_one() == 4
        assert find_key(connection, key.id).expires_at == NOW + DAY

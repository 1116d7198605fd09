"""The audit log: every act once, in its own transaction, and no secret in it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, insert, select

from proxy.core.budgets import Scope
from proxy.core.limits import LimitName
from proxy.core.rating import Price
from proxy.core.usage import Meter
from proxy.core.windows import Window
from proxy.store import StoreError, limits, tenants, webhooks
from proxy.store.audit import ACTOR_CHARS_MAX, REASON_CHARS_MAX, Act, Noted, list_audit, note
from proxy.store.budget_list import list_budgets
from proxy.store.budgets import delete_budget, raise_budget, set_budget
from proxy.store.card_files import NewCard
from proxy.store.database import reading, writing
from proxy.store.live import Live, publish, request_stop
from proxy.store.prices import import_cards, set_price
from proxy.store.schema import api_key, audit, session
from tests.store.made import opened

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PEPPER = b"a pepper for tests only"
ACT = Act("cli:ada@host", NOW, "because")


def noted(engine: Engine) -> list[Noted]:
    with reading(engine) as connection:
        return list_audit(connection)


def month_budget(connection: Connection, amount: int = 50) -> None:
    set_budget(connection, ACT, scope=Scope.TENANT, tenant="acme", window=Window.MONTH, amount_nanousd=amount)


def card_price(connection: Connection) -> None:
    set_price(
        connection,
        provider="openai",
        model="m",
        meter=Meter.AUDIO_IN,
        price=Price(7),
        effective_from=NOW + timedelta(days=1),
        act=ACT,
    )


def raised(connection: Connection) -> None:
    (one,) = list_budgets(connection, NOW)
    later = NOW + timedelta(days=1)
    raise_budget(connection, ACT, one.rule.id, amount_nanousd=5, starts_at=NOW, ends_at=later)


CARD = NewCard("openai", "m", NOW, "contract", {Meter.AUDIO_IN: Price(5)})


def delete_noted(connection: Connection) -> None:
    """Delete the budget that was set first, also when it is deleted already."""
    first = connection.execute(select(audit.c.object).where(audit.c.action == "budget.set")).scalars()
    delete_budget(connection, ACT, first.all()[0])


def hook(connection: Connection) -> None:
    webhooks.create_webhook(connection, url="https://example.com/h?token=canary", tenant_name="acme", act=ACT)


def hook_id(connection: Connection) -> str:
    return webhooks.list_webhooks(connection)[0].id


# Each act, and whether doing it again is an act too (None: it is refused).
STEPS: list[tuple[str, Callable[[Connection], object], bool | None]] = [
    ("tenant.create", lambda c: tenants.create_tenant(c, "acme", ACT), None),
    ("project.create", lambda c: tenants.create_project(c, "acme", "web", ACT), None),
    ("key.create", lambda c: tenants.create_key(c, PEPPER, tenant_name="acme", act=ACT), True),
    ("prices.import", lambda c: import_cards(c, [CARD], ACT), False),
    ("prices.set", card_price, False),
    ("budget.set", month_budget, False),
    ("budget.raise", raised, True),
    ("budget.delete", delete_noted, False),
    ("limit.set", lambda c: limits.set_limit(c, "acme", LimitName.RESPONSES, 7, act=ACT), False),
    ("limit.remove", lambda c: limits.remove_limit(c, "acme", LimitName.RESPONSES, act=ACT), None),
    ("model.allow", lambda c: limits.set_model(c, "acme", "gpt-*", True, act=ACT), False),
    ("model.deny", lambda c: limits.set_model(c, "acme", "gpt-*", False, act=ACT), False),
    ("model.remove", lambda c: limits.remove_model(c, "acme", "gpt-*", act=ACT), None),
    ("webhook.create", hook, True),
    ("webhook.rotate", lambda c: webhooks.rotate_secret(c, hook_id(c), ACT), True),
    ("webhook.delete", lambda c: webhooks.delete_webhook(c, hook_id(c), ACT), True),
    ("project.archive", lambda c: tenants.archive_project(c, "acme", "web", ACT), False),
    ("key.revoke", lambda c: tenants.revoke_key(c, tenants.list_keys(c)[0].id, ACT), False),
    ("tenant.archive", lambda c: tenants.archive_tenant(c, "acme", ACT), False),
]


def test_every_act_is_noted_once(database: Engine) -> None:
    expected: list[str] = []
    for action, step, again in STEPS:
        with writing(database) as connection:
            step(connection)
        expected.append(action)
        assert [one.action for one in noted(database)] == expected
        if again is None:
            with pytest.raises(StoreError), writing(database) as connection:
                step(connection)
        else:
            with writing(database) as connection:
                step(connection)
            expected += [action] * again
        assert [one.action for one in noted(database)] == expected
    for one in noted(database):
        assert (one.actor, one.at, one.reason) == ("cli:ada@host", NOW, "because")
        assert (one.tenant is None) == one.action.startswith("prices.")


def test_a_stop_is_noted_with_its_tenant(database: Engine) -> None:
    facts = opened("s1", tenant_id="t_1", opened_at=NOW)
    with writing(database) as connection:
        connection.execute(
            insert(session).values(
                id=facts.session_id,
                tenant_id=facts.tenant_id,
                api_key_id=facts.api_key_id,
                tags={},
                provider=facts.provider,
                instance_id="i1",
                opened_at=NOW,
            )
        )
    publish(database, "i1", [Live("s1", 0, 0), Live("s2", 0, 0)], NOW)
    request_stop(database, "s1", ACT)
    request_stop(database, "s1", ACT)  # it is being stopped already, and who else wanted it is noted
    request_stop(database, "s2", Act("cli:ada@host", NOW))  # not posted yet
    assert [(one.action, one.object, one.tenant_id, one.reason) for one in noted(database)] == [
        ("session.stop", "s1", "t_1", "because"),
        ("session.stop", "s1", "t_1", "because"),
        ("session.stop", "s2", None, None),
    ]
    first = noted(database)[0]
    assert first.before == {"state": "live", "model": None, "cost_nanousd": 0, "running_nanousd": 0}
    assert first.after == {"state": "stopping"}


def test_a_project_that_a_key_makes_is_noted_too(database: Engine) -> None:
    with writing(database) as connection:
        tenants.create_tenant(connection, "acme", ACT)
        tenants.create_key(connection, PEPPER, tenant_name="acme", project_name="web", act=ACT)
    assert [one.action for one in noted(database)] == ["tenant.create", "project.create", "key.create"]


def test_no_secret_is_noted(database: Engine) -> None:
    with writing(database) as connection:
        tenants.create_tenant(connection, "acme", ACT)
        made, secret = tenants.create_key(
            connection, PEPPER, tenant_name="acme", name="app", tags={"team": "a"}, act=ACT
        )
        hashed = connection.execute(select(api_key.c.secret_hmac)).scalar_one()
        tenants.revoke_key(connection, made.id, ACT)
        rows = str(connection.execute(select(audit)).all())
    for hidden in (secret, hashed, made.prefix, PEPPER.decode()):
        assert hidden not in rows
    said = {"name": "app", "project": None, "tags": {"team": "a"}, "expires_at": None}
    assert noted(database)[1].after == said == noted(database)[2].before


def test_of_a_webhook_neither_secret_nor_query_is_noted(database: Engine) -> None:
    with writing(database) as connection:
        tenants.create_tenant(connection, "acme", ACT)
        hook(connection)
        made = hook_id(connection)
        _, secret = webhooks.rotate_secret(connection, made, ACT)
        webhooks.delete_webhook(connection, made, ACT)
        rows = str(connection.execute(select(audit)).all())
    assert secret not in rows and "whsec_" not in rows and "canary" not in rows
    assert (noted(database)[-1].before or {})["url"] == "https://example.com/h"


def test_amounts_are_readable_and_exact(database: Engine) -> None:
    with writing(database) as connection:
        tenants.create_tenant(connection, "acme", ACT)
        month_budget(connection, 50_000_000_000)
        month_budget(connection, 60_000_000_001)
    changed = noted(database)[-1]
    assert changed.before is not None and changed.after is not None
    assert (changed.before["amount_nanousd"], changed.before["amount_usd"]) == (50 * 10**9, "50.000000000")
    assert (changed.after["amount_nanousd"], changed.after["amount_usd"]) == (60 * 10**9 + 1, "60.000000001")
    json.dumps([changed.before, changed.after])


def test_prices_are_noted_before_and_after(database: Engine) -> None:
    with writing(database) as connection:
        import_cards(connection, [CARD], ACT)
        card_price(connection)
    imported, changed = noted(database)
    assert imported.after == {"added": [CARD.name], "more": 0}
    per = {"price_per": 1, "per": "million"}
    assert changed.before == {"audio_in": {"price_nanousd": 5, "usd": "0.005", **per}}
    assert changed.after == {"audio_in": {"price_nanousd": 7, "usd": "0.007", **per}}


def test_what_is_rolled_back_is_not_noted(database: Engine) -> None:
    with pytest.raises(ZeroDivisionError), writing(database) as connection:
        tenants.create_tenant(connection, "acme", ACT)
        raise ZeroDivisionError
    assert noted(database) == []


@pytest.mark.parametrize("reason", ["x" * (REASON_CHARS_MAX + 1), "a\nb", "esc\x1b[31m"])
def test_a_reason_is_readable(database: Engine, reason: str) -> None:
    with pytest.raises(StoreError, match="printable"), writing(database) as connection:
        tenants.create_tenant(connection, "acme", Act("cli:ada@host", NOW, reason))


def test_an_actor_has_bounds(database: Engine) -> None:
    with writing(database) as connection:
        note(connection, at=NOW, actor="x" * 10_000, action="a", object="b")
    assert len(noted(database)[0].actor) == ACTOR_CHARS_MAX


def test_listing_filters(database: Engine) -> None:
    with writing(database) as connection:
        acme = tenants.create_tenant(connection, "acme", ACT)
        for hours in range(4):
            at = NOW + timedelta(hours=hours)
            note(connection, at=at, actor="a", action=str(hours), object="x", tenant_id=acme.id)
        note(connection, at=NOW, actor="a", action="other", object="x")

    def listed(**filters: object) -> list[str]:
        with reading(database) as connection:
            return [one.action for one in list_audit(connection, **filters)]  # type: ignore[arg-type]

    hour = timedelta(hours=1)
    assert listed(tenant_id=acme.id) == ["tenant.create", "0", "1", "2", "3"]
    assert listed(start=NOW + hour, end=NOW + 3 * hour) == ["1", "2"]
    assert listed(limit=2) == ["3", "other"]
    with reading(database) as connection:
        assert [one.tenant for one in list_audit(connection, limit=2)] == ["acme", None]

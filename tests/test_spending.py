"""What an app sees of its own spending."""

from pathlib import Path
from typing import Any

import aiohttp

from proxy import simulator
from proxy.app import App, running
from proxy.clock import utc_now
from proxy.core.budgets import Scope
from proxy.core.windows import Window
from proxy.store.audit import Act
from proxy.store.budgets import set_budget
from proxy.store.database import writing
from tests.apps import UPSTREAM_KEY, answer, call, make_key, settings_in
from tests.relay.peers import until

DOLLAR = 1_000_000_000


async def seen(app: App, secret: str, **headers: str) -> tuple[int, dict[str, Any]]:
    url = app.url.replace("/v1", "/talkmeter/v1/usage")
    async with aiohttp.ClientSession() as http:
        response = await http.get(url, headers={"Authorization": f"Bearer {secret}"} | headers)
        return response.status, await response.json()


def budget(app: App, scope: Scope, window: Window, amount: int | None, **owner: str) -> None:
    with writing(app.stores.engine) as connection:
        set_budget(
            connection,
            Act("test", utc_now(), "a test"),
            scope=scope,
            window=window,
            amount_nanousd=amount,
            **owner,  # type: ignore[arg-type]
        )


async def test_an_app_sees_what_its_tenant_has_spent_and_may_spend_and_nothing_of_others(
    tmp_path: Path,
) -> None:
    upstream = await simulator.serve(api_keys={UPSTREAM_KEY})
    async with running(settings_in(tmp_path, upstream.url)) as app:
        secret, stranger = make_key(app), make_key(app, "other")
        async with call(app.url, secret) as socket:
            await answer(socket)
        await until(lambda: not app.gateway.sessions)
        await app.poster.posted_up_to_now()
        budget(app, Scope.ORGANISATION, Window.DAY, 5 * DOLLAR)
        budget(app, Scope.TENANT, Window.LIFETIME, 2 * DOLLAR, tenant="acme")  # made after it was spent
        budget(app, Scope.TENANT, Window.SESSION, DOLLAR, tenant="acme")
        budget(app, Scope.EACH_USER, Window.DAY, DOLLAR, tenant="acme")
        budget(app, Scope.TENANT, Window.HOUR, None, tenant="other")
        await until(lambda: len(app.catalog.budgets.budgets) == 5)
        status, mine = await seen(app, secret)
        spent = mine["month"]["spent_nanousd"]
        assert (status, mine["tenant"], mine["month"]["entries"]) == (200, "acme", 1)
        assert spent > 0
        found = {(one["scope"], one["window"]): one for one in mine["budgets"]}
        assert found.keys() == {("tenant", "lifetime"), ("tenant", "session")}
        whole = found["tenant", "lifetime"]
        assert (whole["spent_nanousd"], whole["left_nanousd"]) == (spent, 2 * DOLLAR - spent)
        own = found["tenant", "session"]
        assert (own["amount_usd"], own["spent_usd"], own["left_usd"]) == ("1.000000000", None, None)
        _, bobs = await seen(app, secret, **{"Talkmeter-User": "bob"})
        assert [one["left_nanousd"] for one in bobs["budgets"] if one["scope"] == "each_user"] == [DOLLAR]
        _, theirs = await seen(app, stranger)
        assert theirs["month"]["spent_nanousd"] == 0
        assert [(one["window"], one["left_usd"]) for one in theirs["budgets"]] == [("hour", None)]
        assert (await seen(app, "tm_nobody"))[0] == 401
    await upstream.close()

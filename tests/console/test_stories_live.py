"""Stories in a browser: a budget is set and cuts what is watched; a conversation is stopped. All of it runs.

Both planes run as `talkmeter serve` has them, the control plane in a process of its own, before a simulated
voice API; the client is a plain WebSocket.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect
from pydantic import SecretStr

from proxy.app import running
from proxy.core.money import parse_usd
from proxy.store.database import open_database
from tests.admin.api.asking import ADMIN_TOKEN, Asking
from tests.console.stories import Person, person
from tests.e2e.place import Home, Place
from tests.e2e.test_budgets import ENDLESS, Told, ask
from tests.ledgers import PEPPER, Books
from tests.simulator.talk import Client

SPEED = 5.0  # of speech: a second of the story costs so many seconds of talking
AMOUNT = "0.08"
CUT_S = 60  # by when the budget has cut it, on a busy machine too
TICKS = 3  # different figures that a page has shown

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

# Notes each cost that the page shows of the one conversation on it. Loading the page again would lose them.
WATCH = """() => {
  window.ticks = [];
  const look = () => {
    const value = document.querySelector("#live-sessions tbody b data")?.value;
    if (value !== undefined && value !== window.ticks.at(-1)) window.ticks.push(value);
  };
  new MutationObserver(look).observe(
    document.querySelector("[data-live-region]"), {subtree: true, childList: true, attributes: true});
}"""


@dataclass(frozen=True)
class Installation:
    """A whole Talkmeter, and its API."""

    place: Place
    api: Asking
    secrets: dict[str, str]  # of a key, by its tenant

    @asynccontextmanager
    async def talking(self, tenant: str) -> AsyncIterator[Client]:
        """Yield a client of a conversation in which the model does not stop to speak."""
        headers = {"Authorization": f"Bearer {self.secrets[tenant]}"}
        async with self.place.connected(sim=ENDLESS, headers=headers) as client:
            await client.configure()
            await ask(client)
            yield client


async def make_key(api: Asking, tenant: str) -> str:
    """Return the secret of a new key of a new tenant."""
    await api.done("POST", "/tenants", {"name": tenant})
    return str((await api.done("POST", "/keys", {"tenant": tenant}))["secret"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def installation(
    tmp_path_factory: pytest.TempPathFactory, shared_sqlite_url: str
) -> AsyncIterator[Installation]:
    home = Home(tmp_path_factory.mktemp("installation"), shared_sqlite_url, secret="")
    engine = open_database(shared_sqlite_url)
    known = {"admin_token": SecretStr(ADMIN_TOKEN), "key_pepper": SecretStr(PEPPER.decode())}
    async with home.simulating(speed=SPEED) as simulator:
        settings = home.settings(upstream_url=simulator.url, **known)
        async with running(settings, child=True) as app, aiohttp.ClientSession() as http:
            api = Asking(app.admin_url, http, engine, Books(engine))
            secrets = {tenant: await make_key(api, tenant) for tenant in ("acme", "globex")}
            yield Installation(Place(home, app, simulator), api, secrets)
    engine.dispose()


async def ticks(who: Person) -> list[int]:
    """Return the costs that the page has shown one after the other."""
    shown: list[str] = await who.page.evaluate("window.ticks")
    return [parse_usd(one) for one in shown]


async def booked(api: Asking, tenant: str) -> list[dict[str, Any]]:
    return list((await api.done("GET", "/ledger", params={"tenant": tenant}))["data"])


@pytest.mark.usefixtures("patient")
async def test_a_budget_is_set_and_cuts_what_is_watched(
    shared_browser: Browser, installation: Installation, record_property: Told
) -> None:
    api = installation.api
    ann = await person(shared_browser, api, "ann@example.com")
    await ann.open("/tenants")
    await ann.follow(ann.link("acme"))
    ann.clicks = 0
    await ann.follow(ann.link("Budgets"))
    await ann.follow(ann.link("Set a budget").first)
    await expect(ann.page.get_by_label("Tenant")).to_have_value("acme")
    await expect(ann.page.get_by_label("Amount", exact=True)).to_be_focused()
    await ann.type(AMOUNT)
    await ann.follow(ann.button("Set it"))
    assert ann.clicks == 3, "from the page of a tenant to its budget"
    await ann.sees("Budget of acme")
    budget = ann.page.url.removeprefix(ann.url)

    await ann.go("Live")
    await ann.reads("Nobody is talking now")
    await ann.page.evaluate(WATCH)

    async def ticking() -> bool:
        return len(await ticks(ann)) >= TICKS

    async with asyncio.timeout(CUT_S), asyncio.TaskGroup() as group, installation.talking("acme") as client:
        ended = group.create_task(client.ended())
        await ann.wait_until(ticking)
        code, reason = await ended
    assert code == 1008 and reason.startswith("insufficient_quota: The month budget of this tenant is spent")
    assert client.of("error")[-1]["error"]["code"] == "insufficient_quota"
    await ann.reads("Nobody is talking now")
    shown = await ticks(ann)
    assert shown == sorted(shown) and len(shown) >= TICKS, "it grew, and the page was never loaded again"
    record_property("figure", f"a conversation of ${AMOUNT} was seen to cost {len(shown)} different amounts")

    await ann.until(ann.link("1 response was cut today by budgets"), "/")
    (entry,) = await booked(api, "acme")
    assert entry["status"] == "cancelled" and shown[-1] <= entry["cost_nanousd"]
    await ann.open(budget)
    (spent,) = (await api.done("GET", "/budgets", params={"tenant": "acme"}))["data"]
    assert spent["spent_nanousd"] == entry["cost_nanousd"]
    await expect(ann.main.locator(".budget-text data").first).to_have_attribute("value", spent["spent_usd"])
    assert ann.complaints == []


async def test_a_runaway_conversation_is_stopped_in_two_clicks(
    shared_browser: Browser, installation: Installation
) -> None:
    api = installation.api
    bob = await person(shared_browser, api, "bob@example.com")
    await bob.open("/live")
    async with asyncio.timeout(CUT_S), asyncio.TaskGroup() as group, installation.talking("globex") as client:
        ended = group.create_task(client.ended())
        row = bob.main.locator("#live-sessions tbody tr")
        await expect(row).to_contain_text("globex")
        session = (await row.get_attribute("id") or "").removeprefix("live-")
        bob.clicks = 0
        await bob.click(row.get_by_role("button", name="Stop"))
        await bob.type("talks to itself since ten")
        await bob.follow(bob.button("Stop it"))
        assert bob.clicks == 2
        code, reason = await ended
    assert code == 1008 and "talks to itself since ten" in reason
    await bob.sees("Live")
    await bob.reads("Nobody is talking now")

    await bob.go("Audit")
    act = bob.main.locator("#acts tbody tr").filter(has_text=session)
    await expect(act).to_contain_text("user:bob@example.com")
    await expect(act).to_contain_text("talks to itself since ten")
    await bob.follow(act.get_by_role("link", name=session))
    await bob.sees(f"Session {session}")
    await bob.reads("an administrator stopped it")
    assert bob.complaints == []

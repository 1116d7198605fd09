"""A story in a browser: signing in at the provider and with a password, out again, and where it leads."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from proxy.admin.config import Grant, OidcConfig
from proxy.clock import utc_now
from proxy.store.audit import Act
from proxy.store.database import writing
from proxy.store.local_admin import set_password
from tests.admin.api.asking import Asking, asking
from tests.console.identity_provider import CLIENT_ID, CLIENT_SECRET, real_provider
from tests.console.stories import Person, stranger

PASSWORD = "correct horse battery"
GRANTS = {"Platform": Grant("admin")}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("story")


@pytest.fixture(scope="module")
def issuer(folder: Path) -> Iterator[str]:
    """A provider at which ada is in a group that may do everything, and eve in none."""
    with real_provider(folder) as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(folder: Path, shared_sqlite_url: str, issuer: str) -> AsyncIterator[Asking]:
    """A control plane where one can sign in both ways."""
    async with aiohttp.ClientSession() as http:
        ada = {"email": "ada@example.com", "groups": ["Platform"]}
        async with http.put(f"{issuer}/users/ada", json=ada) as told:
            assert told.status == 204
    oidc = OidcConfig(issuer=issuer, client_id=CLIENT_ID, client_secret=CLIENT_SECRET, grants=GRANTS)
    async with asking(folder, shared_sqlite_url, oidc=oidc) as api:
        with writing(api.engine) as connection:
            set_password(connection, PASSWORD, Act("cli:root@desk", utc_now()))
        yield api


async def at_the_provider(who: Person, subject: str) -> None:
    """Click to the provider, say there who one is, and come back."""
    assert who.complaints == []
    await who.follow(who.link("Sign in with your organisation"))
    await expect(who.page.get_by_role("heading", name="Authorize Client")).to_be_visible()
    await who.page.get_by_placeholder("sub").fill(subject)
    who.complaints.clear()  # about a page that is not ours
    await who.follow(who.button("Authorize"))


async def sign_out(who: Person) -> None:
    await who.follow(who.button("Sign out"))
    await who.sees("Sign in")
    await who.open("/budgets")
    await who.sees("Sign in")


async def test_at_the_houses_provider(shared_browser: Browser, site: Asking) -> None:
    """The page that was asked for comes back, with what its address says."""
    ada = await stranger(shared_browser, site.url)
    await ada.open("/reports?from=2026-10-01&to=2026-11-01&group_by=model")
    await ada.sees("Sign in")
    await at_the_provider(ada, "ada")
    await ada.sees("Reports")
    assert ada.page.url == f"{site.url}/reports?from=2026-10-01&to=2026-11-01&group_by=model"
    await expect(ada.page.locator(".person")).to_contain_text("ada@example.com")
    cookies = await ada.page.context.cookies(site.url)
    assert [(one["name"], one["httpOnly"], one["sameSite"]) for one in cookies] == [
        ("talkmeter", True, "Lax")
    ], "and nothing is left of the attempt"
    await sign_out(ada)
    assert ada.complaints == []


async def test_whom_no_group_lets_in(shared_browser: Browser, site: Asking) -> None:
    eve = await stranger(shared_browser, site.url)
    await eve.open("/")
    await at_the_provider(eve, "eve")
    await eve.sees("Sign in")
    await eve.reads("did not tell your groups")
    await eve.open("/budgets")
    await eve.sees("Sign in")


async def test_as_the_local_administrator(shared_browser: Browser, site: Asking) -> None:
    """A wrong password is told where it was typed; the right one leads to the page that was asked for."""
    root = await stranger(shared_browser, site.url)
    await root.open("/audit?action=sign_in.*")
    await root.sees("Sign in")
    await root.click(root.main.get_by_text("As the local administrator"))
    await root.page.get_by_label("Password").fill("correct horse batter")
    await root.follow(root.button("Sign in"))
    await root.sees("Sign in")
    await root.reads("This is not the local administrator's password.")
    await root.page.get_by_label("Password").fill(PASSWORD)
    await root.follow(root.button("Sign in"))
    await root.sees("Audit log")
    assert root.page.url == f"{site.url}/audit?action=sign_in.*"
    await root.reads("user:local-admin", "sign_in.begin")
    await sign_out(root)

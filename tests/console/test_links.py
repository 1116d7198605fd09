"""No page leads a person to what they may not open: every link on every page, followed by every role."""

from urllib.parse import urlsplit

import pytest

from proxy.clock import utc_now
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking
from tests.admin.api.world import World, fill
from tests.announcements import PAYLOADS, announce
from tests.console.every_page import FILES, addresses, ids_of
from tests.console.visiting import visitor


@pytest.fixture
async def world(embedded: Asking) -> World:
    found = await fill(embedded)
    for number, kind in enumerate(PAYLOADS):
        announce(embedded.engine, f"k{number}", utc_now(), kind, found.tenant)
    return found


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("role", "tenants"),
    [
        (role, tenants)
        for role in TokenRole
        for tenants in ((), ("acme",))
        if tenants or role is not TokenRole.VIEWER
    ],
)
async def test_every_link_leads_somewhere(
    embedded: Asking, world: World, role: TokenRole, tenants: tuple[str, ...]
) -> None:
    person = visitor(embedded, role, *tenants)
    asked: dict[str, int] = {}
    followed, wrong = set(), []
    for page, address in addresses(ids_of(world)).items():
        shown = await person.get(address, 200, 303, 403, 404)
        asked[urlsplit(address).path] = shown.status
        for link in set(shown.links) if shown.status == 200 else ():
            path = urlsplit(link).path
            if not path.startswith("/") or any(part in path for part in FILES):
                continue
            followed.add(path)
            if path not in asked:
                asked[path] = await person.status(path)
            if asked[path] == 403:
                wrong.append((page.path, link))
    assert wrong == [] and len(followed) > 10

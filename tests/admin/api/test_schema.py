"""The description and the API against each other: requests are made up from the one for the other."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping

import aiohttp
import pytest

from proxy.admin.api.calls import BASE
from proxy.admin.api.openapi import document
from proxy.admin.api.routes import AnyRoute
from proxy.admin.api.table import ROUTES
from proxy.store.database import migrate, open_database
from tests.admin.api.asking import asking
from tests.admin.api.world import fill


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A control plane in a thread of its own, on a filled database."""
    folder = tmp_path_factory.mktemp("api")
    url = f"sqlite:///{folder}/talkmeter.db"
    engine = open_database(url, checkpoints=True)
    migrate(engine)
    engine.dispose()
    urls: list[str] = []
    ready, done = threading.Event(), threading.Event()

    async def main() -> None:
        async with asking(folder, url) as api:
            await fill(api)
            urls.append(api.url)
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=asyncio.run, args=[main()])
    thread.start()
    assert ready.wait(30)
    yield urls[0]
    done.set()
    thread.join()


@pytest.fixture(scope="module")
def tests() -> Mapping[str, Callable[..., None]]:
    from tests.admin.api import made_up  # now, and not in every job of a run

    return made_up.tests_by_route()


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_made_up_requests_get_described_answers(
    route: AnyRoute, tests: Mapping[str, Callable[..., None]], served: str
) -> None:
    tests[f"{route.method} {BASE}{route.path}"](served=served)


def test_the_description_is_served_to_all(served: str) -> None:
    async def fetch() -> object:
        async with aiohttp.ClientSession() as http, http.get(f"{served}/openapi.json") as answer:
            assert answer.status == 200
            return await answer.json()

    assert asyncio.run(fetch()) == document(ROUTES)

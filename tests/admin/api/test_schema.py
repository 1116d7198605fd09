"""The description and the API against each other: requests are made up from the one for the other."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import aiohttp
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.core.result import Ok
from schemathesis.pytest.lazy import get_all_tests
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from proxy.admin.api.openapi import BASE, document
from proxy.admin.api.routes import AnyRoute
from proxy.admin.api.table import ROUTES
from proxy.store.database import migrate, open_database
from tests.admin.api.asking import ADMIN_TOKEN, asking
from tests.admin.api.world import fill

CHECKS = (
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
)
SETTINGS = settings(
    max_examples=8,
    derandomize=True,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


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


def look(case: schemathesis.Case[Any], served: str) -> None:
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    case.call_and_validate(base_url=served, headers=headers, checks=list(CHECKS))


@pytest.fixture(scope="module")
def tests() -> Mapping[str, Callable[..., None]]:
    """A test of schemathesis for each route. `SCHEMA.parametrize()` would make them in every job of a run."""
    schema = schemathesis.openapi.from_dict(document(ROUTES))
    made = get_all_tests(schema=schema, test_func=look, settings=SETTINGS, given_kwargs={})
    return {operation.label: test for operation, test in (one.ok() for one in made if isinstance(one, Ok))}


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

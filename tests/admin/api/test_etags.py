"""ETags: of two who change the same state at the same moment, one is told to read again."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxy.admin.api.routes import AnyRoute
from proxy.admin.api.table import ROUTES
from proxy.store.changes import lock
from proxy.store.database import writing
from tests.admin.api.asking import Asking, asking
from tests.admin.api.world import fill

HELD_S = 0.3  # for both to come as far as they can


@pytest.fixture
async def api(tmp_path: Path, migrated_postgres_url: str) -> AsyncIterator[Asking]:
    """The API where writers do not wait for each other by themselves."""
    async with asking(tmp_path, migrated_postgres_url) as asked:
        yield asked


def changes(route: AnyRoute, body: Any) -> list[Any]:
    """Return two bodies that change a thing in two ways."""
    match route.path.split("/")[1]:
        case "budgets":
            return [{"amount_usd": "7"}, {"thresholds": [10]}]
        case "limits":
            return [{"value": "7"}, {"value": "8"}]
        case "models":
            return [{"allowed": False, "reason": "a"}, {"allowed": False, "reason": "b"}]
    return [body | {"name": "one"}, body | {"name": "other"}]


async def test_of_two_at_once_one_reads_again(api: Asking) -> None:
    """Both wait where writers wait: what the second one has read by then is not what it would change."""
    asks = (await fill(api)).asks()
    edits = [route for route in ROUTES if route.edits and route.has_body]
    assert {route.path.split("/")[1] for route in edits} == {
        *("budgets", "limits", "models", "saved-reports", "schedules")
    }
    for route in edits:
        ask = asks[route.name]
        state = (await api("GET", ask.path)).etag
        with writing(api.engine) as connection:
            lock(connection)
            asked = [
                asyncio.create_task(api(route.method, ask.path, body, If_Match=state))
                for body in changes(route, ask.body)
            ]
            await asyncio.sleep(HELD_S)
        answers = await asyncio.gather(*asked)
        assert sorted(one.status for one in answers) == [200, 412], (route.name, answers)
        (done,) = (one for one in answers if one.status == 200)
        assert (await api("GET", ask.path)).etag == done.etag != state, route.name

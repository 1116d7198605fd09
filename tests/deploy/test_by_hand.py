"""Each way to deploy, followed by hand: migrate, serve, a key, a conversation, SIGTERM."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import URL

from proxy.simulator import Simulator
from tests.deploy.by_hand import (
    METRICS_TOKEN,
    Place,
    Way,
    by_compose,
    by_kubernetes,
    by_systemd,
    substituted,
)
from tests.faults.checks import left_in

# Each starts some ten processes, one after the other.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
WAYS = pytest.mark.parametrize("way", [by_compose, by_kubernetes, by_systemd], ids=lambda way: way.__name__)


@WAYS
async def test_a_conversation_is_in_the_ledger(
    way: Callable[[], Way], deployed_database: URL, upstream: Simulator, tmp_path: Path
) -> None:
    place = Place(way(), deployed_database, tmp_path / "volume", upstream.url)
    await place.migrate()
    assert await place.failed_checks() == []
    async with place.serving():
        await place.look()
        assert await place.status("/metrics", admin=True) == 401
        assert await place.status("/metrics", admin=True, token=METRICS_TOKEN) == 200
        await place.talk(await place.new_key())
        (entry,) = await place.ledger(1)
    assert (entry["tenant"], entry["rated"], entry["estimated"]) == ("acme", True, False)
    assert entry["cost_nanousd"] > 0
    assert left_in(place.journal) == []
    assert "is not a setting" not in place.said()


def test_compose_variables_are_put_in_as_compose_does_it() -> None:
    assert (
        substituted("${OPENAI_API_KEY:?why} ${NOBODY_SET:-this} [${NOBODY_SET}]").split(" ", 1)[1]
        == "this []"
    )
    with pytest.raises(AssertionError, match="would not start without NOBODY_SET"):
        substituted("${NOBODY_SET:?why}")

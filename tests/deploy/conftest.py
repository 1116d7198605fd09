"""A PostgreSQL as the compose file has it, and what it is deployed beside."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from sqlalchemy import URL

from proxy.simulator import Simulator, serve
from tests.deploy.by_hand import UPSTREAM_KEY, make_roles, new_database
from tests.postgres import NoPostgres, Server, find_programs, own_server


@pytest.fixture(scope="session")
def deployed_server() -> Iterator[Server]:
    """A server of our own, where two roles can be made without being in anybody's way."""
    try:
        programs = find_programs()
    except NoPostgres as missing:
        pytest.skip(str(missing))
    with own_server(programs) as server:
        make_roles(server)
        yield server


@pytest.fixture
def deployed_database(deployed_server: Server) -> Iterator[URL]:
    """An empty database of its owner."""
    with new_database(deployed_server) as url:
        yield url


@pytest_asyncio.fixture
async def upstream() -> AsyncIterator[Simulator]:
    """A voice API that knows this installation's key, and speaks faster than people do."""
    simulator = await serve(speed=1_000.0, think_s=0.0, api_keys={UPSTREAM_KEY})
    yield simulator
    await simulator.close()

"""`/models`: what the official client reads, for who has a key."""

import pytest
from openai import AsyncOpenAI, AuthenticationError

from tests.simulator.talk import KEY, simulating


async def test_the_models_of_a_key() -> None:
    async with simulating(extra_models=frozenset({"mine"})) as simulator:
        url = simulator.url.replace("ws", "http", 1)
        async with AsyncOpenAI(api_key=KEY, base_url=url) as client:
            names = [model.id async for model in client.models.list()]
        assert names == sorted(names) and {"gpt-realtime-2.1", "gpt-4o-transcribe", "mine"} <= set(names)
        async with AsyncOpenAI(api_key="sk-other", base_url=url, max_retries=0) as client:
            with pytest.raises(AuthenticationError):
                await client.models.list()

"""The API of a whole `talkmeter serve`: what is made there works at once, what is stopped there ends."""

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest
import websockets
from pydantic import SecretStr

from proxy import simulator
from tests.apps import UPSTREAM_KEY, settings_in
from tests.test_app import serve

TOKEN = "an admin token for this test"
WAIT_S = 20


async def test_a_key_made_by_the_api_opens_a_session_that_the_api_stops(tmp_path: Path) -> None:
    upstream = await simulator.serve(api_keys={UPSTREAM_KEY})
    settings = settings_in(tmp_path, upstream.url, admin_token=SecretStr(TOKEN))
    try:
        async with serve(settings) as served:
            await served.ready()
            headers = {"Authorization": f"Bearer {TOKEN}"}
            base = f"{served.admin_url}/api/v1/"
            async with aiohttp.ClientSession(base, headers=headers) as api:
                await (await api.post("tenants", json={"name": "acme"})).json()
                key = await (await api.post("keys", json={"tenant": "acme"})).json()
                url = served.url.replace("http", "ws", 1) + "/realtime?model=gpt-realtime-2.1"
                bearer = {"Authorization": f"Bearer {key['secret']}"}
                async with websockets.connect(url, additional_headers=bearer, proxy=None) as client:
                    assert json.loads(await client.recv())["type"] == "session.created"
                    session_id = await live_session(api)
                    stopping = await api.delete(
                        f"sessions/{session_id}", headers={"Talkmeter-Reason": "a test"}
                    )
                    assert stopping.status == 202
                    with pytest.raises(websockets.ConnectionClosed) as closed:
                        async with asyncio.timeout(WAIT_S):
                            while True:
                                await client.recv()
                assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008
                acts = (await (await api.get("audit")).json())["data"]
                assert [one["action"] for one in acts] == ["session.stop", "key.create", "tenant.create"]
                assert (acts[0]["actor"], acts[0]["reason"]) == ("api:admin-token", "a test")
            served.process.terminate()
            assert await served.ended() == 0
            await served.log()  # to its end: nothing of the process is left in this loop
    finally:
        await upstream.close()


async def live_session(api: aiohttp.ClientSession) -> str:
    """Return the session that goes on, once the control plane has heard of it."""
    async with asyncio.timeout(WAIT_S):
        while True:
            found = (await (await api.get("sessions", params={"live": "true"})).json())["data"]
            if found:
                return str(found[0]["id"])
            await asyncio.sleep(0.1)

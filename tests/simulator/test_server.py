"""The handshake: what is let in, and OpenAI's two ways of refusing."""

import asyncio
import json
import signal
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme
import websockets

from proxy.simulator import Faults, Simulator, read
from tests.simulator.talk import KEY, MODEL, Event, connected, simulating


async def first(simulator: Simulator, query: str = MODEL, **settings: Any) -> Event:
    async with connected(simulator, query, **settings) as client:
        return await client.next()


@pytest.mark.parametrize("path", ["/v1/realtime", "/realtime", "/openai/v1/realtime"])
@pytest.mark.parametrize(
    ("query", "model"),
    [
        ("model=gpt-realtime-mini", "gpt-realtime-mini"),
        ("", "gpt-realtime-2.1"),
        ("intent=transcription", None),
    ],
)
async def test_paths_and_queries(path: str, query: str, model: str | None) -> None:
    async with simulating() as simulator:
        session = (await first(simulator, query, path=path))["session"]
    assert session.get("model") == model
    assert session["object"] == ("realtime.session" if model else "realtime.transcription_session")


async def test_the_model_can_come_with_the_first_update() -> None:
    async with simulating() as simulator, connected(simulator, "") as client:
        assert (await client.configure(model="gpt-realtime-mini"))["model"] == "gpt-realtime-mini"


REFUSALS = [
    (MODEL, "sk-wrong", {}, 3000, "invalid_api_key"),
    (MODEL, None, {}, 3000, "invalid_api_key"),
    ("model=", KEY, {}, 4000, "missing_model"),
    ("model=whisper-1", KEY, {}, 4000, "invalid_model"),
    (f"{MODEL}&intent=transcription", KEY, {}, 4000, "invalid_model"),
    ("intent=dancing", KEY, {}, 4000, "invalid_model"),
    ("model=gpt-surprise", KEY, {}, 4004, "model_not_found"),
    (MODEL, KEY, {"OpenAI-Beta": "realtime=v1"}, 4000, "beta_api_shape_disabled"),
]


@pytest.mark.parametrize(("query", "key", "headers", "close", "code"), REFUSALS)
async def test_refused_after_the_101(
    query: str, key: str | None, headers: dict[str, str], close: int, code: str
) -> None:
    async with (
        simulating() as simulator,
        connected(simulator, query, key=key, headers=headers) as client,
    ):
        end = await client.ended()
        assert simulator.sessions == 0
    assert end == (close, f"invalid_request_error.{code}")
    assert client.kinds() == ["error"]
    assert client.events[0]["error"]["code"] == code


async def test_a_model_can_be_required() -> None:
    async with simulating(require_model=True) as simulator, connected(simulator, "") as client:
        assert await client.ended() == (4000, "invalid_request_error.missing_model")


async def test_refused_by_a_fault() -> None:
    async with (
        simulating() as simulator,
        connected(simulator, f"{MODEL}&sim=refuse:insufficient_quota") as client,
    ):
        assert await client.ended() == (4000, "insufficient_quota.insufficient_quota")
    assert client.events[0]["error"]["type"] == "insufficient_quota"


@pytest.mark.parametrize(
    "settings",
    [
        {"headers": {"api-key": KEY}},
        {"subprotocols": ["realtime", f"openai-insecure-api-key.{KEY}"]},
    ],
)
async def test_other_places_for_the_key(settings: dict[str, Any]) -> None:
    async with simulating() as simulator:
        assert (await first(simulator, key=None, **settings))["type"] == "session.created"


async def test_only_realtime_is_echoed_and_nothing_is_compressed() -> None:
    offers = ["realtime", f"openai-insecure-api-key.{KEY}"]
    async with simulating() as simulator, connected(simulator, key=None, subprotocols=offers) as client:
        response = client.connection.response
        assert client.connection.subprotocol == "realtime"
        assert response is not None and "Sec-WebSocket-Extensions" not in response.headers


async def http_refusal(
    simulator: Simulator, query: str = MODEL, path: str = "/v1/realtime"
) -> tuple[int, Any]:
    with pytest.raises(websockets.InvalidStatus) as caught:
        async with connected(simulator, query, path=path):
            pass
    response = caught.value.response
    assert response.headers["Content-Type"] == "application/json"
    return response.status_code, json.loads(response.body or b"")


async def test_refused_over_http() -> None:
    body = '{"error":{"message":"slow down"}}'
    async with simulating(refuse_http=(429, body)) as simulator:
        assert await http_refusal(simulator) == (429, json.loads(body))
    async with simulating() as simulator:
        assert (await http_refusal(simulator, f"{MODEL}&sim=refuse_http:503"))[0] == 503
        assert (await http_refusal(simulator, path="/v1/chat"))[0] == 404
        status, answer = await http_refusal(simulator, f"{MODEL}&sim=nonsense")
        assert (status, answer["error"]["code"]) == (400, "invalid_value")
        assert "abort_after_audio" in answer["error"]["message"]


async def test_no_more_sessions_than_allowed() -> None:
    async with simulating(sessions_max=1) as simulator, connected(simulator):
        assert (await http_refusal(simulator))[0] == 503


async def test_a_handshake_can_be_late() -> None:
    async with simulating(faults=Faults(delay_handshake=0.3)) as simulator:
        with pytest.raises(TimeoutError):
            async with connected(simulator, open_timeout=0.1):
                pass
        assert (await first(simulator))["type"] == "session.created"


async def test_closing_says_goodbye_and_aborting_does_not() -> None:
    async with simulating() as simulator, connected(simulator) as client:
        await client.next()
        simulator.abort()
        assert await client.ended() == (1006, "")
        async with connected(simulator) as another:
            await another.next()
            await simulator.close()
            assert (await another.ended())[0] == 1001


async def test_url_and_keys_of_ones_own() -> None:
    async with simulating(api_keys={"sk-mine"}) as simulator:
        assert simulator.url == f"ws://127.0.0.1:{simulator.port}/v1"
        assert (await first(simulator, key="sk-mine"))["type"] == "session.created"
        assert (await first(simulator))["type"] == "error"


async def test_run_serves_alone_until_it_is_told_to_stop(tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    code = (
        "from pathlib import Path; from proxy.simulator import run; "
        f"run('127.0.0.1:0', Path({str(truth)!r}), frozenset({{'sk-cli'}}), 1000.0)"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert process.stdout is not None
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
        url = line.split()[-1]
        headers = {"Authorization": "Bearer sk-cli"}
        async with websockets.connect(url, additional_headers=headers, proxy=None) as connection:
            await connection.send('{"type":"response.create"}')
            while json.loads(await asyncio.wait_for(connection.recv(), 20))["type"] != "response.done":
                pass
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 20)
    assert process.returncode == 0
    assert url.endswith("/v1/realtime")
    assert [line.what for line in read(truth)] == ["opened", "response"]


async def test_over_tls() -> None:
    authority = trustme.CA()
    server, trusting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(trusting)
    async with simulating(tls=server) as simulator:
        assert simulator.url == f"wss://127.0.0.1:{simulator.port}/v1"
        headers = {"Authorization": f"Bearer {KEY}"}
        url = f"{simulator.url}/realtime?{MODEL}"
        async with websockets.connect(url, additional_headers=headers, ssl=trusting) as connection:
            assert json.loads(await connection.recv())["type"] == "session.created"


async def test_a_response_is_announced_before_the_next_event_is_heeded() -> None:
    """So that whoever reads along knows its model: that of the last `session.updated`."""
    async with simulating() as simulator, connected(simulator) as client:
        await client.send("response.create")
        await client.send("session.update", session={"type": "realtime", "model": "gpt-realtime-mini"})
        await client.until("session.updated")
        assert "response.created" in client.kinds()


async def test_nobody_waits_for_the_response_of_a_lost_connection() -> None:
    """A response that waits for its turn behind one that was cancelled and can say nothing more."""
    async with simulating() as simulator:
        async with connected(simulator, f"{MODEL}&sim=stall_after_audio:1") as client:
            await client.send("response.create")
            await client.until("response.output_audio.delta")
            await client.send("response.cancel")
            await client.send("response.create")
        await asyncio.wait_for(simulator.close(), 10)

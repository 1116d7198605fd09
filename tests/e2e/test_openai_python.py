"""The openai package holds conversations through Talkmeter, and sees nothing but the voice API."""

import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from openai.types.realtime import RealtimeResponse
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from proxy.simulator.audio import silence, tone
from tests.e2e.oracle import Booked
from tests.e2e.place import Home, Place, add_key

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])
EVERY_LOOP = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
PLAIN_AND_TLS = pytest.mark.parametrize("home", ["plain", "tls"], indirect=True)

MODEL = "gpt-realtime-2.1"
IMAGE = "data:image/png;base64,iVBORw0KGgo="
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@asynccontextmanager
async def connection(
    place: Place, *, secret: str | None = None, base_url: str | None = None, sim: str = "", **given: Any
) -> AsyncIterator[AsyncRealtimeConnection]:
    """Connect as an app does that has changed its base URL and its key."""
    query = given.pop("extra_query", {}) | ({"sim": sim} if sim else {})
    async with (
        openai.AsyncOpenAI(
            api_key=secret or place.home.secret, websocket_base_url=base_url or place.ws_url
        ) as client,
        client.realtime.connect(**({"model": MODEL, "extra_query": query} | given)) as connected,
    ):
        yield connected


async def until(connected: AsyncRealtimeConnection, kind: str, seen: list[Any] | None = None) -> Any:
    """Return the next event of this kind; `seen` collects what comes up to it."""
    async for event in connected:
        if seen is not None:
            seen.append(event)
        if event.type == kind:
            return event
    raise AssertionError(f"the connection ended before {kind}")


async def finished(connected: AsyncRealtimeConnection, seen: list[Any] | None = None) -> RealtimeResponse:
    """Return the next response that ends."""
    done = await until(connected, "response.done", seen)
    response: RealtimeResponse = done.response
    return response


def sound(ms: int, silent_ms: int = 0) -> str:
    return base64.b64encode(tone(ms) + silence(silent_ms)).decode()


def heard_tokens(seen: Sequence[Any]) -> int:
    """Return how many audio tokens the deltas among these events are: 50 ms of PCM each."""
    deltas = [event.delta for event in seen if event.type == "response.output_audio.delta"]
    return sum(len(base64.b64decode(delta)) for delta in deltas) // 2_400


async def write(connected: AsyncRealtimeConnection, text: str, *more: Any) -> None:
    content: Any = [*more, {"type": "input_text", "text": text}]
    await connected.conversation.item.create(item={"type": "message", "role": "user", "content": content})


def of_kind(booked: list[Booked], kind: str) -> list[Booked]:
    return [entry for entry in booked if entry.kind == kind]


# Conversations


@EVERY_LOOP
@pytest.mark.parametrize("home", ["plain", "tls", "postgres"], indirect=True)
async def test_a_full_conversation(home: Home) -> None:
    """Manual turns in speech with transcription, growing context that is cached, speech out."""
    audio: Any = {"input": {"turn_detection": None, "transcription": {"model": "gpt-4o-mini-transcribe"}}}
    async with home.open() as place:
        async with connection(place) as connected:
            created = await connected.recv()
            assert created.type == "session.created"
            await connected.session.update(session={"type": "realtime", "audio": audio})
            heard = []
            transcribed = 0
            for _ in range(4):
                await connected.input_audio_buffer.append(audio=sound(3_000))
                await connected.input_audio_buffer.commit()
                await connected.response.create()
                seen: list[Any] = []
                response = await finished(connected, seen)
                assert response.status == "completed"
                heard.append(heard_tokens(seen))
                transcribed += sum("transcription.completed" in event.type for event in seen)
            while transcribed < 4:
                transcribed += "transcription.completed" in (await connected.recv()).type
        booked = await place.over()
    responses = of_kind(booked, "response")
    assert [entry.lines["audio_out"] for entry in responses] == heard
    assert responses[3].lines["audio_in_cached"] > 0
    assert responses[3].lines["text_in_cached"] > 0
    transcriptions = of_kind(booked, "transcription")
    assert {entry.model for entry in transcriptions} == {"gpt-4o-mini-transcribe"}
    assert [entry.lines["audio_in"] for entry in transcriptions] == [30] * 4


@EVERY_LOOP
@PLAIN_AND_TLS
async def test_turns_by_voice_detection_and_barge_in(home: Home) -> None:
    """Speaking over an answer interrupts it; the client says how much of it was heard."""
    async with home.open(speed=20) as place:
        async with connection(place) as connected:
            await connected.input_audio_buffer.append(audio=sound(700, 500))
            assert (await finished(connected)).status == "completed"
            await write(connected, "Give me 3000 words")
            await connected.response.create()
            delta = await until(connected, "response.output_audio.delta")
            await connected.input_audio_buffer.append(audio=sound(600, 500))
            interrupted = await finished(connected)
            assert interrupted.status == "cancelled" and interrupted.status_details is not None
            assert interrupted.status_details.reason == "turn_detected"
            await connected.conversation.item.truncate(
                item_id=delta.item_id, content_index=0, audio_end_ms=150
            )
            await until(connected, "conversation.item.truncated")
            await finished(connected)
        booked = await place.over()
    assert [entry.status for entry in booked] == ["completed", "cancelled", "completed"]


async def test_tools(home: Home) -> None:
    async with home.open() as place:
        async with connection(place) as connected:
            await connected.session.update(session={"type": "realtime", "tools": [WEATHER]})
            await write(connected, "What does the tool say?")
            await connected.response.create()
            call = ((await finished(connected)).output or [])[0]
            assert call.type == "function_call" and call.call_id
            await connected.conversation.item.create(
                item={"type": "function_call_output", "call_id": call.call_id, "output": "12 degrees"}
            )
            await connected.response.create()
            seen: list[Any] = []
            await finished(connected, seen)
        booked = await place.over()
    said = [event.transcript for event in seen if event.type == "response.output_audio_transcript.done"]
    assert said == ["The tool answered: 12 degrees"]
    assert "audio_out" not in booked[0].lines and booked[1].lines["audio_out"] > 0


async def test_an_image_text_only_and_out_of_band(home: Home) -> None:
    async with home.open() as place:
        async with connection(place) as connected:
            await connected.session.update(session={"type": "realtime", "output_modalities": ["text"]})
            picture = {"type": "input_image", "image_url": IMAGE, "detail": "low"}
            await write(connected, "What is this?", picture)
            await connected.response.create()
            seen: list[Any] = []
            await finished(connected, seen)
            assert any(event.type == "response.output_text.delta" for event in seen)
            await connected.response.create(
                response={"conversation": "none", "input": [], "metadata": {"topic": "none"}}
            )
            apart = await finished(connected)
            assert apart.conversation_id is None
        booked = await place.over()
    assert booked[0].lines["image_in"] == 85
    assert not any("audio_out" in entry.lines for entry in booked)


async def test_the_model_changes_in_mid_session(home: Home) -> None:
    """Each response is booked on the model of its time."""
    async with home.open() as place:
        async with connection(place) as connected:
            for model in (None, "gpt-realtime-2.1-mini", "gpt-realtime"):
                if model:
                    await connected.session.update(session={"type": "realtime", "model": model})
                    await until(connected, "session.updated")
                await write(connected, "hello")
                await connected.response.create()
                await finished(connected)
        booked = await place.over()
    assert [entry.model for entry in booked] == [MODEL, "gpt-realtime-2.1-mini", "gpt-realtime"]


@pytest.mark.parametrize("model", ["gpt-realtime-whisper", "gpt-4o-transcribe"])
async def test_a_transcription_session(home: Home, model: str) -> None:
    """Billed by seconds on one model, by tokens on another; there are no responses."""
    audio: Any = {"input": {"turn_detection": None, "transcription": {"model": model}}}
    async with home.open() as place:
        query = {"intent": "transcription"}
        async with connection(place, model=openai.omit, extra_query=query) as connected:
            await connected.session.update(session={"type": "transcription", "audio": audio})
            await connected.input_audio_buffer.append(audio=sound(3_400))
            await connected.input_audio_buffer.commit()
            await until(connected, "conversation.item.input_audio_transcription.completed")
        (entry,) = await place.over()
    assert (entry.kind, entry.model) == ("transcription", model)
    by_seconds = model == "gpt-realtime-whisper"
    assert entry.lines.get("duration_ms") == (3_400 if by_seconds else None)
    if by_seconds:
        assert entry.cost_nanousd == 963_333  # 3.4 s at $0.017 a minute


async def test_an_error_of_the_voice_api_is_an_event(home: Home) -> None:
    async with home.open() as place:
        async with connection(place) as connected:
            await connected.input_audio_buffer.commit()
            error = await until(connected, "error")
            assert error.error.code == "input_audio_buffer_commit_empty"
            await connected.response.create()
            assert (await finished(connected)).status == "completed"
        assert len(await place.over()) == 1


async def test_the_helpers_of_the_package(home: Home) -> None:
    """`close` with a code, and events by handler, work as they do without Talkmeter."""
    async with home.open() as place:
        async with connection(place) as connected:
            await connected.close(code=4001, reason="enough")
        await place.over()
    (row,) = home.sessions()
    assert (row.close_code, row.reason) == (4001, "client_closed")


# The app and its session


async def test_the_app_sees_its_session(home: Home) -> None:
    """By the header of the 101, while it runs and when it is over; no other tenant does."""
    stranger = add_key(home.database_url, "other")
    async with home.open() as place:
        headers = {"Talkmeter-Tags": "team=core, call=42", "Talkmeter-User": "ann"}
        async with connection(place, extra_headers=headers) as connected:
            response = connected._connection.response
            assert response is not None
            session_id = response.headers["Talkmeter-Session"]
            created = await connected.recv()
            assert created.type == "session.created"
            await write(connected, "hello")
            await connected.response.create()
            done = await finished(connected)
            status, live = await place.session(session_id)
            assert (status, live["live"], live["responses"]) == (200, True, 1)
            assert (await place.session(session_id, stranger))[0] == 404
        (entry,) = await place.over()
        status, past = await place.session(session_id)
        assert (status, past["live"], past["close_code"]) == (200, False, 1000)
        assert (await place.session(session_id, stranger))[0] == 404
        assert (await place.session(session_id, "tm_wrong"))[0] == 401
        assert (await place.session("ses_never"))[0] == 404
    for told in (live, past):
        assert told["id"] == session_id
        assert told["upstream_session_id"] == entry.session
        assert told["tags"] == {"team": "core", "call": "42"}
        assert told["cost_nanousd"] == entry.cost_nanousd
        (turn,) = told["turns"]
        assert (turn["subject_id"], turn["meters"]) == (done.id, dict(entry.lines))
    assert live["turns"] == past["turns"]
    (row,) = home.sessions()
    assert row.end_user == "ann"


# Refusals


async def refused(place: Place, **given: Any) -> tuple[int, dict[str, Any], Any]:
    """Return status, body and headers of the answer that the package gets instead of a 101."""
    with pytest.raises(InvalidStatus) as raised:
        async with connection(place, **given):
            raise AssertionError("this should be refused")
    response = raised.value.response
    return response.status_code, json.loads(response.body or b""), response.headers


@PLAIN_AND_TLS
async def test_what_is_refused_before_the_upgrade(home: Home) -> None:
    async with home.open() as place:
        status, body, _ = await refused(place, secret="tm_" + "x" * 43)
        assert (status, body["error"]["code"]) == (401, "invalid_api_key")
        status, body, _ = await refused(place, base_url=place.ws_url.replace("/v1", "/v2"))
        assert (status, body["error"]["code"]) == (404, "unknown_url")
        assert place.simulator.sessions == 0
        assert await place.over() == []


async def test_plain_requests_raise_the_packages_own_errors(home: Home) -> None:
    async with home.open() as place:
        client = openai.AsyncOpenAI(api_key=home.secret, base_url=place.app.url, max_retries=0)
        async with client:
            with pytest.raises(openai.NotFoundError) as missing:
                await client.models.list()
            assert missing.value.code == "unknown_url"
            with pytest.raises(openai.APIStatusError) as upgrade:
                await client.get("/realtime", cast_to=object)
            assert (upgrade.value.status_code, upgrade.value.code) == (426, "upgrade_required")
            assert upgrade.value.response.headers["upgrade"] == "websocket"


async def test_an_http_refusal_of_the_voice_api_arrives_unchanged(home: Home) -> None:
    async with home.open() as place:
        status, body, headers = await refused(place, sim="refuse_http:429")
        with pytest.raises(InvalidStatus) as direct:
            async with connection(
                place, secret="sk-whoever", base_url=place.simulator.url, sim="refuse_http:429"
            ):
                raise AssertionError("this should be refused")
        response = direct.value.response
        assert (status, body) == (response.status_code, json.loads(response.body or b""))
        assert headers["Content-Type"] == response.headers["Content-Type"]
        assert await place.over() == []


@pytest.mark.parametrize(
    ("settings", "sim", "close_code", "code"),
    [
        ({"api_keys": {"sk-another"}}, "", 3000, "invalid_api_key"),
        ({}, "refuse:insufficient_quota", 4000, "insufficient_quota"),
    ],
)
async def test_a_refusal_after_the_upgrade_arrives_unchanged(
    home: Home, settings: dict[str, Any], sim: str, close_code: int, code: str
) -> None:
    """The 101, one `error` event, then the close: as without Talkmeter."""
    async with home.open(**settings) as place:
        async with connection(place, sim=sim) as connected:
            event = await connected.recv()
            assert event.type == "error" and event.error.code == code
            with pytest.raises(ConnectionClosedError) as closed:
                await connected.recv()
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, code in closed.value.rcvd.reason) == (close_code, True)
        assert await place.over() == []
    (row,) = home.sessions()
    assert (row.close_code, row.reason) == (close_code, "upstream_closed")


async def test_a_model_that_does_not_exist(home: Home) -> None:
    async with home.open() as place:
        async with connection(place, model="gpt-surprise") as connected:
            event = await connected.recv()
            assert event.type == "error" and event.error.code == "model_not_found"
            with pytest.raises(ConnectionClosedError, match="4004"):
                await connected.recv()
        assert await place.over() == []


async def test_a_voice_api_that_is_not_there(home: Home) -> None:
    async with home.open(upstream_url="http://127.0.0.1:1/v1") as place:
        status, body, _ = await refused(place)
        assert (status, body["error"]["code"]) == (502, "upstream_unreachable")
        assert await place.over() == []
    assert home.sessions() == []

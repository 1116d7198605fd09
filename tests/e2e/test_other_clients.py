"""Clients that are not packages here: their ways to connect, to show a key and to spell messages."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from websockets.typing import Subprotocol

from proxy.simulator.audio import silence, tone
from tests.e2e.place import QUERY, Home
from tests.simulator.talk import Client

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

Spell = Callable[[str, Mapping[str, Any]], str]


def type_first(kind: str, fields: Mapping[str, Any]) -> str:
    """As openai-node does."""
    return json.dumps({"type": kind, **fields}, separators=(",", ":"))


def type_last(kind: str, fields: Mapping[str, Any]) -> str:
    """As LiveKit and both agents packages do for audio."""
    return json.dumps({**fields, "type": kind})


def type_last_compact(kind: str, fields: Mapping[str, Any]) -> str:
    return json.dumps({**fields, "type": kind}, separators=(",", ":"))


def event_id_first(kind: str, fields: Mapping[str, Any]) -> str:
    """As Pipecat does."""
    return json.dumps({"event_id": "0f7c4a9c-2d1e-4d57-9a3b-5a1f4a1f7e55", "type": kind, **fields})


def event_id_between(kind: str, fields: Mapping[str, Any]) -> str:
    return json.dumps({**fields, "event_id": "evt_1", "type": kind}, indent=1)


def event_id_last(kind: str, fields: Mapping[str, Any]) -> str:
    return json.dumps({"type": kind, **fields, "event_id": "evt_1"})


SPELLINGS = [type_first, type_last, type_last_compact, event_id_first, event_id_between, event_id_last]


async def talk(client: Client, spell: Spell) -> None:
    """Have a turn in speech and one in writing, every message spelt that way."""

    async def send(kind: str, **fields: Any) -> None:
        await client.connection.send(spell(kind, fields))

    transcription = {"model": "gpt-4o-transcribe"}
    audio = {"input": {"turn_detection": None, "transcription": transcription}}
    await send("session.update", session={"type": "realtime", "audio": audio})
    await client.until("session.updated")
    sound = tone(2_000) + silence(100)
    for at in range(0, len(sound), 4_800):
        await send("input_audio_buffer.append", audio=base64.b64encode(sound[at : at + 4_800]).decode())
    await send("input_audio_buffer.commit")
    await client.until("conversation.item.input_audio_transcription.completed")
    await send("response.create")
    await client.until("response.done")
    content = [{"type": "input_text", "text": "Give me 20 words"}]
    await send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
    await send("response.create", response={"instructions": "Be brief."})
    await client.until("response.done")


@pytest.mark.parametrize("spell", SPELLINGS)
async def test_every_spelling(home: Home, spell: Spell) -> None:
    """Metered alike. Compression is offered, as many do, and not accepted."""
    async with home.open() as place:
        async with place.connected(compression="deflate") as client:
            assert client.connection.protocol.extensions == []
            await talk(client, spell)
        booked = await place.over()
    assert [entry.kind for entry in booked] == ["transcription", "response", "response"]
    assert booked[0].lines["audio_in"] == 21


async def test_every_path_and_query(home: Home) -> None:
    """What we do not know of a query goes upstream as it is."""
    models = {
        QUERY: "gpt-realtime-2.1",
        "": "gpt-realtime-2.1",
        "model=gpt-realtime-mini&a=b&c": "gpt-realtime-mini",
    }
    async with home.open() as place:
        for path in ("/v1/realtime", "/realtime", "/openai/v1/realtime"):
            for query in models:
                async with place.connected(query, path=path) as client:
                    assert (await client.next())["session"]["type"] == "realtime"
                    await client.send("response.create")
                    await client.until("response.done")
            async with place.connected("intent=transcription", path=path) as client:
                assert (await client.next())["session"]["type"] == "transcription"
        booked = await place.over()
    assert [entry.model for entry in booked] == [*models.values()] * 3


@pytest.mark.parametrize("home", ["plain", "tls"], indirect=True)
async def test_a_key_in_the_subprotocols_of_a_browser(home: Home) -> None:
    """Only `realtime` is echoed, since an answer may be shown and logged."""
    offered = [Subprotocol("realtime"), Subprotocol(f"openai-insecure-api-key.{home.secret}")]
    async with home.open() as place:
        async with place.connected(headers={}, subprotocols=offered, origin="https://app.example") as client:
            assert client.connection.subprotocol == "realtime"
            response = client.connection.response
            assert response is not None and home.secret not in str(response.headers)
            await talk(client, type_first)
        assert len(await place.over()) == 3


async def test_a_key_in_the_header_of_azure(home: Home) -> None:
    async with home.open() as place:
        async with place.connected(headers={"api-key": home.secret}) as client:
            await talk(client, type_first)
        assert len(await place.over()) == 3


async def test_the_first_update_names_the_model(home: Home) -> None:
    """As the agents packages do: the URL is used as it was given."""
    async with home.open() as place:
        async with place.connected("") as client:
            await client.configure(model="gpt-realtime-2.1-mini")
            await client.say("hello")
            await client.respond()
        (entry,) = await place.over()
    assert entry.model == "gpt-realtime-2.1-mini"


async def test_the_beta_shape(home: Home) -> None:
    """The names of before GA, which Azure's preview still speaks."""
    async with home.open(beta=True) as place:
        async with place.connected(check=False) as client:
            turns = {"turn_detection": None, "input_audio_transcription": {"model": "whisper-1"}}
            await client.send("session.update", session=turns)
            await client.until("session.updated")
            await client.speak(2_000)
            await client.send("input_audio_buffer.commit")
            await client.until("conversation.item.input_audio_transcription.completed")
            await client.respond()
            assert client.of("response.audio.delta")
        booked = await place.over()
    assert [entry.kind for entry in booked] == ["transcription", "response"]
    assert booked[0].lines == {"duration_ms": 2_000}


@pytest.mark.parametrize(("name", "bytes_per_s"), [("audio/pcmu", 8_000), ("audio/pcma", 8_000)])
async def test_telephone_audio(home: Home, name: str, bytes_per_s: int) -> None:
    """G.711 as Twilio sends it; a lost upstream is estimated by the format's own rate."""
    formats = {"input": {"format": {"type": name}}, "output": {"format": {"type": name}}}
    async with home.open() as place:
        async with place.connected(sim="drop_after_audio:6") as client:
            await client.configure(audio=formats)
            await client.say("Give me 40 words")
            await client.send("response.create")
            await client.ended()
        (entry,) = await place.over()
    deltas = client.of("response.output_audio.delta")
    heard = sum(len(base64.b64decode(delta["delta"])) for delta in deltas)
    assert entry.estimated
    assert entry.lines["audio_out"] == heard * 20 // bytes_per_s

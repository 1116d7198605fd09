"""However a conversation ends, the ledger is what the voice API says it cost, and nothing is left over."""

import asyncio
import base64
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from proxy.core.refusal import stopped
from tests.e2e.oracle import Booked
from tests.e2e.place import Home, Place, reset
from tests.relay.peers import Got, Peer, frame, until
from tests.simulator.talk import Client

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_factories=["uvloop"])]
EVERY_LOOP = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
EVERY_HOME = pytest.mark.parametrize("home", ["plain", "tls", "postgres"], indirect=True)
PLAIN_AND_TLS = pytest.mark.parametrize("home", ["plain", "tls"], indirect=True)
LONG = "Give me 3000 words"  # more than any test hears
SLOW = {"speed": 20.0}  # a word takes 17 ms


async def answering(client: Client, text: str = LONG) -> None:
    """Ask for an answer and return when it can be heard."""
    await client.configure()
    await client.say(text)
    await client.send("response.create")
    await client.until("response.output_audio.delta")


async def raw_answering(place: Place, text: str = LONG, *, sim: str = "") -> Peer:
    """Return a client that talks byte by byte and hears an answer."""
    peer = await place.raw(sim=sim)
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    peer.say({"type": "conversation.item.create", "item": item})
    peer.say({"type": "response.create"})
    await heard(peer, "response.output_audio.delta")
    return peer


async def heard(peer: Peer, kind: str) -> Got:
    """Return the next event of this kind."""
    while True:
        got = await peer.get()
        if got.json["type"] == kind:
            return got


def only(booked: list[Booked]) -> tuple[str, bool]:
    """Return status and whether it is an estimate, of the only entry."""
    (entry,) = booked
    assert entry.cost_nanousd
    return entry.status, entry.estimated


def ended(home: Home) -> tuple[int | None, str | None]:
    """Return how the only session ended: the close code that the client saw, and the reason."""
    (row,) = home.sessions()
    assert row.closed_at is not None
    return row.close_code, row.reason


# The client leaves


@EVERY_LOOP
@EVERY_HOME
async def test_a_close_with_nothing_open(home: Home) -> None:
    async with home.open() as place:
        async with place.connected() as client:
            await client.configure(audio={"input": {"transcription": {"model": "gpt-4o-transcribe"}}})
            for text in ("Good morning", "Give me 30 words", "Thank you"):
                await client.say(text)
                await client.respond()
            await client.speak(1_500)
            await client.send("input_audio_buffer.commit")
            await client.until("conversation.item.input_audio_transcription.completed")
        assert (client.connection.close_code, client.connection.close_reason) == (1000, "")
        kinds = [entry.kind for entry in await place.over()]
    assert kinds == ["response"] * 3 + ["transcription"]
    assert ended(home) == (1000, "client_closed")


@EVERY_LOOP
@PLAIN_AND_TLS
async def test_a_close_in_mid_response(home: Home) -> None:
    async with home.open(**SLOW) as place:
        async with place.connected() as client:
            await answering(client)
        assert client.connection.close_code == 1000
        assert only(await place.over()) == ("cancelled", False)
    assert ended(home) == (1000, "client_closed")


@EVERY_LOOP
@EVERY_HOME
async def test_a_reset_in_mid_response(home: Home) -> None:
    async with home.open(**SLOW) as place:
        async with place.connected() as client:
            await answering(client)
            reset(client.connection.transport)
        assert only(await place.over()) == ("cancelled", False)
    assert ended(home) == (None, "client_lost")


@PLAIN_AND_TLS
@pytest.mark.parametrize(("sent", "fin"), [(40, True), (7, False), (250_000, True), (70_000, False)])
async def test_a_reset_within_an_append(home: Home, sent: int, fin: bool) -> None:
    """What is half-sent must not swallow the cancel, or the whole answer would be generated and billed."""
    async with home.open(**SLOW) as place:
        peer = await raw_answering(place)
        raw = frame(b'{"type":"input_audio_buffer.append","audio":"' + b"A" * 300_000, fin=fin, mask=True)
        peer.write(raw[:sent])
        (live,) = place.app.gateway.sessions.values()
        scanner = live.tunnel.client_lane.scanner
        await until(lambda: scanner.in_frame or scanner.buffered > 0)
        reset(peer.writer.transport)
        assert only(await place.over()) == ("cancelled", False)
    assert ended(home) == (None, "client_lost")


async def test_the_end_of_the_clients_stream_in_mid_response(home: Home) -> None:
    """WebSocket knows no half-close: it is a client that was lost."""
    async with home.open(**SLOW) as place:
        peer = await raw_answering(place)
        peer.writer.write_eof()
        assert only(await place.over()) == ("cancelled", False)
    assert ended(home) == (None, "client_lost")


@EVERY_LOOP
@PLAIN_AND_TLS
async def test_a_client_that_takes_nothing(home: Home) -> None:
    """Its session is cut after `STALL_S`, and metered to the end of what ran."""
    async with home.open(stall_s=0.5) as place:
        peer = await raw_answering(place)
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        status, estimated = only(await place.over())
    assert (status, estimated) == ("cancelled", False)
    assert ended(home) == (None, "client_stalled")


async def test_a_client_that_says_nothing(home: Home) -> None:
    async with home.open(idle_timeout_s=0.5, **SLOW) as place:
        peer = await raw_answering(place)
        while (got := await peer.get()).opcode != 8:
            pass
        assert got.close[0] == 1001
        await peer.leave()
        assert only(await place.over()) == ("cancelled", False)
    assert ended(home) == (1001, "client_idle")


async def test_a_client_that_breaks_the_protocol(home: Home) -> None:
    async with home.open(**SLOW) as place:
        peer = await raw_answering(place)
        peer.write(frame("not masked", mask=False))
        while (got := await peer.get()).opcode != 8:
            pass
        assert got.close[0] == 1002
        await peer.leave()
        assert only(await place.over()) == ("cancelled", False)
    assert ended(home) == (1002, "client_violation")


@pytest.mark.parametrize("way", ["close", "reset"])
async def test_a_hang_up_right_after_speech(home: Home, way: str) -> None:
    """Turn detection is about to answer: whatever it still starts is cancelled, and billed."""
    async with home.open(**SLOW) as place:
        for kind in ("speech_started", "speech_stopped", "committed"):
            async with place.connected() as client:
                await client.speak(400, silent_ms=600)
                await client.until(f"input_audio_buffer.{kind}")
                if way == "reset":
                    reset(client.connection.transport)
        booked = await place.over()
    assert {entry.estimated for entry in booked} <= {False}
    assert {entry.status for entry in booked} <= {"cancelled", "completed"}


@pytest.mark.parametrize("way", ["close", "reset"])
async def test_a_transcription_that_outlives_its_client(home: Home, way: str) -> None:
    async with home.open() as place:
        async with place.connected(sim="late_transcription:0.3") as client:
            await client.configure(audio={"input": {"transcription": {"model": "whisper-1"}}})
            await client.speak(1_000)
            await client.send("input_audio_buffer.commit")
            await client.until("input_audio_buffer.committed")
            if way == "reset":
                reset(client.connection.transport)
        (entry,) = await place.over()
    assert (entry.kind, entry.status, entry.estimated) == ("transcription", "completed", False)
    assert entry.cost_nanousd == 100_000  # a second at $0.006 a minute


async def test_an_upstream_that_does_not_heed_the_cancel(home: Home) -> None:
    """The answer runs on to its end, and is billed whole."""
    async with home.open(**SLOW) as place:
        async with place.connected(sim="ignore_cancel") as client:
            await answering(client, "Give me 30 words")
            reset(client.connection.transport)
        assert only(await place.over()) == ("completed", False)


async def test_more_was_generated_than_was_heard(home: Home) -> None:
    async with home.open(**SLOW) as place:
        async with place.connected(sim="ahead:40") as client:
            await answering(client)
        assert only(await place.over()) == ("cancelled", False)


@pytest.mark.parametrize("way", ["close", "reset"])
async def test_a_bill_that_never_comes_is_estimated(home: Home, way: str) -> None:
    """After `LINGER_S`, from the output that has passed."""
    async with home.open(linger_s=0.4, **SLOW) as place:
        async with place.connected(sim="mute_cancel") as client:
            await answering(client)
            if way == "reset":
                reset(client.connection.transport)
        (entry,) = await place.over()
    assert (entry.status, entry.estimated) == ("lost", True)
    assert entry.flags == ["linger_passed"]
    assert_sane(entry, heard_tokens=spoken_tokens(client))


def spoken_tokens(client: Client) -> int:
    """Return the audio tokens that a client was sent: 50 ms of PCM each."""
    deltas = client.of("response.output_audio.delta")
    return sum(len(base64.b64decode(delta["delta"])) for delta in deltas) // 2_400


def assert_sane(entry: Booked, *, heard_tokens: int, more: int = 2_000) -> None:
    """Expect an estimate of what was heard, and of no more than could have been on its way."""
    audio, text = entry.lines["audio_out"], entry.lines["text_in"]
    assert heard_tokens <= audio <= heard_tokens + more
    assert 0 < text < 200  # the simulator's own instructions are not known to us
    assert entry.cost_nanousd is not None and entry.cost_nanousd >= audio * 64_000


# The upstream leaves


@EVERY_LOOP
@PLAIN_AND_TLS
async def test_an_upstream_that_is_lost_without_a_word(home: Home) -> None:
    """All that it said has arrived: the estimate is what was heard, to the token."""
    async with home.open() as place:
        async with place.connected(sim="drop_after_audio:5") as client:
            await answering(client)
            assert (await client.ended())[0] == 1006
        (entry,) = await place.over()
    assert (entry.estimated, entry.flags) == (True, ["upstream_lost"])
    assert_sane(entry, heard_tokens=spoken_tokens(client), more=0)
    assert ended(home) == (None, "upstream_lost")


@EVERY_LOOP
@PLAIN_AND_TLS
async def test_an_upstream_that_resets(home: Home) -> None:
    async with home.open() as place:
        async with place.connected(sim="abort_after_audio:50") as client:
            await answering(client)
            assert (await client.ended())[0] == 1006
        (entry,) = await place.over()
    assert entry.estimated
    assert_sane(entry, heard_tokens=spoken_tokens(client), more=0)
    assert ended(home) == (None, "upstream_lost")


@EVERY_LOOP
@PLAIN_AND_TLS
async def test_an_upstream_that_closes(home: Home) -> None:
    async with home.open() as place:
        async with place.connected(sim="close_after_audio:5") as client:
            await answering(client)
            assert await client.ended() == (1011, "server_error.internal_error")
        (entry,) = await place.over()
    assert (entry.estimated, entry.flags) == (True, ["upstream_lost"])
    assert_sane(entry, heard_tokens=spoken_tokens(client), more=0)
    assert ended(home) == (1011, "upstream_closed")


@pytest.mark.parametrize("sim", ["abort_before_done", "abort_after_done"])
async def test_an_upstream_that_resets_around_the_bill(home: Home, sim: str) -> None:
    """Billed if the bill was read, else estimated; never both."""
    async with home.open() as place:
        for _ in range(5):
            async with place.connected(sim=sim) as client:
                await answering(client, "Give me 10 words")
                await client.ended()
        booked = await place.over()
    assert len(booked) == 5
    if sim == "abort_before_done":
        assert all(entry.estimated for entry in booked)


async def test_an_upstream_that_dies(home: Home) -> None:
    async with home.open(**SLOW) as place:
        async with place.connected() as client:
            await answering(client)
            place.simulator.abort()
            assert (await client.ended())[0] == 1006
        (entry,) = await place.over()
    assert entry.estimated
    assert_sane(entry, heard_tokens=spoken_tokens(client), more=0)


async def test_a_session_that_expires(home: Home) -> None:
    async with home.open(**SLOW) as place:
        async with place.connected(sim="expire:1.5") as client:
            await answering(client)
            assert await client.ended() == (1001, "session_expired")
            assert client.of("error")[0]["error"]["code"] == "session_expired"
        (entry,) = await place.over()
    assert entry.estimated
    assert_sane(entry, heard_tokens=spoken_tokens(client), more=0)


# We end it


@EVERY_LOOP
@PLAIN_AND_TLS
async def test_a_restart_lets_a_response_finish(home: Home) -> None:
    async with home.open(**SLOW) as place:
        async with place.connected() as client:
            await answering(client, "Give me 20 words")
            draining = asyncio.ensure_future(place.app.gateway.drain())
            assert await client.ended() == (1012, "restarting, connect again")
            assert len(client.of("response.done")) == 1
        await draining
        assert only(await place.over()) == ("completed", False)
        first = place.app.journal.instance_id
    assert ended(home) == (1012, "drained")
    async with home.open() as place:  # the next start finds everything settled
        assert place.app.journal.instance_id == first
        assert only(await place.over()) == ("completed", False)


@EVERY_LOOP
@PLAIN_AND_TLS
async def test_a_restart_does_not_wait_for_ever(home: Home) -> None:
    """What is still speaking after `LINGER_S` is cancelled, and billed as it says."""
    async with home.open(linger_s=0.3, **SLOW) as place:
        async with place.connected() as client:
            await answering(client)
            draining = asyncio.ensure_future(place.app.gateway.drain())
            assert (await client.ended())[0] == 1012
        await draining
        assert only(await place.over()) == ("cancelled", False)


async def test_a_restart_with_an_upstream_that_is_silent(home: Home) -> None:
    async with home.open(linger_s=0.3, **SLOW) as place:
        async with place.connected(sim="mute_cancel") as client:
            await answering(client)
            draining = asyncio.ensure_future(place.app.gateway.drain())
            assert (await client.ended())[0] == 1012
        await draining
        assert only(await place.over()) == ("lost", True)


async def test_an_administrators_stop(home: Home) -> None:
    async with home.open(**SLOW) as place:
        async with place.connected() as client:
            await answering(client)
            assert client.connection.response is not None
            session_id = client.connection.response.headers["Talkmeter-Session"]
            assert place.app.gateway.stop(session_id, stopped("enough"))
            assert (await client.ended())[0] == 1008
            assert client.of("error")[0]["error"]["code"] == "session_stopped"
        assert only(await place.over()) == ("cancelled", False)
    assert ended(home) == (1008, "stopped")


# What is odd about a bill

ODD: dict[str, tuple[list[str], list[str]]] = {  # flags of the three turns, and of what comes besides
    "": ([], []),
    "duplicate_done": ([], []),
    "unknown_done": ([], ["never_opened"]),
    "omit_usage": (["usage_missing"], []),
    "null_usage": (["usage_missing"], []),
    "zero_usage": ([], []),
    "no_details": (["details_missing", "meter_unpriced"], []),
    "cached_without_details": (["cached_spread"], []),
    "totals_mismatch": (["totals_differ"], []),
    "obfuscation": ([], []),
    "fragment:700": ([], []),
    "fragment:900,obfuscation,duplicate_done": ([], []),
    "snapshot:2026-08-01": ([], []),
    "fail:server_error": (["usage_missing"], []),
    "content_filter": ([], []),
}


async def test_odd_bills(home: Home) -> None:
    """Three turns, the later ones cached in part: each booked once, flagged where something is amiss."""
    async with home.open() as place:
        told = await asyncio.gather(*(three_turns(place, sim) for sim in ODD))
        booked = await place.over()
    sessions = {session["upstream_session_id"]: sim for session, sim in zip(told, ODD, strict=True)}
    for session in told:
        own = [entry for entry in booked if entry.session == session["upstream_session_id"]]
        assert session["cost_nanousd"] == sum(entry.cost_nanousd or 0 for entry in own)
        assert session["responses"] == len(session["turns"]) == len(own)
    found: dict[str, list[list[str]]] = {}
    for entry in booked:
        assert not entry.estimated
        found.setdefault(sessions[str(entry.session)], []).append(list(entry.flags))
    found["cached_without_details"][0] = ["cached_spread"]  # nothing was cached in the first turn
    assert found == {sim: ([flags, extra] if extra else [flags]) * 3 for sim, (flags, extra) in ODD.items()}


async def three_turns(place: Place, sim: str) -> dict[str, Any]:
    """Return what an app is told of a session that has had three turns and still runs."""
    async with place.connected(sim=sim, check="usage" not in sim) as client:
        await client.configure(instructions="Be " + "very " * 100 + "brief.")
        for _ in range(3):
            await client.say("Give me 12 words")
            await client.respond()
        await client.configure()  # whatever came behind the last bill has come before the answer to this
        assert client.connection.response is not None
        status, told = await place.session(client.connection.response.headers["Talkmeter-Session"])
    assert (status, told["live"]) == (200, True)
    return told


@pytest.mark.parametrize("kind", ["zero", "null", "usage"])
async def test_a_cancel_before_any_output(home: Home, kind: str) -> None:
    async with home.open() as place:
        async with place.connected(sim=f"slow_response:5,early_cancel:{kind}", check=False) as client:
            await client.configure()
            await client.send("response.create")
            await client.until("response.created")
            await client.send("response.cancel")
            await client.until("response.done")
        (entry,) = await place.over()
    assert (entry.status, entry.estimated) == ("cancelled", False)
    assert (entry.cost_nanousd is None) == (kind == "null")


@pytest.mark.parametrize("sim", ["omit_transcription_usage", "fail_transcription"])
async def test_a_transcription_without_a_figure_is_unrated(home: Home, sim: str) -> None:
    async with home.open() as place:
        async with place.connected(sim=sim, check=False) as client:
            await client.configure(audio={"input": {"transcription": {"model": "gpt-4o-transcribe"}}})
            await client.speak(800)
            await client.send("input_audio_buffer.commit")
            kind = "failed" if sim.startswith("fail") else "completed"
            await client.until(f"conversation.item.input_audio_transcription.{kind}")
        (entry,) = await place.over()
    assert (entry.cost_nanousd, entry.flags) == (None, ["usage_missing"])


async def test_speaking_over_an_answer(home: Home) -> None:
    """Turn detection cancels what is said, and answers anew."""
    async with home.open(**SLOW) as place:
        async with place.connected() as client:
            await client.say(LONG)
            await client.send("response.create")
            await client.until("response.output_audio.delta")
            await client.speak(600, silent_ms=600)
            statuses = [(await client.until("response.done"))["response"]["status"] for _ in range(2)]
        booked = await place.over()
    assert statuses == ["cancelled", "completed"] == [entry.status for entry in booked]


async def test_many_things_at_once(home: Home) -> None:
    """Out-of-band responses beside the conversation's own, all open when the client leaves."""
    apart: dict[str, Any] = {"conversation": "none", "metadata": {"for": "us"}}
    async with home.open(**SLOW) as place:
        async with place.connected() as client:
            await answering(client)
            for _ in range(3):
                await client.send("response.create", response=apart)
            while len(client.of("response.created")) < 4:
                await client.next()
            reset(client.connection.transport)
        booked = await place.over()
    assert [entry.estimated for entry in booked] == [False] * 4


async def test_clients_that_close_in_the_middle_of_the_handshake(home: Home) -> None:
    """Dropped while the upstream is being dialled: no session, nothing booked, nothing left."""
    async with home.open() as place:
        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(_dial_and_drop(place))
        assert await place.over() == []


async def _dial_and_drop(place: Place) -> None:
    with pytest.raises((TimeoutError, ConnectionClosed)):
        async with asyncio.timeout(0.1), place.connected(sim="delay_handshake:0.3"):
            raise AssertionError("the handshake takes longer than this")

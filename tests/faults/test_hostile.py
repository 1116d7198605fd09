"""Clients that attack a running `talkmeter serve`: clear answers, bounded memory, others unaffected.

`TEST_UNKNOWN_KEYS` sets how many keys are guessed.
"""

import asyncio
import json
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text
from websockets.frames import Opcode

from proxy.store.database import open_database, reading
from proxy.store.keys import new_secret
from tests.e2e.place import Home, raw_peer
from tests.faults.checks import wrong
from tests.faults.instance import Instance, instance_of, started
from tests.faults.traffic import QUERY, Seen, crowd
from tests.relay.peers import Peer, frame, header, until, upgrade

MIB = 2**20
KEYS = int(os.environ.get("TEST_UNKNOWN_KEYS", "4000"))
GUESSERS = 100
GIB_HEADER = bytes([0x81, 0xFF]) + (2**30).to_bytes(8, "big") + b"mask"
# What a peer may cost while it is here: its largest message (16 MiB), a few times over.
MEMORY_MAX = 96 * MIB


@asynccontextmanager
async def under_attack(home: Home, seen: Seen) -> AsyncIterator[Instance]:
    """Run an instance with a few good clients; see afterwards that they never noticed anything."""
    async with (
        home.simulating(speed=300.0) as simulator,
        started(instance_of(home, upstream_url=simulator.url)) as instance,
    ):
        async with crowd(instance.url, home.secret, seen, random.Random(4), 3):
            await until(lambda: len(seen.billed) > 5)
            yield instance
            reached = len(seen.billed)
            await until(lambda: len(seen.billed) > reached + 5)
        await instance.stop()
    assert not seen.turned_away
    assert wrong(home.database_url, home.truths(), seen) == []
    assert not any(entry.estimated for entry in home.booked()), "a good client was cut off"


def assert_bounded(instance: Instance, before: int) -> None:
    """Check how far its memory rose at most since it was `before`."""
    rose = instance.memory_peak() - before
    print(f"memory: {before / MIB:.0f} MiB, at most {rose / MIB:.0f} more under attack")
    assert rose < MEMORY_MAX


async def attacker(instance: Instance, secret: str) -> Peer:
    """Return a client, with its session open, that talks byte by byte."""
    peer = await raw_peer(instance.settings.listen.port, None)
    peer.write(upgrade(f"/v1/realtime?{QUERY}", authorization=f"Bearer {secret}"))
    peer.head = (await peer.reader.readuntil(b"\r\n\r\n")).decode()
    assert " 101 " in peer.head
    assert (await peer.get()).json["type"] == "session.created"
    return peer


VIOLATIONS = {
    "reserved bits": (bytes([0xF1, 0x80]) + b"mask", 1002),
    "an unknown opcode": (bytes([0x83, 0x80]) + b"mask", 1002),
    "no mask": (frame("{}", mask=False), 1002),
    "a ping of 126 bytes": (bytes([0x89, 0xFE, 0, 126]) + b"mask", 1002),
    "a continuation of nothing": (frame("{}", opcode=Opcode.CONT, mask=True), 1002),
    "a length of 1 GiB": (GIB_HEADER, 1009),
    "a length of 2^63": (bytes([0x81, 0xFF]) + b"\xff" * 8 + b"mask", 1002),
    "text that is none": (frame(b'"\xff"', mask=True), 1007),
}


async def test_malformed_frames(home: Home) -> None:
    """Each ends its own session, with the code that says what was wrong."""
    async with under_attack(home, Seen()) as instance:
        before = instance.memory()
        for name, (data, code) in VIOLATIONS.items():
            peer = await attacker(instance, home.secret)
            peer.write(data)
            assert (await peer.get()).close[0] == code, name
            peer.reset()
        peers = [await attacker(instance, home.secret) for _ in range(50)]
        for peer in peers:
            peer.write(GIB_HEADER)
        assert {(await peer.get()).close[0] for peer in peers} == {1009}
        for peer in peers:
            peer.reset()
        assert_bounded(instance, before)


def _many(piece: str, size: int) -> str:
    return piece * (size // len(piece))


BOMBS = {
    "wide": '{"type":"session.update","a":[' + _many("[],", 12 * MIB) + "[]]}",
    "deep": '{"type":"session.update","a":' + _many("[", 2 * MIB),
    "deep and whole": '{"type":"x","a":' + "[" * 60_000 + "]" * 60_000 + "}",
    "many keys": "{" + ",".join(f'"k{n}":0' for n in range(700_000)) + "}",
    "one key twice": '{"type":"response.create","type":"session.update"}',
    "one key twice, inside": '{"type":"response.create","response":{"a":1,"a":2}}',
    "a number that is none": '{"type":"response.create","a":NaN}',
    "a list": "[" + _many("{},", 3 * MIB) + "{}]",
    "no JSON": _many("All work and no play. ", 8 * MIB),
}


async def test_json_bombs(home: Home) -> None:
    """Each is answered by an error event and not passed on; its session goes on."""
    async with under_attack(home, Seen()) as instance:
        before = instance.memory()
        for name, bomb in BOMBS.items():
            peer = await attacker(instance, home.secret)
            for _ in range(2):
                peer.say(bomb)
                error = (await peer.get()).json
                assert (error["type"], error["error"]["type"]) == ("error", "invalid_request_error"), name
                assert len(error["error"]["message"]) < 500
            peer.say({"type": "session.update", "session": {"type": "realtime", "instructions": "hi"}})
            assert (await peer.get()).json["type"] == "session.updated", name
            peer.reset()
        assert_bounded(instance, before)
        await until(lambda: instance.memory() - before < MEMORY_MAX // 2)


async def test_requests_that_are_none(home: Home) -> None:
    """Whatever arrives on the port is answered or dropped."""
    dice = random.Random(5)
    noise = [dice.randbytes(dice.randrange(1, 5_000)) for _ in range(50)]
    head = b"GET /v1/realtime HTTP/1.1\r\n"
    requests = [
        *noise,
        head + b"x: " + b"a" * MIB + b"\r\n\r\n",
        head + b"x: a\r\n" * 200_000 + b"\r\n",
        b"GET /" + b"a" * MIB + b" HTTP/1.1\r\n\r\n",
        b"POST /v1/realtime HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        head + f"authorization: Bearer {home.secret}\r\nbad line {home.secret}\r\n\r\n".encode(),
        head + f"authorization: Bearer {home.secret}\r\nx: a\0{home.secret}\r\n\r\n".encode(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500,  # TLS to a plain port
    ]
    async with under_attack(home, Seen()) as instance:
        before = instance.memory()
        for request in requests:
            peer = await raw_peer(instance.settings.listen.port, None)
            peer.write(request)
            peer.writer.write_eof()
            answer = await peer.end()
            assert not answer or answer.startswith((b"HTTP/1.0 4", b"HTTP/1.1 4")), answer[:100]
            assert len(answer) < 64 * 1024
            peer.reset()
        assert_bounded(instance, before)
        assert home.secret not in instance.said() and "Traceback" not in instance.said()


async def guess(instance: Instance, count: int, said: Counter[str]) -> None:
    """Try keys that nobody has, one behind the other on one connection."""
    peer = await raw_peer(instance.settings.listen.port, None)
    for _ in range(count):
        peer.write(upgrade(f"/v1/realtime?{QUERY}", authorization=f"Bearer {new_secret()}"))
        head = (await peer.reader.readuntil(b"\r\n\r\n")).decode()
        body = json.loads(await peer.reader.readexactly(int(header(head, "Content-Length"))))
        said[f"{head.split()[1]} {body['error']['code']}"] += 1
    peer.reset()


def transactions(home: Home) -> int:
    """Return how many transactions the home's database has seen."""
    engine = open_database(home.database_url)
    asked = text(
        "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
    )
    try:
        with reading(engine) as connection:
            return int(connection.execute(asked).scalar_one())
    finally:
        engine.dispose()


@pytest.mark.timeout(60 + KEYS // 100)
async def test_unknown_keys(postgres_home: Home) -> None:
    """They share looks at the database, ten a second whatever arrives; sessions do not notice."""
    seen, said = Seen(), Counter[str]()
    loop = asyncio.get_running_loop()
    async with under_attack(postgres_home, seen) as instance:
        before, talked = instance.memory(), len(seen.billed)
        began_at, had = loop.time(), transactions(postgres_home)
        await asyncio.gather(*(guess(instance, KEYS // GUESSERS, said) for _ in range(GUESSERS)))
        took_s, asked = loop.time() - began_at, transactions(postgres_home) - had
        print(
            f"{KEYS} unknown keys in {took_s:.1f} s: {asked} transactions,"
            f" {len(seen.billed) - talked} bills of {len(seen.sessions)} sessions meanwhile"
        )
        assert said == {"401 invalid_api_key": KEYS}
        assert_bounded(instance, before)
    # At most ten looks a second, each with the pool's ping before it, then poll, poster and pulse.
    assert asked < 200 + 100 * took_s
    assert asked < KEYS / 5

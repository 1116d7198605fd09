"""What is known by the look of the message before it is what a strict look says; all else gets that look."""

import json
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.core.events import Side
from proxy.dialects.bulk import ENVELOPE_BYTES_MAX, Recogniser, recogniser_for
from proxy.dialects.ear import Ear
from tests.dialects.test_bulk import (
    APPEND,
    BASE64,
    CLIENT_SPELLINGS,
    DELTA,
    DELTA_MEMBERS,
    NOT_BULK,
    UPSTREAM_SPELLINGS,
    UUID,
    compact,
    spaced,
)

SPELLINGS = {
    **{name: (Side.CLIENT, payload) for name, payload in CLIENT_SPELLINGS.items()},
    **{name: (Side.UPSTREAM, payload) for name, payload in UPSTREAM_SPELLINGS.items()},
}
# Two ids on one side of the audio, or one that could push the type out of sight: each is looked at.
ALWAYS_LOOKED_AT = {"audio first, event id last", "audio first, event id next", "obfuscation before"}


class Watched:
    """An ear, and how often it has looked strictly."""

    def __init__(self, side: Side) -> None:
        self.strict = recogniser_for(side)
        self.recogniser = Mock(Recogniser, wraps=self.strict)
        self.recogniser.ending, self.recogniser.member = self.strict.ending, self.strict.member
        self.ear = Ear(self.recogniser)

    @property
    def looks(self) -> int:
        return int(self.recogniser.find.call_count)

    def hears(self, payload: bytes) -> tuple[int, str | None] | None:
        """Return what it hears in the middle of other bytes."""
        chars = self.ear.chars(b"<<" + payload + b'">>', 2, 2 + len(payload))
        return None if chars < 0 else (chars, self.ear.response_id)

    def said(self, payload: bytes) -> tuple[int, str | None] | None:
        """Return what a strict look says."""
        audio = self.strict.whole(payload)
        return None if audio is None else (audio.chars, audio.response_id)

    def check(self, payload: bytes) -> None:
        heard, said = self.hears(payload), self.said(payload)
        assert heard == said, payload


@pytest.mark.parametrize("name", SPELLINGS)
def test_the_same_again_is_known_without_a_look(name: str) -> None:
    side, payload = SPELLINGS[name]
    one = Watched(side)
    for _ in range(3):
        assert one.said(payload) is not None
        one.check(payload)
    assert one.looks == (3 if name in ALWAYS_LOOKED_AT else 1)


CHANGES: dict[str, tuple[Side, bytes, bytes]] = {
    "other audio": (Side.CLIENT, spaced(type=APPEND, audio="AAAA"), spaced(type=APPEND, audio=BASE64)),
    "no audio": (Side.CLIENT, spaced(type=APPEND, audio="AAAA"), spaced(type=APPEND, audio="")),
    "another event id": (
        Side.UPSTREAM,
        compact(**DELTA_MEMBERS),
        compact(**DELTA_MEMBERS | {"event_id": "event_CCXHxcMy86rrKhBLDdqCi", "delta": "AAAA"}),
    ),
    "another UUID": (
        Side.CLIENT,
        spaced(event_id=UUID, type=APPEND, audio="AAAA"),
        spaced(event_id=UUID[::-1], type=APPEND, audio="A"),
    ),
    "another event id behind": (
        Side.CLIENT,
        compact(type=APPEND, audio=BASE64, event_id="event_1"),
        compact(type=APPEND, audio="AAAA", event_id="event_234"),
    ),
    "other padding": (
        Side.UPSTREAM,
        compact(**DELTA_MEMBERS, obfuscation="a"),
        compact(**DELTA_MEMBERS | {"event_id": "event_CCXHxcMy86rrKhBLDdqCi"}, obfuscation="bcd"),
    ),
}


@pytest.mark.parametrize(("side", "first", "second"), CHANGES.values(), ids=CHANGES)
def test_what_differs_between_messages_needs_no_look(side: Side, first: bytes, second: bytes) -> None:
    one = Watched(side)
    one.check(first)
    one.check(second)
    assert one.looks == 1


DOUBTS: dict[str, tuple[Side, bytes, bytes]] = {
    "another response": (
        Side.UPSTREAM,
        compact(**DELTA_MEMBERS),
        compact(**DELTA_MEMBERS | {"response_id": "resp_2"}),
    ),
    "a longer event id": (
        Side.UPSTREAM,
        compact(**DELTA_MEMBERS),
        compact(**DELTA_MEMBERS | {"event_id": "event_CCXHxcMy86rrKhBLDdqCijk"}),
    ),
    "no event id": (
        Side.CLIENT,
        compact(type=APPEND, audio=BASE64, event_id="event_1"),
        compact(type=APPEND, audio=BASE64, event_id=""),
    ),
    "an event id that is not plain": (
        Side.CLIENT,
        compact(event_id="event_1", type=APPEND, audio=BASE64),
        compact(event_id="event 1", type=APPEND, audio=BASE64),
    ),
    "two ids on one side": (
        Side.UPSTREAM,
        compact(obfuscation="xK2", **DELTA_MEMBERS),
        compact(obfuscation="xK3", **DELTA_MEMBERS),
    ),
    "an id that stands there twice": (
        Side.UPSTREAM,
        compact(**DELTA_MEMBERS | {"event_id": "same_id", "item_id": "same_id"}),
        compact(**DELTA_MEMBERS | {"event_id": "same_ie", "item_id": "same_id"}),
    ),
    "an id as short as the name of the audio": (
        Side.CLIENT,
        compact(event_id="event", type=APPEND, audio=BASE64),
        compact(event_id="audio", type=APPEND, audio=BASE64),
    ),
    "a type that padding pushes out of sight": (
        Side.UPSTREAM,
        compact(delta=BASE64, obfuscation="a", type=DELTA),
        compact(delta=BASE64, obfuscation="a" * 300, type=DELTA),
    ),
    "too much padding": (
        Side.UPSTREAM,
        compact(**DELTA_MEMBERS, obfuscation="a"),
        compact(**DELTA_MEMBERS, obfuscation="a" * ENVELOPE_BYTES_MAX),
    ),
    "a backslash in the audio": (
        Side.CLIENT,
        compact(type=APPEND, audio="AAAA"),
        rb'{"type":"input_audio_buffer.append","audio":"AA\/A"}',
    ),
    "a quote in the audio": (
        Side.CLIENT,
        compact(type=APPEND, audio="AAAA"),
        compact(type=APPEND, audio="AAAA")[:-2] + b'","type":"response.create"}',
    ),
    "cut": (Side.CLIENT, compact(type=APPEND, audio="AAAA"), compact(type=APPEND, audio="AAAA")[:-1]),
    "more behind": (Side.CLIENT, compact(type=APPEND, audio="AAAA"), compact(type=APPEND, audio="A") + b"}"),
}


@pytest.mark.parametrize(("side", "first", "second"), DOUBTS.values(), ids=DOUBTS)
def test_anything_else_gets_a_strict_look(side: Side, first: bytes, second: bytes) -> None:
    one = Watched(side)
    one.check(first)
    assert one.looks == 1
    one.check(second)
    assert one.looks == 2


@pytest.mark.parametrize(("side", "payload"), SPELLINGS.values(), ids=SPELLINGS)
def test_what_is_in_doubt_is_not_heard_whatever_came_before(side: Side, payload: bytes) -> None:
    for other in NOT_BULK.values():
        one = Watched(side)
        one.check(payload)
        one.check(other)
        one.check(payload)


def test_it_hears_nothing_that_reaches_beyond_its_message() -> None:
    payload = compact(type=APPEND, audio="AAAA")
    for end in range(len(payload)):
        one = Watched(Side.CLIENT)
        one.check(payload)
        assert one.ear.chars(payload * 2, 0, end) == -1


def test_a_response_is_remembered_with_its_look() -> None:
    one = Watched(Side.UPSTREAM)
    for response_id in ("resp_1", "resp_2", "resp_2", "resp_1"):
        assert one.hears(compact(**DELTA_MEMBERS | {"response_id": response_id})) == (
            len(BASE64),
            response_id,
        )
    assert one.hears(compact(type=DELTA, delta="AAAA")) == (4, None)


# Whatever is said, in whatever order: an ear says what a strict look says.

TEXTS = st.one_of(
    st.sampled_from(["audio", "delta", "a", "b", "event_1", "event_2", UUID, "é", " ", "x" * 150, APPEND]),
    st.text("ab-_", max_size=4),
)


@st.composite
def messages(draw: st.DrawFn, side: Side) -> bytes:
    """A message with the members of bulk audio in some order, often bulk."""
    names = ["event_id", "obfuscation", "response_id", "item_id"]
    members: list[tuple[str, Any]] = [("type", APPEND if side is Side.CLIENT else DELTA)]
    members.append(("audio" if side is Side.CLIENT else "delta", "A" * draw(st.integers(0, 9))))
    members += [(name, draw(TEXTS)) for name in draw(st.lists(st.sampled_from(names), max_size=3))]
    members += draw(st.sampled_from([[], [("output_index", 0)]]))
    order = draw(st.permutations(members)) if draw(st.booleans()) else members
    comma, colon = draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    text = comma.join(
        f"{json.dumps(name)}{colon}{json.dumps(value, ensure_ascii=False)}" for name, value in order
    )
    return f"{{{text}}}".encode()


def mutations(draw: st.DrawFn, payload: bytes) -> Iterator[bytes]:
    """Yield what may follow `payload`: itself with a few bytes changed, put in or taken out."""
    for _ in range(draw(st.integers(1, 4))):
        changed = bytearray(payload)
        for _ in range(draw(st.integers(0, 3))):
            at = draw(st.integers(0, len(changed)))
            end = min(at + draw(st.integers(0, 2)), len(changed))
            changed[at:end] = draw(
                st.one_of(
                    st.binary(max_size=2),
                    st.sampled_from([b'"', b"\\", b",", b"}", b"A", b"_", b'","type":"x', b"\x00", b"\xff"]),
                )
            )
        yield bytes(changed)


@st.composite
def talks(draw: st.DrawFn) -> tuple[Side, list[bytes]]:
    side = draw(st.sampled_from(Side))
    said = []
    for payload in draw(st.lists(messages(side), min_size=1, max_size=4)):
        said += [payload, *mutations(draw, payload)]
    return side, said


@given(talks())
@example((Side.CLIENT, [compact(event_id="event", type=APPEND, audio="A"), b'{"event_id":"audio"']))
def test_an_ear_says_what_a_strict_look_says(talk: tuple[Side, list[bytes]]) -> None:
    side, said = talk
    one = Watched(side)
    for payload in said:
        one.check(payload)

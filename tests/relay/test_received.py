"""Received bytes come out as they went in, and wait until there are enough."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.relay.received import Received


def test_one_piece_is_not_copied() -> None:
    received, data = Received(), b"some bytes"
    received.feed(data)
    assert received.fill()
    assert received.data is data


def test_a_part_keeps_at_most_twice_its_size_in_memory() -> None:
    received, data = Received(), bytes(range(100))
    received.feed(data)
    for begin, end in ((0, 100), (0, 50), (40, 100), (0, 49), (90, 100), (7, 7)):
        received.pos = end
        part = received.since(begin)
        assert part == data[begin:end]
        whole = part.obj if isinstance(part, memoryview) else part
        assert len(whole) <= 2 * (end - begin)  # type: ignore[arg-type]
    received.pos = 100
    assert received.since(0) is data and isinstance(received.since(1), memoryview)


def test_waits_for_as_much_as_is_needed() -> None:
    received = Received()
    received.feed(b"ab")
    assert received.fill()
    received.pos, received.need = 1, 3
    assert not received.fill()
    received.feed(b"c")
    assert not received.fill()
    received.feed(b"d")
    assert received.fill()
    assert (received.data, received.pos, received.need, len(received)) == (b"bcd", 0, 0, 3)


def test_lets_go_of_what_was_scanned() -> None:
    received = Received()
    received.feed(b"x" * 1000)
    received.pos = 1000
    assert not received.fill()
    assert received.data == b""
    received.feed(b"abc")
    received.clear()
    assert not len(received)
    assert not received.fill()


def test_what_follows_a_completed_piece_stays_where_it_is() -> None:
    received, behind = Received(), b"cd" + b"x" * 100
    assert received.feed(b"ab")
    received.need = 4
    assert received.feed(behind)
    assert received.fill()
    assert (received.data, received.pos, len(received)) == (b"abcd", 0, 104)
    received.pos = 4
    assert received.fill()
    assert received.data is behind
    assert received.data[received.pos :] == b"x" * 100


def test_feeding_tells_whether_there_is_enough() -> None:
    received = Received()
    assert received.feed(b"ab")
    assert received.fill()
    received.need = 5
    assert [received.feed(piece) for piece in (b"c", b"d", b"e", b"f")] == [False, False, True, True]
    assert received.fill()
    assert (received.data, len(received)) == (b"abcde", 6)


@given(st.lists(st.tuples(st.binary(max_size=20), st.integers(0, 30), st.integers(0, 40))))
def test_nothing_is_lost_and_nothing_comes_twice(rounds: list[tuple[bytes, int, int]]) -> None:
    received, taken = Received(), b""
    for data, step, need in rounds:
        received.feed(data)
        if not received.fill():
            continue
        end = min(len(received.data), received.pos + step)
        taken += received.data[received.pos : end]
        received.pos, received.need = end, need
    received.need = 0
    while received.fill():
        taken += received.data[received.pos :]
        received.pos = len(received.data)
    assert taken == b"".join(data for data, _, _ in rounds)

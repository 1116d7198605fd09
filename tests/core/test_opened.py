"""What is open, and what has to leave when it is too much."""

from proxy.core.opened import OPEN_MAX, Opened
from proxy.core.rating import Terms
from proxy.core.subjects import Response, State, Transcription
from tests.core.scripts import START


def response(name: str) -> Response:
    return Response(name, None, START, Terms(None), {}, 48_000)


def test_without_an_id_the_only_open_response_is_meant() -> None:
    opened = Opened()
    assert opened.find(None) is None
    opened.add(response("r1"))
    assert opened.find(None) is opened.find("r1") is not None
    opened.add(response("r2"))
    assert opened.find(None) is None
    assert opened.find("r3") is None


def test_responses_that_moved_are_told_once() -> None:
    opened = Opened()
    opened.add(response("r1"))
    assert [r.id for r in opened.moved] == ["r1"]
    assert opened.moved == []
    opened.responses["r1"].text_chars += 1
    assert [r.id for r in opened.moved] == ["r1"]


def test_a_doomed_response_is_open_and_not_running() -> None:
    opened = Opened()
    opened.add(response("r1"))
    opened.responses["r1"].state = State.DOOMED
    assert opened
    assert opened.running == []


def test_the_oldest_leaves_when_there_are_too_many() -> None:
    opened = Opened()
    left = [gone for n in range(OPEN_MAX + 1) for gone in opened.add(response(f"r{n}"))]
    left += [
        gone
        for n in range(OPEN_MAX + 1)
        for gone in opened.add(Transcription(f"i{n}", None, START, Terms(None), 0))
    ]
    assert [getattr(one, "id", None) or getattr(one, "item_id", None) for one in left] == ["r0", "i0"]
    assert len(opened.clear()) == 2 * OPEN_MAX
    assert not opened

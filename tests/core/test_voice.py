"""A conversation as it is listened to: scripts of events, each with its second, and what they show."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from proxy.core import events
from proxy.core.events import Event, Side
from proxy.core.opened import OPEN_MAX, Opened
from proxy.core.rating import Terms
from proxy.core.subjects import Response, State
from proxy.core.voice import (
    ITEMS_MAX,
    TELLING,
    Answered,
    FirstAudio,
    Interrupted,
    Observation,
    Spoken,
    Unheard,
    Voice,
)
from tests.core.scripts import CHARS_PER_MS, Play

NOW = datetime(2026, 11, 1, tzinfo=UTC)
BYTES_PER_S = 48_000
FREE = Terms(None, None)


@dataclass
class Listener:
    """A voice under test, and what a session would keep for it."""

    opened: Opened = field(default_factory=Opened)
    seen: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.voice = Voice(self.opened)

    def run(self, script: str) -> "Listener":
        """Play `script`: seconds, side and event of each line, and what it should show."""
        for line in filter(None, (line.split("#")[0].strip() for line in script.splitlines())):
            said, _, expected = line.partition("->")
            at, side, name, *words = said.split()
            shown = " ".join(spell(one) for one in self.step(float(at), Side(side), name, words))
            assert shown == expected.strip(), f"{line}\n  shown: {shown}"
            self.seen.append(shown)
        return self

    def step(self, now_s: float, side: Side, name: str, words: list[str]) -> list[Observation]:
        first = words[0] if words else ""
        if name == "audio":
            if response := self.opened.find(first):
                response.audio_chars += int(words[1]) * CHARS_PER_MS
            return list(self.voice.heard(first, now_s))
        if name == "doomed":
            self.opened.responses[first].state = State.DOOMED
            return []
        shown = list(self.voice.see(side, event(name, words), now_s))
        if name == "started":  # the session receives it afterwards
            self.opened.add(Response(first, "talk", NOW, FREE, {}, BYTES_PER_S, "oob" in words))
        elif name == "done":
            self.opened.responses.pop(first, None)
        return shown


def event(name: str, words: list[str]) -> Event:
    first = words[0] if words else ""
    match name:
        case "speech":
            return events.SpeechHeard(end_ms=900) if first == "stopped" else events.SpeechHeard(start_ms=100)
        case "commit":
            return events.CommitAsked()
        case "ask":
            return events.ResponseAsked(out_of_band="oob" in words)
        case "timed_out":
            return events.InputTimedOut("item_0")
        case "started":
            return events.ResponseStarted(first, out_of_band="oob" in words)
        case "item":
            return events.OutputItemAdded(first, words[1])
        case "text":
            return events.ResponseText(first, 10)
        case "odd_audio":
            return events.ResponseAudio(first, 100)
        case "done":
            return events.ResponseEnded(first or None, "cancelled", words[1] if words[1:] else None, None)
        case "truncate":
            return events.TruncateAsked(first, int(words[1]))
        case "gone":
            return events.Gone("lost")
        case "linger_passed":
            return events.LingerPassed()
    raise AssertionError(f"no event {name}")


def spell(one: Observation) -> str:
    """Return how a script writes what was observed."""
    match one:
        case FirstAudio("talk", seconds):
            return f"first:{seconds:g}"
        case Answered("talk", seconds):
            return f"answered:{seconds:g}"
        case Spoken("talk", ms):
            return f"spoken:{ms}"
        case Unheard("talk", ms):
            return f"unheard:{ms}"
        case Interrupted("talk"):
            return "interrupted"
    raise AssertionError(f"no script can expect {one}")


# How soon it answers


def test_a_wait_begins_when_speech_has_stopped() -> None:
    Listener().run("""
        1.0  upstream speech started  ->
        3.0  upstream speech stopped  ->
        3.2  upstream started r1      ->
        3.4  upstream text r1         ->
        3.75 upstream audio r1 100    -> first:0.75
        3.8  upstream audio r1 100    ->
        6.2  upstream done r1         -> answered:3 spoken:200
    """)


def test_a_wait_begins_when_the_client_asks() -> None:
    """The last of a commit and a request, which for most apps is one moment."""
    Listener().run("""
        1.0 client   commit       ->
        1.5 client   ask          ->
        2.0 upstream started r1   ->
        2.5 upstream audio r1 100 -> first:1
        3.0 upstream done r1      -> answered:1 spoken:100
        4.0 client   commit       ->
        4.5 upstream started r2   ->
        4.5 upstream audio r2 100 -> first:0.5
    """)


def test_an_answer_that_we_have_cancelled_is_heard_by_nobody() -> None:
    """A budget said no, or the client is gone. What is on its way still comes, and is paid."""
    Listener().run("""
        1.0 client   ask          ->
        1.2 upstream started r1   ->
        1.2 upstream doomed r1    ->
        1.5 upstream audio r1 100 ->
        1.6 upstream done r1      -> answered:0.4 spoken:100
    """)


def test_an_answer_of_text_has_no_first_audio() -> None:
    """It is neither counted nor shown as something odd; and nobody waits any longer afterwards."""
    Listener().run("""
        1 client   ask          ->
        2 upstream started r1   ->
        3 upstream text r1      ->
        4 upstream done r1      -> answered:2
        9 upstream started r2   ->
        9 upstream audio r2 100 ->
    """)


def test_an_answer_that_nobody_waited_for_is_not_timed() -> None:
    Listener().run("""
        1  client   ask            ->
        2  upstream timed_out      ->   # the request was refused, then nobody said anything
        10 upstream started r1     ->
        11 upstream audio r1 100   ->
        12 upstream done r1        -> answered:2 spoken:100
    """)


def test_what_is_asked_beside_the_conversation_takes_nobodys_turn() -> None:
    Listener().run("""
        1 upstream speech stopped ->
        2 client   ask oob        ->
        3 upstream started r1 oob ->
        4 upstream started r2     ->
        5 upstream audio r1 100   ->
        6 upstream audio r2 100   -> first:5
    """)


def test_audio_in_an_unusual_spelling_is_audio() -> None:
    Listener().run("""
        1 client   ask          ->
        2 upstream started r1   ->
        3 upstream odd_audio r1 -> first:2
        4 upstream odd_audio r1 ->
    """)


def test_without_an_id_the_only_response_is_meant() -> None:
    listener = Listener().run("""
        1 client   ask        ->
        2 upstream started r1 ->
    """)
    assert listener.voice.heard(None, 3.0) == (FirstAudio("talk", 2.0),)
    assert listener.voice.see(Side.UPSTREAM, events.ResponseEnded(None, "completed", None, None), 4.0) == [
        Answered("talk", 2.0)
    ]


# Who breaks in, and what nobody hears


def test_speech_that_ends_a_response_interrupts_it() -> None:
    Listener().run("""
        1.0 client   ask                     ->
        1.0 upstream started r1              ->
        1.0 upstream item r1 i1              ->
        1.5 upstream audio r1 3000           -> first:0.5
        2.0 upstream speech started          ->
        2.1 upstream done r1 turn_detected   -> answered:1.1 spoken:3000 interrupted
        2.2 client   truncate i1 500         -> unheard:2500
        2.3 client   truncate i1 500         ->   # it says so again
        2.4 client   truncate i1 400         -> unheard:100
        2.5 client   truncate i1 900         ->   # it was less already
    """)


def test_an_item_truncated_while_it_is_spoken_is_settled_at_the_end() -> None:
    """Audio that was on its way then is paid for, and heard as little."""
    Listener().run("""
        1 upstream started r1           ->
        1 upstream item r1 i1           ->
        1 upstream audio r1 1000        ->
        2 client   truncate i1 800      ->
        2 upstream audio r1 500         ->
        3 upstream done r1              -> answered:2 spoken:1500 unheard:700 interrupted
    """)


def test_a_response_is_interrupted_once() -> None:
    Listener().run("""
        1 upstream started r1               ->
        1 upstream item r1 i1               ->
        1 upstream audio r1 1000            ->
        2 client   truncate i1 800          ->
        3 upstream done r1 turn_detected    -> answered:2 spoken:1000 unheard:200 interrupted
    """)


def test_what_was_played_whole_was_not_interrupted() -> None:
    Listener().run("""
        1 upstream started r1         ->
        1 upstream item r1 i1         ->
        1 upstream audio r1 1000      ->
        2 upstream done r1            -> answered:1 spoken:1000
        3 client   truncate i1 1000   ->
        3 client   truncate i1 60000  ->
        3 client   truncate i9 0      ->   # nobody knows that one
    """)


def test_each_item_has_its_own_audio() -> None:
    """A model that says something before it calls a tool, and something afterwards."""
    Listener().run("""
        1 upstream started r1         ->
        1 upstream item r1 i1         ->
        1 upstream audio r1 1000      ->
        2 upstream item r1 i2         ->
        2 upstream audio r1 2000      ->
        3 upstream done r1            -> answered:2 spoken:3000
        4 client   truncate i2 500    -> unheard:1500 interrupted
        5 client   truncate i1 0      -> unheard:1000
    """)


# Endings


def test_what_was_spoken_counts_if_the_end_is_never_seen() -> None:
    for last in ("upstream gone", "client linger_passed"):
        Listener().run(f"""
            1 upstream started r1       ->
            1 upstream item r1 i1       ->
            1 upstream audio r1 1000    ->
            2 client   truncate i1 900  ->
            3 client   gone             ->
            4 {last}                    -> spoken:1000 unheard:100 interrupted
            5 upstream done r1          ->
        """)


def test_what_it_keeps_is_bounded() -> None:
    listener = Listener()
    voice = listener.voice
    for number in range(OPEN_MAX + 5):
        voice.see(Side.UPSTREAM, events.ResponseStarted(f"r{number}"), 1.0)
    assert len(voice._answers) == OPEN_MAX
    listener.run("1 upstream started r ->")
    for number in range(50):
        listener.step(1.0, Side.UPSTREAM, "item", ["r", f"i{number}"])
    (answer,) = (one for key, one in voice._answers.items() if key == "r")
    assert len(voice._items) == len(answer.items) == ITEMS_MAX


def test_nothing_is_made_of_what_nobody_opened() -> None:
    Listener().run("""
        1 upstream item r1 i1        ->
        1 upstream audio r1 100      ->
        1 upstream done r1           ->
        1 upstream started r1        ->
        1 upstream started r1        ->
    """)
    assert Listener().voice.see(Side.CLIENT, events.Other(), 1.0) == ()
    assert events.Other not in TELLING


# In its session


def test_a_session_tells_of_the_first_audio_and_of_none_before() -> None:
    """Text comes first, and is looked at for its cost; the first audio is looked at all the same."""
    play = Play().run("""
        client   ask              -> forward
        upstream started r1       -> open:r1 forward
        upstream text r1 chars=90 -> forward
    """)
    assert play.session.hear(Side.UPSTREAM, 10 * CHARS_PER_MS, "r1")
    play.receive(Side.UPSTREAM, events.CostLook("r1"))
    assert not play.session.hear(Side.UPSTREAM, 10 * CHARS_PER_MS, "r1")
    (response,) = play.session.voice._opened.responses.values()
    assert response.state is State.RUNNING


# Whatever comes, in whatever order

IDS = st.sampled_from(["r1", "r2", "r3"])
ITEMS = st.sampled_from(["i1", "i2", "i3", "i4"])
MS = st.integers(0, 60_000).map(str)
STEPS = st.one_of(
    st.tuples(st.sampled_from(["speech stopped", "speech", "commit", "ask", "ask oob", "timed_out"])),
    st.tuples(st.just("started"), IDS),
    st.tuples(st.just("started"), IDS, st.just("oob")),
    st.tuples(st.just("item"), IDS, ITEMS),
    st.tuples(st.sampled_from(["audio"]), IDS, MS),
    st.tuples(st.sampled_from(["odd_audio", "text", "doomed"]), IDS),
    st.tuples(st.just("done"), IDS),
    st.tuples(st.just("done"), IDS, st.just("turn_detected")),
    st.tuples(st.just("truncate"), ITEMS, MS),
    st.tuples(st.sampled_from(["gone", "linger_passed"])),
)


@given(st.lists(st.tuples(st.sampled_from(Side), STEPS), max_size=60))
def test_no_order_breaks_it_or_leaves_more_unheard_than_was_spoken(
    steps: list[tuple[Side, tuple[str, ...]]],
) -> None:
    """It looks at a bill before that is on disk: if it broke, the bill would be lost with the session."""
    listener, shown = Listener(), list[Observation]()
    for now_s, (side, words) in enumerate(steps):
        name, *rest = " ".join(words).split()
        if name == "doomed" and rest[0] not in listener.opened.responses:
            continue
        if name == "started" and rest[0] in listener.opened.responses:
            continue  # a session refuses a second response of that name
        shown += listener.step(float(now_s), side, name, rest)
    spoken = sum(one.ms for one in shown if isinstance(one, Spoken))
    unheard = [one.ms for one in shown if isinstance(one, Unheard)]
    assert sum(unheard) <= spoken and all(ms > 0 for ms in unheard)
    assert all(one.seconds >= 0 for one in shown if isinstance(one, FirstAudio | Answered))

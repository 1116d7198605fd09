"""Laws that hold for sessions in whatever order, number and shape messages come."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.core.budgets import OnExhausted
from proxy.core.subjects import Response
from proxy.core.usage import INPUT_METERS, OUTPUT_METERS
from tests.core.accounts import account
from tests.core.scripts import Play

IDS = st.sampled_from(["r1", "r2", "r3"])
ITEMS = st.sampled_from(["i1", "i2"])
TOKENS = st.integers(0, 500)


@st.composite
def lines(draw: st.DrawFn) -> str:
    """A line of a script, from either side, sensible or not."""
    response, item = draw(IDS), draw(ITEMS)
    return draw(
        st.sampled_from(
            [
                "client ask",
                "client ask e1",
                f"client hear ms={draw(TOKENS) * 10}",
                "client gone",
                "client stop",
                "client unreadable",
                "client item chars=400 images=1",
                f"upstream started {response}",
                f"upstream started {response} oob",
                f"upstream hear {response} ms={draw(TOKENS) * 10}",
                f"upstream text {response} chars={draw(TOKENS)}",
                f"upstream done {response} in={draw(TOKENS)} a={draw(TOKENS)} cached={draw(TOKENS)}",
                f"upstream done {response} status=cancelled",
                f"upstream done in={draw(TOKENS)}",
                "upstream configured created vad hear=hear id=sess_1",
                "upstream configured model=talk",
                "upstream configured model=unheard_of",
                f"upstream committed {item}",
                f"upstream transcribed {item} s={draw(TOKENS)}",
                f"upstream transcription_failed {item}",
                "upstream error for=e1",
                "upstream error for=tm_2",
                "upstream other",
                "wait 4",
            ]
        )
    )


SCRIPTS = st.lists(lines(), max_size=40)
POLICIES = st.sampled_from([OnExhausted.BLOCK, OnExhausted.CUT])
BUDGETS = st.one_of(st.none(), st.tuples(st.integers(0, 5_000), POLICIES))


def play(script: list[str], budget: tuple[int, OnExhausted] | None) -> tuple[Play, list[list[str]]]:
    accounts = [] if budget is None else [account(*budget)]
    played = Play(accounts)
    steps = [played.step(line.split()) for line in script]
    steps.append(played.step(["upstream", "gone"]))
    steps.append(played.perform(played.session.close(played.now, None, "upstream_lost")))
    return played, steps


@example(["upstream done r2 in=0", "upstream done r2 in=1", "upstream done r2 in=1"], None)
@given(SCRIPTS, BUDGETS)
def test_every_opened_thing_has_an_entry_and_no_entry_is_booked_twice(
    script: list[str], budget: tuple[int, OnExhausted] | None
) -> None:
    played, _ = play(script, budget)
    booked = [(entry.entry_key, entry.digest) for entry in played.entries]
    assert len(booked) == len(set(booked))
    # The session id is told in mid-script in some, so subjects are compared by their own ids.
    entries = {(entry.kind, entry.subject_id.split(":")[0]) for entry in played.entries}
    assert {(opened.kind, opened.subject_id) for opened in played.opened} <= entries
    assert played.session.is_settled


@given(SCRIPTS, BUDGETS)
def test_what_the_session_cost_is_what_its_first_entries_say(
    script: list[str], budget: tuple[int, OnExhausted] | None
) -> None:
    played, _ = play(script, budget)
    first = {(entry.kind, entry.subject_id): entry for entry in reversed(played.entries)}
    assert played.session.cost_nanousd == sum(entry.cost_nanousd or 0 for entry in first.values())


@given(SCRIPTS, st.tuples(st.integers(0, 5_000), POLICIES))
def test_an_account_has_spent_what_was_booked_and_holds_nothing_in_the_end(
    script: list[str], budget: tuple[int, OnExhausted]
) -> None:
    played, _ = play(script, budget)
    assert played.state()["held"] == 0
    first = {(entry.kind, entry.subject_id): entry for entry in reversed(played.entries)}
    assert budget[0] - played.state()["free"] == sum(entry.charged_nanousd for entry in first.values())


@given(SCRIPTS, BUDGETS)
def test_a_message_is_forwarded_or_dropped_once_and_after_its_bill_is_journalled(
    script: list[str], budget: tuple[int, OnExhausted] | None
) -> None:
    _, steps = play(script, budget)
    for line, happened in zip(script, steps, strict=False):
        fate = [word for word in happened if word in ("forward", "drop")]
        if line.split()[1] in ("hear", "gone", "stop", "4"):
            assert not fate, line
        else:
            assert len(fate) == 1, line
            before = happened[: happened.index(fate[0])]
            assert not [
                word for word in happened if word.startswith(("entry", "open")) and word not in before
            ]


@given(SCRIPTS, BUDGETS)
def test_entries_sum_their_lines_and_count_what_was_reported(
    script: list[str], budget: tuple[int, OnExhausted] | None
) -> None:
    for entry in play(script, budget)[0].entries:
        assert len({line.meter for line in entry.lines}) == len(entry.lines)
        assert {line.meter for line in entry.lines} <= INPUT_METERS | OUTPUT_METERS | {"duration_ms"}
        if entry.cost_nanousd is not None:
            assert entry.cost_nanousd == sum(line.cost_nanousd or 0 for line in entry.lines)


@given(SCRIPTS)
def test_nothing_reaches_a_client_after_the_last_word(script: list[str]) -> None:
    """After the cut, or once it is gone, nothing is forwarded to a client any more."""
    played, deaf = Play(), False
    for line in script:
        happened = played.step(line.split())
        if deaf and line.startswith("upstream"):
            assert "forward" not in happened
        deaf = deaf or line == "client gone" or "close:1008" in happened


SPEECH = st.lists(
    st.one_of(
        st.integers(1, 200).map("upstream hear r1 ms={}".format),
        st.integers(1, 1_500).map("upstream hear r1 ms={}".format),
        st.integers(1, 300).map("upstream text r1 chars={}".format),
        st.sampled_from(["upstream started r2", "upstream hear r2 ms=500"]),
    ),
    max_size=60,
)


@given(SPEECH, BUDGETS)
@example(["upstream hear r1 ms=50"] * 60, (1_000, OnExhausted.CUT))
@example(
    ["upstream hear r1 ms=1", "upstream text r1 chars=300", "upstream hear r1 ms=1"], (500, OnExhausted.CUT)
)
def test_looking_at_a_cost_only_when_it_can_matter_changes_nothing(
    speech: list[str], budget: tuple[int, OnExhausted] | None
) -> None:
    accounts = [] if budget is None else [[account(*budget)] for _ in range(2)]
    usual, careful = (Play(one) for one in accounts or ([], []))
    for line in ["upstream started r1", *speech]:
        happened = usual.step(line.split())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Response, "look_again", lambda *figures: None)  # so every piece is looked at
            assert (happened, usual.state()) == (careful.step(line.split()), careful.state())

"""Every limit just below, at and above; what counts as idle and as the user; the sliding minute."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.commands import Explain
from proxy.core.limits import MINUTE_S, NO_LIMITS, LimitName, Limits, SlidingMinute, Unit, narrowest
from tests.core.scripts import START, Play
from tests.core.test_session_properties import SCRIPTS

OVER = "error:session_limit_exceeded close:1008"


def why(play: Play) -> str:
    """Return the name of the refusal that a session was cut for."""
    last = play.sent[-1]
    assert isinstance(last, Explain)
    return last.refusal.name


def test_session_seconds() -> None:
    play = Play(limits=Limits(session_s=60)).run(f"""
        upstream started r1   -> open:r1 forward
        wait 59.9             -> progress:r1=None
        wait 0.1              -> cancel:r1 {OVER}
        wait 1                ->
        upstream done r1 in=5 -> entry:r1=5 drop | settled
    """)
    assert why(play) == "limit_session_seconds"


def test_session_seconds_pass_though_nothing_is_open() -> None:
    play = Play(limits=Limits(session_s=0.5))
    assert play.session.wants_ticks and not Play().session.wants_ticks
    play.run(f"wait 0.5 -> {OVER}")
    Play(limits=Limits(session_s=0.5)).run("""
        client gone ->
        wait 1      -> | settled
    """)


def test_idle_seconds() -> None:
    play = Play(limits=Limits(idle_s=10)).run(f"""
        wait 9.9         ->
        client   item    -> forward
        wait 9           ->
        client   ask     -> forward
        wait 9           ->
        client   commit  -> forward
        wait 9           ->
        upstream committed i1 -> forward
        client   hear ms=9000 ->
        wait 9.9         ->
        wait 0.1         -> {OVER}
    """)
    assert why(play) == "limit_idle_seconds"


def test_who_speaks_is_not_idle_and_neither_is_a_session_whose_model_answers() -> None:
    Play(limits=Limits(idle_s=10)).run(f"""
        upstream speech from=0  -> forward
        wait 60                 ->
        upstream speech to=9000 -> forward
        wait 9                  ->
        upstream started r1     -> open:r1 forward
        wait 60                 -> progress:r1=None
        upstream done r1 in=1   -> entry:r1=1 forward
        wait 9                  ->
        wait 1                  -> {OVER}
    """)


def test_an_answer_is_over_when_it_has_been_spoken() -> None:
    """It comes faster than anybody listens; one that was interrupted is over at once."""
    Play(limits=Limits(idle_s=10)).run(f"""
        upstream started r1      -> open:r1 forward
        upstream hear r1 ms=9000 ->
        upstream done r1 in=1    -> entry:r1=1 forward
        wait 18                  ->
        wait 1                   -> {OVER}
    """)
    Play(limits=Limits(idle_s=10)).run(f"""
        upstream started r1      -> open:r1 forward
        upstream hear r1 ms=9000 ->
        upstream done r1 in=1 status=cancelled -> entry:r1=1 forward
        wait 9                   ->
        wait 1                   -> {OVER}
    """)


@pytest.mark.parametrize(("limit", "cut"), [(199, True), (200, True), (201, False)])
def test_session_cost_when_it_is_billed(limit: int, cut: bool) -> None:
    play = Play(limits=Limits(session_cost_nanousd=limit)).run(f"""
        upstream started r1          -> open:r1 forward
        upstream done r1 in=100 a=10 -> entry:r1=200 forward {OVER if cut else ""}
    """)
    assert not cut or why(play) == "limit_session_cost"


def test_session_cost_while_it_is_spoken() -> None:
    """What is booked and what runs, together; looked at once a second."""
    Play(limits=Limits(session_cost_nanousd=400)).run(f"""
        upstream done r0 in=200 oob -> entry:r0=200 forward
        upstream started r1         -> open:r1 forward
        upstream hear r1 ms=950     ->
        wait 1                      -> progress:r1=190
        upstream hear r1 ms=50      ->
        wait 1                      -> progress:r1=200 cancel:r1 {OVER}
    """)


def test_session_cost_counts_transcriptions() -> None:
    Play(limits=Limits(session_cost_nanousd=2_000)).run(f"""
        upstream configured created hear=hear -> bound forward
        upstream committed i1                 -> open:i1 forward
        upstream transcribed i1 s=1.999       -> entry:i1:0=1999 forward
        upstream committed i2                 -> open:i2 forward
        upstream transcribed i2 s=0.001       -> entry:i2:0=1 forward {OVER}
    """)


def test_minute_cost_forgets_what_is_older() -> None:
    play = Play(limits=Limits(minute_cost_nanousd=100)).run(f"""
        upstream done r1 in=99 -> entry:r1=99 forward
        wait 60                ->
        upstream done r2 in=99 -> entry:r2=99 forward
        wait 59                ->
        upstream done r3 in=1  -> entry:r3=1 forward {OVER}
    """)
    assert why(play) == "limit_minute_cost"


def test_minute_cost_takes_an_estimate_back_when_the_bill_is_smaller() -> None:
    Play(limits=Limits(minute_cost_nanousd=200)).run(f"""
        upstream started r1      -> open:r1 forward
        upstream hear r1 ms=900  ->
        wait 1                   -> progress:r1=180
        upstream done r1 in=0 a=1 -> entry:r1=10 forward
        upstream done r2 in=189  -> entry:r2=189 forward
        upstream done r3 in=1    -> entry:r3=1 forward {OVER}
    """)


def test_a_minute_begins_when_its_limit_is_set() -> None:
    """What a long session has cost before was not spent within the last minute."""
    play = Play().run("upstream done r1 in=500 -> entry:r1=500 forward")
    play.session.limits.limits = Limits(minute_cost_nanousd=100)
    play.run(f"""
        wait 1                 ->
        upstream done r2 in=99 -> entry:r2=99 forward
        upstream done r3 in=1  -> entry:r3=1 forward {OVER}
    """)


def test_responses() -> None:
    play = Play(limits=Limits(responses=2)).run(f"""
        client   ask          -> forward
        upstream started r1   -> open:r1 forward
        upstream started r1   -> forward
        upstream done r1 in=1 -> entry:r1=1 forward
        client   ask          -> forward
        upstream started r2   -> open:r2 forward
        upstream started r3   -> open:r3 drop cancel:r2 cancel:r3 {OVER}
        upstream done r3 in=1 -> entry:r3=1 drop | unsettled
        upstream done r2 in=1 -> entry:r2=1 drop | settled
    """)
    assert why(play) == "limit_responses"


def test_a_request_beyond_the_responses_is_dropped() -> None:
    Play(limits=Limits(responses=1)).run(f"""
        upstream started r1   -> open:r1 forward
        upstream done r1 in=1 -> entry:r1=1 forward
        client   ask e1       -> drop {OVER} | settled
        client   ask e2       -> drop
    """)


def loop(play: Play, times: int) -> None:
    """Let the model call a tool and answer again."""
    for n in range(times):
        play.run(f"""
            client   item         -> forward
            client   ask          -> forward
            upstream started t{n} -> open:t{n} forward
            upstream done t{n} in=0 -> entry:t{n}=0 forward
        """)


def test_self_talk() -> None:
    play = Play(limits=Limits(self_talk=3))
    loop(play, 3)
    play.run(f"""
        client item -> forward   # the output of a function is not from the user
        client ask  -> drop {OVER}
    """)
    assert why(play) == "limit_self_talk"


def test_self_talk_that_the_upstream_starts() -> None:
    play = Play(limits=Limits(self_talk=1))
    loop(play, 1)
    play.run(f"upstream started r1 -> open:r1 drop cancel:r1 {OVER}")


@pytest.mark.parametrize(
    "heard",
    [
        "client item user -> forward",
        "client commit -> forward",
        "upstream speech from=0 -> forward",
        "upstream committed i1 -> forward",
    ],
)
def test_what_is_from_the_user(heard: str) -> None:
    play = Play(limits=Limits(self_talk=1))
    loop(play, 1)
    play.run(heard)
    play.run("""
        client   ask        -> forward
        upstream started r1 -> open:r1 forward
    """)


def test_a_message_of_the_user_can_come_with_the_request() -> None:
    play = Play(limits=Limits(self_talk=1))
    loop(play, 1)
    play.run("client ask e1 user -> forward")


def test_input_tokens_before_they_are_spent() -> None:
    limits = Limits(input_tokens=100)
    Play(limits=limits).run("""
        client   item chars=400 -> forward
        client   ask            -> forward
        upstream started r1     -> open:r1 forward
    """)
    play = Play(limits=limits).run(f"""
        client   item chars=401 -> forward
        client   ask oob        -> forward
        client   ask            -> drop {OVER}
    """)
    assert why(play) == "limit_input_tokens"
    Play(limits=limits).run(f"""
        client   item chars=401 -> forward
        upstream started r1     -> open:r1 drop cancel:r1 {OVER}
    """)


@pytest.mark.parametrize(("tokens", "cut"), [(99, ""), (100, ""), (101, OVER)])
def test_input_tokens_as_they_are_billed(tokens: int, cut: str) -> None:
    Play(limits=Limits(input_tokens=100)).run(f"""
        upstream started r1          -> open:r1 forward
        upstream done r1 in={tokens} -> entry:r1={tokens} forward {cut}
    """)


def test_input_that_got_shorter_is_judged_by_its_bill() -> None:
    """What a deletion or a truncation has taken away is not known: the app that prunes is not cut for it."""
    play = Play(limits=Limits(input_tokens=1_000)).run(f"""
        upstream started r1                -> open:r1 forward
        upstream done r1 in=900 t=50       -> entry:r1=1150 forward
        client   item chars=300            -> forward
        client   ask out oob               -> forward
        upstream context_cut               -> forward
        client   ask                       -> forward
        upstream started r2                -> open:r2 forward
        upstream done r2 in=800            -> entry:r2=800 forward
        client   item chars=900            -> forward
        client   ask                       -> drop {OVER}
    """)
    assert why(play) == "limit_input_tokens"


def test_input_that_was_thrown_away_counts_for_nothing() -> None:
    Play(limits=Limits(input_tokens=300)).run("""
        client   hear ms=60000  -> 
        upstream cleared        -> forward
        client   hear ms=1000   ->
        upstream committed i1   -> forward
        client   ask            -> forward
    """)


def test_instructions_that_grow_later_count_too() -> None:
    play = Play(limits=Limits(input_tokens=1_000)).run(f"""
        client   update chars=400   -> forward
        upstream started r1         -> open:r1 forward
        upstream done r1 in=100     -> entry:r1=100 forward
        client   update chars=3600  -> forward
        client   ask                -> forward
        upstream error              -> forward
        client   update chars=4400  -> forward
        client   ask                -> drop {OVER}
    """)
    assert why(play) == "limit_input_tokens"


def test_silence_that_turn_detection_commits_is_nobody_talking() -> None:
    play = Play(limits=Limits(self_talk=2)).run(f"""
        upstream timed_out i1 from=0 to=6000 -> forward
        upstream committed i1   -> forward
        upstream started r1     -> open:r1 forward
        upstream done r1 in=1   -> entry:r1=1 forward
        upstream timed_out i2 from=9000 to=15000 -> forward
        upstream committed i2   -> forward
        upstream started r2     -> open:r2 forward
        upstream done r2 in=1   -> entry:r2=1 forward
        upstream timed_out i3   -> forward
        upstream committed i3   -> forward
        upstream started r3     -> open:r3 drop cancel:r3 {OVER}
    """)
    assert why(play) == "limit_self_talk"
    Play(limits=Limits(idle_s=10)).run(f"""
        wait 6                  ->
        upstream timed_out i1   -> forward
        upstream committed i1   -> forward
        wait 4                  -> {OVER}
    """)


def test_speech_that_was_thrown_away_is_over() -> None:
    Play(limits=Limits(idle_s=10)).run(f"""
        upstream speech from=0  -> forward
        wait 60                 ->
        upstream cleared        -> forward
        wait 9                  ->
        wait 1                  -> {OVER}
    """)


def test_what_has_no_price_costs_the_dearest() -> None:
    """A limit on the cost is no limit if a model without a card passes it."""
    play = Play(model="unheard_of", limits=Limits(session_cost_nanousd=1_000)).run(f"""
        upstream started r1             -> open:r1 forward
        upstream done r1 in=500         -> entry:r1=? forward
        upstream started r2             -> open:r2 forward
        upstream done r2 in=500         -> entry:r2=? forward {OVER}
    """)
    assert play.session.till.cost_nanousd == 0


def test_a_cost_limit_that_is_lowered_below_what_is_spent_refuses_the_next_one() -> None:
    play = Play().run("""
        upstream started r1             -> open:r1 forward
        upstream done r1 in=500         -> entry:r1=500 forward
    """)
    play.session.limits.limits = Limits(session_cost_nanousd=100)
    play.run(f"client ask -> drop {OVER}")
    assert why(play) == "limit_session_cost"


def test_a_limit_that_is_set_meanwhile_counts_what_was_before() -> None:
    play = Play().run("upstream started r1 -> open:r1 forward")
    play.session.limits.limits = Limits(responses=1)
    play.run(f"client ask -> drop cancel:r1 {OVER}")


def test_limits_by_name() -> None:
    values = {"session_seconds": 1_500, "minute_cost": 5, "sessions": 3, "what a newer version knows": 7}
    assert Limits.of(values) == Limits(session_s=1.5, minute_cost_nanousd=5, sessions=3)
    assert Limits.of({}) == NO_LIMITS
    assert Limits.of(dict.fromkeys(LimitName, 1_000)) == Limits(1, 1, *[1_000] * 7)


def test_the_narrowest_of_a_tenants_and_a_keys() -> None:
    tenant, key = Limits(session_s=60, responses=5, sessions=10), Limits(session_s=90, responses=3, idle_s=7)
    assert narrowest(tenant, key) == Limits(session_s=60, idle_s=7, responses=3, sessions=10)
    assert narrowest(tenant, NO_LIMITS) is tenant
    assert narrowest(NO_LIMITS, key) == key


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        (LimitName.SESSION_SECONDS, 600_000, "600 s"),
        (LimitName.IDLE_SECONDS, 1_500, "1.5 s"),
        (LimitName.SESSION_COST, 500_000_000, "$0.50"),
        (LimitName.MINUTE_COST, 12_345_678_901, "$12.345678901"),
        (LimitName.RESPONSES, 3, "3"),
    ],
)
def test_figures(name: LimitName, value: int, shown: str) -> None:
    assert name.figure(value) == shown
    assert shown in name.refusal(value).message and name in name.refusal(value).message


@pytest.mark.parametrize("name", LimitName)
def test_every_limit_has_its_refusal(name: LimitName) -> None:
    refusal = name.refusal(1_000)
    at_the_door = name in (LimitName.SESSIONS, LimitName.SESSIONS_PER_MINUTE)
    assert refusal.name == f"limit_{name}"
    assert refusal.http_status == (429 if at_the_door else 403)
    assert refusal.type == ("rate_limit_error" if at_the_door else "insufficient_quota")
    assert at_the_door or refusal.code == "session_limit_exceeded"
    assert name.unit in Unit


RUNAWAY = st.builds(
    Limits,
    session_s=st.none() | st.floats(1, 60),
    idle_s=st.none() | st.floats(1, 20),
    session_cost_nanousd=st.none() | st.integers(1, 3_000),
    minute_cost_nanousd=st.none() | st.integers(1, 3_000),
    responses=st.none() | st.integers(1, 4),
    self_talk=st.none() | st.integers(1, 4),
    input_tokens=st.none() | st.integers(1, 500),
)


@given(SCRIPTS, RUNAWAY)
def test_whatever_happens_a_session_is_cut_once_and_everything_is_booked(
    script: list[str], limits: Limits
) -> None:
    play = Play(limits=limits)
    steps = [play.step(line.split()) for line in script]
    steps.append(play.step(["upstream", "gone"]))
    done = [word for step in steps for word in step]
    assert done.count("close:1008") <= 1
    closed_at = next((n for n, step in enumerate(steps) if "close:1008" in step), len(steps))
    for line, step in list(zip(script, steps, strict=False))[closed_at + 1 :]:
        assert "forward" not in step or line.startswith("client"), "the client was told goodbye"
    booked = {entry.subject_id.split(":")[0] for entry in play.entries}
    assert {opened.subject_id for opened in play.opened} <= booked
    assert play.session.is_settled


STEPS = st.lists(st.tuples(st.floats(0, 40), st.integers(-500, 500)), max_size=60)


@given(STEPS)
def test_the_sliding_minute_is_what_a_list_of_everything_says(steps: list[tuple[float, int]]) -> None:
    minute, everything, now = SlidingMinute(), [], START
    for wait, amount in steps:
        now += timedelta(seconds=wait)
        minute.add(amount, now)
        everything.append((int(now.timestamp()), amount))
        last = int(now.timestamp())
        assert minute.total(now) == sum(n for at, n in everything if last - MINUTE_S < at <= last)
        assert len(minute._buckets) <= MINUTE_S


def test_a_clock_that_goes_back_costs_nothing() -> None:
    minute = SlidingMinute()
    minute.add(5, START)
    minute.add(7, START - timedelta(hours=1))
    assert minute.total(START) == 12

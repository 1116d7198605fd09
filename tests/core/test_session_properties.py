"""Laws that hold for sessions in whatever order, number and shape messages come."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.core.allowance import Account, Allowance
from proxy.core.budgets import OnExhausted, Scope
from proxy.core.events import Side
from proxy.core.farewell import RESERVE
from proxy.core.subjects import Response
from proxy.core.usage import INPUT_METERS, OUTPUT_METERS
from tests.core.accounts import account
from tests.core.scripts import MARKED, Play

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
                "client ask e2 oob chars=40 ms=3000 images=1",
                f"client hear ms={draw(TOKENS) * 10}",
                "client gone",
                "client stop",
                "client unreadable",
                "client item chars=400 images=1",
                f"upstream started {response}",
                f"upstream started {response} oob",
                f"upstream started {response} rate=8000",
                f"upstream hear {response} ms={draw(TOKENS) * 10}",
                f"upstream text {response} chars={draw(TOKENS)}",
                f"upstream done {response} in={draw(TOKENS)} a={draw(TOKENS)} cached={draw(TOKENS)}",
                f"upstream done {response} status=cancelled",
                f"upstream done in={draw(TOKENS)}",
                "upstream configured created vad hear=hear id=sess_1",
                "upstream configured model=talk",
                "upstream configured model=unheard_of",
                f"upstream committed {item}",
                f"upstream timed_out {item} from=0 to={draw(TOKENS)}",
                "upstream cleared",
                "upstream context_cut",
                f"upstream transcribed {item} s={draw(TOKENS)}",
                f"upstream transcription_failed {item}",
                "upstream error for=e1",
                "upstream error for=tm_2",
                "upstream error for=tm_3 code=conversation_already_has_active_response",
                "upstream other",
                "wait 4",
            ]
        )
    )


SCRIPTS = st.lists(lines(), max_size=40)
POLICIES = st.sampled_from([OnExhausted.BLOCK, OnExhausted.CUT, OnExhausted.WRAP_UP])

# A reserve grows with every word that is said; `wrap_up` may be up to a look late to notice.
LOOKED_AT = st.sampled_from([OnExhausted.BLOCK, OnExhausted.CUT])


@dataclass(frozen=True)
class Budget:
    """A budget with so much at hand, and whether more can be asked for."""

    free: int
    policy: OnExhausted = OnExhausted.CUT
    leased: bool = False
    scope: Scope = Scope.TENANT


SCOPES = st.sampled_from([Scope.TENANT, Scope.ORGANISATION])
BUDGETS = st.lists(st.builds(Budget, st.integers(0, 5_000), POLICIES, st.booleans(), SCOPES), max_size=2)
ANSWERS = st.builds(
    "bank gives {} {}".format,
    st.one_of(st.just(0), st.integers(0, 1_000)),
    st.sampled_from(["client", "upstream", ""]),
)
BANKED = st.lists(st.one_of(lines(), lines(), ANSWERS), max_size=50)
CHANGES = st.one_of(
    st.lists(st.integers(0, 2_000), max_size=2).map(lambda free: " ".join(["budgets", *map(str, free)])),
    st.integers(0, 2_000).map("rolls {}".format),
    st.sampled_from(["upstream linger_passed", "upstream gone"]),
)
CHANGING = st.lists(st.one_of(lines(), lines(), lines(), ANSWERS, CHANGES), max_size=50)


@dataclass
class Run:
    """A script as two lanes play it: what a side says queues behind what it has asked for.

    What is no message of a side, like a client that leaves, comes at once. `log` has what happened in its
    order, `led` every line with all that it led to, what followed an answer included.
    """

    played: Play
    log: list[tuple[str, list[str]]] = field(default_factory=list)
    led: list[tuple[str, list[str]]] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)  # all that there ever were
    given: dict[int, int] = field(default_factory=dict)  # to each of them, by its place among them
    _waiting: list[tuple[Side, list[str]]] = field(default_factory=list)
    _queues: dict[Side, deque[str]] = field(default_factory=lambda: {side: deque() for side in Side})
    _deaf: set[Side] = field(default_factory=set)  # whose lanes take nothing any more

    def __post_init__(self) -> None:
        self._notice()

    def run(self, script: Sequence[str]) -> "Run":
        """Play `script` to the end of both sides; what was asked is answered before that."""
        for line in script:
            self.line(line)
            self.check()
        while self.played.asked:
            self.line("bank refuses")
            self.check()
        self.line("upstream gone")
        self.line("client gone")
        self.led.append(("close", self._close()))
        self.check()
        return self

    def line(self, line: str) -> None:
        word, what = line.split()[:2] if " " in line else (line, "")
        if word == "bank":
            self._answer(line)
        elif word not in ("client", "upstream") or what in ("gone", "stop", "linger_passed"):
            self._play(line)
        elif Side(word) not in self._deaf:
            self._queues[Side(word)].append(line)
            self._drain(Side(word))

    def _answer(self, line: str) -> None:
        side = next((one for one in Side if one.value in line), None)
        asked = [one for one in self.played.asked if side in (None, one[0])]
        if not asked:
            return
        at = self.played.asked.index(asked[0])
        side, led = self._waiting.pop(at)
        amount = int(line.split()[2]) if "gives" in line else 0
        for need in asked[0][1].needs:
            self.given[self.accounts.index(need.account)] += amount
        led += self._step(line, led)
        self._drain(side)

    def _drain(self, side: Side) -> None:
        queue = self._queues[side]
        while queue and side not in self._deaf and not any(one is side for one, _ in self._waiting):
            self._play(queue.popleft())

    def _play(self, line: str) -> None:
        led: list[str] = []
        self.led.append((line, led))
        led += self._step(line, led)

    def _step(self, line: str, led: list[str]) -> list[str]:
        before = len(self.played.asked) - line.startswith("bank")
        happened = self.played.step(line.split())
        self.log.append((line, happened))
        if line == "client gone" or "close:1008" in happened:
            self._deaf.add(Side.CLIENT)
        if line == "upstream gone":
            self._deaf.add(Side.UPSTREAM)
        self._waiting += [(side, led) for side, _ in self.played.asked[before:]]
        self._notice()
        return [word for word in happened if not word.startswith("ask:")]

    def _close(self) -> list[str]:
        closing = self.played.session.close(self.played.now, None, "upstream_lost")
        return self.played.perform(Side.UPSTREAM, closing)

    def _notice(self) -> None:
        for one in self.played.allowance.accounts:
            if one not in self.accounts:
                self.given[len(self.accounts)] = one.leased_nanousd
                self.accounts.append(one)

    def check(self) -> None:
        """Money is free, held or spent, and what is held is held by somebody."""
        holds = self.played.allowance.holds.values()
        for at, one in enumerate(self.accounts):
            assert one.held_nanousd == sum(hold.amounts[one.basis] for hold in holds if one in hold.accounts)
            assert one.free_nanousd + one.held_nanousd + one.used_nanousd == self.given[at]

    @property
    def messages(self) -> Iterator[tuple[str, list[str]]]:
        """Yield the messages of either side, and what each led to."""
        for line, led in self.led:
            if line.startswith(("client ", "upstream ")) and line.split()[1] not in NO_MESSAGES:
                yield line, led


NO_MESSAGES = ("hear", "gone", "stop", "linger_passed")


def play(script: Sequence[str], budgets: Sequence[Budget]) -> Run:
    """Play `script` for a tenant whose bill is not what we are charged."""
    accounts = [
        account(one.free, one.policy, name=f"b{n}", leased=one.leased, scope=one.scope)
        for n, one in enumerate(budgets)
    ]
    return Run(Play(accounts, cards=MARKED)).run(script)


@example(["upstream done r2 in=0", "upstream done r2 in=1", "upstream done r2 in=1"], [])
@given(CHANGING, BUDGETS)
def test_every_opened_thing_has_an_entry_and_no_entry_is_booked_twice(
    script: list[str], budgets: list[Budget]
) -> None:
    played = play(script, budgets).played
    booked = [(entry.entry_key, entry.digest) for entry in played.entries]
    assert len(booked) == len(set(booked))
    # The session id is told in mid-script in some, so subjects are compared by their own ids.
    entries = {(entry.kind, entry.subject_id.split(":")[0]) for entry in played.entries}
    assert {(opened.kind, opened.subject_id) for opened in played.opened} <= entries
    first = [(entry.kind, entry.subject_id) for entry in played.entries if entry.counts]
    assert len(first) == len(set(first))
    assert played.session.is_settled


@given(CHANGING, BUDGETS)
def test_what_the_session_cost_is_what_its_first_entries_say(
    script: list[str], budgets: list[Budget]
) -> None:
    played = play(script, budgets).played
    first = {(entry.kind, entry.subject_id): entry for entry in reversed(played.entries)}
    assert played.session.till.cost_nanousd == sum(entry.cost_nanousd or 0 for entry in first.values())


@given(CHANGING, BUDGETS)
def test_in_the_end_only_the_reserve_is_held_and_leaving_gives_it_back(
    script: list[str], budgets: list[Budget]
) -> None:
    run = play(script, budgets)
    allowance = run.played.allowance
    assert set(allowance.holds) <= {RESERVE}
    for key in list(allowance.holds):
        allowance.void(key)
    run.check()
    assert all(one.held_nanousd == 0 for one in run.accounts)


@given(BANKED, BUDGETS)
def test_an_account_has_spent_what_was_booked(script: list[str], budgets: list[Budget]) -> None:
    run = play(script, budgets)
    first = {(entry.kind, entry.subject_id): entry for entry in reversed(run.played.entries)}
    unposted = [one for charges in run.played.allowance.unposted.values() for _, one in charges]
    for one in run.accounts:
        assert one.used_nanousd == sum(entry.charged[one.basis] for entry in first.values())
        assert one.unposted_nanousd == (sum(each[one.basis] for each in unposted) if one.is_leased else 0)


@given(CHANGING, BUDGETS)
def test_a_message_is_forwarded_or_dropped_once_and_after_its_bill_is_journalled(
    script: list[str], budgets: list[Budget]
) -> None:
    run = play(script, budgets)
    for line, led in run.led:
        fate = [word for word in led if word in ("forward", "drop")]
        assert len(fate) == ((line, led) in list(run.messages)), line
        after = led[led.index(fate[0]) :] if fate else []
        assert not [word for word in after if word.startswith(("entry", "open"))]


@example(["client ask", "client gone", "bank gives 500 client"], [Budget(0, leased=True)])
@given(CHANGING, BUDGETS)
def test_a_client_is_told_once_and_hears_nothing_after_the_last_word(
    script: list[str], budgets: list[Budget]
) -> None:
    """Nor does a client that is gone; and what it had asked for is not asked of the upstream any more."""
    deaf = False
    for line, happened in play(script, budgets).log:
        if deaf:
            assert not [word for word in happened if word in ("forward", "remark", "close:1008")], line
            assert not [word for word in happened if word.startswith(("answer", "error"))], line
        deaf = deaf or line == "client gone" or "close:1008" in happened


@given(BANKED, BUDGETS)
def test_entries_sum_their_lines_and_count_what_was_reported(
    script: list[str], budgets: list[Budget]
) -> None:
    for entry in play(script, budgets).played.entries:
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


@given(SPEECH, st.one_of(st.none(), st.tuples(st.integers(0, 5_000), LOOKED_AT)))
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
            patch.setattr(Response, "look_again", lambda *figures: None)  # so every piece is looked at,
            patch.setattr(Allowance, "add", lambda *amounts: False)  # and no hold grows the usual way
            assert (happened, usual.state()) == (careful.step(line.split()), careful.state())

"""Whole conversations as text: one line an event, what it must lead to, and the state after it.

    client   ask e1              -> forward                       | held 400
    upstream started r1          -> open:r1 forward
    upstream done r1 in=100 a=40 -> entry:r1=500 forward          | settled

A command is written `open:ID`, `entry:ID=COST` (`~` before the cost: estimated, `?` instead: unrated),
`progress:ID=COST`, `bound`, `forward`, `drop`, `cancel:ID`, `error:CODE@CAUSE`, `close:CODE`,
`cut:ID=ESTIMATE` for the record of a cut, `remark` and `answer:TOKENS` for what asks for last words, and
`ask:NEED` where more money is asked for: a line that begins with `bank` says what the answer is, `gives N`
or `refuses`, to what was asked first, or first by the side that stands there. `budgets FREE…` puts the
session under other accounts, of new budgets, and `rolls FREE` begins new windows of those it has. After a
bar stand any of `held N`, `free N`, `settled`, `unsettled`, `cost N`. Prices are chosen for mental
arithmetic, in nano-dollars a token: all input 1, text output 5, audio output 10 (so a hold's two seconds of
speech are 400), and transcription 1 a millisecond.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from proxy.core import events, refusal
from proxy.core.allowance import Account, Allowance
from proxy.core.commands import (
    Answer,
    Ask,
    Cancel,
    Close,
    Command,
    Drop,
    Explain,
    Forward,
    Journal,
    Message,
    Remark,
    Send,
)
from proxy.core.events import Event, Side
from proxy.core.limits import NO_LIMITS, Limits
from proxy.core.models import ALL_MODELS, ModelRules
from proxy.core.rating import CardBook, Markup, Price, RateCard
from proxy.core.records import (
    BudgetCut,
    Entry,
    Progress,
    SessionBound,
    SessionClosed,
    SessionOpened,
    SubjectOpened,
)
from proxy.core.session import Session
from proxy.core.usage import INPUT_METERS, Meter, ReportedSeconds, ReportedTokens
from tests.core.accounts import account

START = datetime(2026, 11, 1, 12, tzinfo=UTC)
CHARS_PER_MS = 64  # base64 characters of 24 kHz PCM

PRICES = {meter: Price(1) for meter in INPUT_METERS - {Meter.UNTOLD_IN}} | {
    Meter.TEXT_OUT: Price(5),
    Meter.AUDIO_OUT: Price(10),
}
SINCE = datetime(2020, 1, 1, tzinfo=UTC)
PUBLIC_CARDS = (
    RateCard("card_talk", "openai", "talk", SINCE, PRICES),
    RateCard("card_hear", "openai", "hear", SINCE, {Meter.DURATION_MS: Price(60_000, 60_000)}),
)
CARDS = CardBook(PUBLIC_CARDS)
# The same for a tenant who pays a half more, and for speech a price of its own.
MARKED = CardBook(
    [
        *PUBLIC_CARDS,
        RateCard("card_agreed", "openai", "talk", SINCE, {Meter.AUDIO_OUT: Price(7)}, owner="t_1"),
    ],
    markups=[Markup("t_1", SINCE, 5_000)],
)


def facts(model: str | None = "talk") -> SessionOpened:
    """Return what is known of a session when it opens."""
    return SessionOpened(
        session_id="s_1",
        tenant_id="t_1",
        project_id=None,
        api_key_id="k_1",
        end_user=None,
        tags={},
        provider="openai",
        account=None,
        model=model,
        opened_at=START,
    )


@dataclass
class Play:
    """A session under test, the clock, and everything it has journalled."""

    accounts: Sequence[Account] = ()
    model: str | None = "talk"
    now: datetime = START
    limits: Limits = NO_LIMITS
    models: ModelRules = ALL_MODELS
    cards: CardBook = CARDS
    entries: list[Entry] = field(default_factory=list)
    opened: list[SubjectOpened] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)
    sent: list[Message] = field(default_factory=list)
    cuts: list[BudgetCut] = field(default_factory=list)
    asked: list[tuple[Side, Ask]] = field(default_factory=list)  # and not answered yet

    def __post_init__(self) -> None:
        self.allowance = Allowance(self.accounts)
        self.session = Session(facts(self.model), self.cards, self.allowance)
        self.session.limits.limits = self.limits
        self.session.limits.model_refusal = self.models.refusal
        self.perform(Side.UPSTREAM, self.session.open())

    def run(self, script: str) -> "Play":
        """Play `script`; a failed line is shown as it should be beside what happened."""
        for line in filter(None, (line.split("#")[0].strip() for line in script.splitlines())):
            said, _, wanted = line.partition("->")
            expected, _, state = wanted.partition("|")
            happened = " ".join(self.step(said.split()))
            assert happened == " ".join(expected.split()).replace("–", ""), f"{line}\n  happened: {happened}"
            for fact in filter(None, (part.strip() for part in state.split(","))):
                self.check(fact, line)
        return self

    def step(self, words: list[str]) -> list[str]:
        side_word, *rest = words
        if side_word == "bank":
            given = int(rest[1]) if rest[0] == "gives" else None
            return self.answer(given, next((one for one in Side if one.value in rest), None))
        if side_word == "budgets":
            self.allowance.enclose([account(int(free), name=f"new {free}") for free in rest])
            return self.receive(Side.UPSTREAM, events.BudgetsChanged())
        if side_word == "rolls":
            self.allowance.enclose([rolled(one, int(rest[0])) for one in self.allowance.accounts])
            return self.receive(Side.UPSTREAM, events.BudgetsChanged())
        if side_word == "wait":
            self.now += timedelta(seconds=float(rest[0]))
            return self.receive(Side.UPSTREAM, events.Tick())
        side = Side(side_word)
        named = dict(word.split("=", 1) for word in rest[1:] if "=" in word)
        plain = [word for word in rest[1:] if "=" not in word]
        if rest[0] == "hear":
            chars = int(named["ms"]) * CHARS_PER_MS
            response_id = plain[0] if plain else None
            due = self.session.hear(side, chars, response_id)
            return self.receive(side, events.CostLook(response_id)) if due else []
        return self.receive(side, event(rest[0], plain, named))

    def receive(self, side: Side, event: Event, *, is_refused: bool = False) -> list[str]:
        return self.perform(side, self.session.receive(side, event, self.now, is_refused=is_refused))

    def answer(self, given: int | None, side: Side | None = None) -> list[str]:
        """Let an `Ask` be answered: so much for each account that needs it, or no."""
        found = next(one for one in self.asked if side in (None, one[0]))
        self.asked.remove(found)
        for need in found[1].needs:
            need.account.leased_nanousd += given or 0
        return self.receive(found[0], found[1].again, is_refused=given is None)

    def perform(self, side: Side, commands: Sequence[Command]) -> list[str]:
        for command in commands:
            match command:
                case Journal(Entry() as entry):
                    self.entries.append(entry)
                case Journal(SubjectOpened() as opened):
                    self.opened.append(opened)
                case Journal(Progress() as progress):
                    self.progress.append(progress)
                case Send(_, message):
                    self.sent.append(message)
                case Journal(BudgetCut() as cut):
                    self.cuts.append(cut)
                case Ask():
                    self.asked.append((side, command))
        return [name for name in map(spell, commands) if name]

    def check(self, fact: str, line: str) -> None:
        word, _, number = fact.partition(" ")
        actual = self.state()[word]
        assert actual == (int(number) if number else True), f"{line}\n  {word} is {actual}"

    def state(self) -> dict[str, int]:
        return {
            "held": sum(hold.amounts.billed_nanousd for hold in self.allowance.holds.values()),
            "free": self.allowance.accounts[0].free_nanousd if self.allowance.accounts else 0,
            "settled": self.session.is_settled,
            "unsettled": not self.session.is_settled,
            "cost": self.session.till.cost_nanousd,
        }


def rolled(before: Account, free: int) -> Account:
    """Return the account of the window that follows."""
    pot = replace(before.pot, starts_at=before.pot.starts_at + timedelta(days=1))
    return Account(before.budget, pot, is_leased=before.is_leased, leased_nanousd=free, limit_nanousd=free)


def event(name: str, plain: list[str], named: dict[str, str]) -> Event:
    """Return the event that a line of a script stands for."""
    number = {key: int(value) for key, value in named.items() if value.lstrip("-").isdigit()}
    first = plain[0] if plain else None
    match name:
        case "ask":
            return events.ResponseAsked(
                first,
                "oob" in plain,
                text_chars=number.get("chars", 0),
                audio_chars=number.get("ms", 0) * CHARS_PER_MS,
                images=number.get("images", 0),
                from_user="user" in plain,
            )
        case "started":
            return events.ResponseStarted(
                str(first), out_of_band="oob" in plain, bytes_per_s=number.get("rate")
            )
        case "text":
            return events.ResponseText(str(first), number["chars"])
        case "done":
            return events.ResponseEnded(
                first, named.get("status", "completed"), None, usage(named, number), "oob" in plain
            )
        case "committed":
            return events.InputCommitted(named_item(first))
        case "commit":
            return events.CommitAsked()
        case "speech":
            return events.SpeechHeard(number.get("from"), number.get("to"))
        case "timed_out":
            return events.InputTimedOut(named_item(first), number.get("from"), number.get("to"))
        case "cleared":
            return events.InputCleared()
        case "context_cut":
            return events.ContextCut()
        case "transcribed":
            seconds = ReportedSeconds(float(named["s"])) if "s" in named else None
            return events.TranscriptionEnded(named_item(first), 0, seconds)
        case "transcription_failed":
            return events.TranscriptionFailed(str(first), 0)
        case "configured":
            return events.SessionConfigured(
                created="created" in plain,
                upstream_session_id=named.get("id"),
                model=named.get("model"),
                transcription_model=named.get("hear"),
                transcription_told="hear" in named,
                output_bytes_per_s=number.get("rate"),
                answers_by_itself="vad" in plain,
            )
        case "error":
            return events.UpstreamError(named.get("for"), named.get("code"))
        case "gone":
            return events.Gone("lost")
        case "linger_passed":
            return events.LingerPassed()
        case "stop":
            return events.StopAsked(refusal.stopped("too loud"))
        case "unreadable":
            return events.Unreadable("not JSON", first)
        case "item":
            return events.ItemAsked(
                None, number.get("chars", 0), 0, number.get("images", 0), from_user="user" in plain
            )
        case "update":
            return events.SessionUpdateAsked(
                first, named.get("model"), named.get("hear"), number.get("chars", 0)
            )
        case _:
            return events.Other()


def named_item(name: str | None) -> str:
    """Return an item's id; `_` stands for one that the upstream left out."""
    return "" if name == "_" else str(name)


def usage(named: dict[str, str], number: dict[str, int]) -> ReportedTokens | None:
    if "in" not in number:
        return None
    text, cached = number["in"], number.get("cached", 0)
    audio, written = number.get("a", 0), number.get("t", 0)
    return ReportedTokens(
        total=text + audio + written,
        input=text,
        output=audio + written,
        text_in=text,
        cached_text=cached,
        text_out=written,
        audio_out=audio,
    )


def spell(command: Command) -> str:
    """Return how a script writes `command`; nothing for what every session does."""
    match command:
        case Journal(SubjectOpened(subject_id=subject), wait=True):
            return f"open:{subject}"
        case Journal(Entry(subject_id=subject, cost_nanousd=cost, estimated=estimated), wait=True):
            return f"entry:{subject}={'~' if estimated else ''}{'?' if cost is None else cost}"
        case Journal(Progress(subject_id=subject, cost_nanousd=cost), wait=False):
            return f"progress:{subject}={cost}"
        case Journal(SessionBound(), wait=False):
            return "bound"
        case Journal(SessionClosed(), wait=False):
            return "closed"
        case Journal(SessionOpened(), wait=False):
            return ""
        case Forward():
            return "forward"
        case Drop():
            return "drop"
        case Send(Side.UPSTREAM, Cancel(response_id=subject)):
            return f"cancel:{subject}"
        case Send(Side.UPSTREAM, Remark()):
            return "remark"
        case Send(Side.UPSTREAM, Answer(output_tokens_max=tokens)):
            return f"answer:{tokens}"
        case Send(Side.CLIENT, Explain(refusal=why, caused_by=cause)):
            return f"error:{why.code}" + (f"@{cause}" if cause else "")
        case Close(code):
            return f"close:{code}"
        case Journal(BudgetCut(subject_id=subject, estimate_nanousd=estimate), wait=False):
            return f"cut:{subject}={estimate}"
        case Ask(needs):
            return f"ask:{max(need.nanousd for need in needs)}"
    raise AssertionError(f"no script can expect {command}")

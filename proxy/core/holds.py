"""What a session reserves for its responses: how much, for how long it suffices, and what it lacks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from proxy.core.allowance import Account, Allowance, Need, refusers
from proxy.core.budgets import OnExhausted
from proxy.core.conversation import Conversation, Settings
from proxy.core.farewell import RESERVE, reserve_usage, tokens_for
from proxy.core.rating import NO_AMOUNTS, Amounts
from proxy.core.records import BudgetCut
from proxy.core.subjects import Booker, Response, Transcription, first_usage
from proxy.core.usage import Meter

_ONE_EACH = Amounts.same(1)


@dataclass(frozen=True, slots=True)
class Blocked:
    """A budget that was spent under `block`, and its amount then: said once what runs has ended."""

    account: Account
    amount_nanousd: int | None

    @classmethod
    def by(cls, account: Account, now: datetime) -> "Blocked":
        return cls(account, account.budget.amount_at(now))

    def is_over(self, accounts: Sequence[Account], now: datetime) -> bool:
        """Say whether the budgets that are now `accounts` have changed such that there may be money again."""
        budget, before = self.account.budget, self.amount_nanousd
        amount = budget.amount_at(now)
        is_raised = before is not None and (amount is None or amount > before)
        return self.account not in accounts or budget.on_exhausted is not OnExhausted.BLOCK or is_raised


@dataclass(frozen=True, slots=True)
class Holds:
    """One session's holds on its allowance. Amounts are by its models' terms."""

    allowance: Allowance
    booker: Booker
    conversation: Conversation
    settings: Settings

    def hold(self, key: str, amounts: Amounts, now: datetime) -> Account | None:
        """Hold so much, and the reserve for last words before it; return the account that refuses."""
        missing = self._missing_reserve(now)
        if (any(missing) and self.allowance.hold(RESERVE, missing)) or self.allowance.hold(key, amounts):
            return refusers(self.needs(amounts, now), now)[0]
        return None

    def hold_transcription(self, one: Transcription, now: datetime) -> Account | None:
        """Hold what it is likely to cost; return the account that refuses.

        It is billed all the same, since it was committed: where there is a reserve, that pays for it.
        """
        amounts = self.transcription(one)
        if self.allowance.hold(one.subject_id, amounts) is None:
            return None
        refusing = refusers(self.allowance.needs(amounts), now)[0]
        self.allowance.lend(RESERVE, one.subject_id, amounts)
        return refusing

    def needs(self, amounts: Amounts, now: datetime) -> tuple[Need, ...]:
        """Return what has to be free before so much can be held, where too little is."""
        return self.allowance.needs(amounts.plus(self._missing_reserve(now)))

    def first(self, now: datetime, brought: Mapping[Meter, int] | None = None) -> Amounts:
        """Return what to hold for the next response, which has the input `brought` to itself."""
        if not self.allowance.accounts:
            return NO_AMOUNTS
        predicted = self.conversation.predict(brought)
        terms = self.booker.terms(self.settings.model, now)
        return self.booker.charge(first_usage(predicted, terms.card), terms, now)

    def transcription(self, one: Transcription) -> Amounts:
        """Return what to hold for a transcription: what it is likely to cost."""
        return self.booker.charge_of(one)

    def spent(self, response: Response) -> Amounts:
        """Return what a running response has cost so far, by estimate."""
        return self.booker.charge_of(response)

    def lacks(self, response: Response, now: datetime, *, with_reserve: bool) -> tuple[Need, ...]:
        """Let a running response's hold grow with its cost; return what it lacks once it has used it up.

        The reserve grows with what is being said, which last words will have to read.
        """
        spent, held = self.spent(response), self.allowance.held(response.id)
        growth = response.growth(spent, held)
        with_reserve = with_reserve and self._wants_reserve
        if not with_reserve and self.allowance.add(response.id, growth):  # as it is nearly always
            left = held.plus(growth).minus(spent)
            if min(left) > 0:
                response.look_again(left)
                return ()
            growth = NO_AMOUNTS
        if any(growth):
            growth = growth.minus(self.allowance.grow(response.id, growth))
        reserve = self._missing_reserve(now, response) if with_reserve else NO_AMOUNTS
        if any(reserve):
            reserve = reserve.minus(self.allowance.grow(RESERVE, reserve))
        left = self.allowance.left(response.id).minus(spent)
        response.look_again(left)
        if min(left) > 0 and not any(reserve):
            return ()
        over = spent.minus(self.allowance.held(response.id)).plus(_ONE_EACH)  # less would not let it speak on
        wanted = growth.plus(reserve).at_least(over).at_least(_ONE_EACH)
        least = Amounts(*map(_least, reserve, left, wanted, over))
        return self.allowance.lacks(RESERVE if any(reserve) else response.id, wanted, least)

    def renew_reserve(self) -> None:
        """Give the reserve back where it is not held in all accounts of now, so that it is held anew.

        What is left of a window that has ended will not pay for last words, nor will a deleted budget.
        """
        hold = self.allowance.holds.get(RESERVE)
        if hold is not None and hold.accounts != list(self.allowance.accounts):
            self.allowance.void(RESERVE)

    def cover(self, response: Response) -> None:
        """Let the reserve pay what a response that is cancelled has cost beyond its own hold."""
        over = self.spent(response).minus(self.allowance.held(response.id)).at_least(NO_AMOUNTS)
        if any(over):
            self.allowance.lend(RESERVE, response.id, over)

    def last_words_tokens(self, now: datetime) -> int:
        """Return how many output tokens the reserve pays for now; 0 if too few to say anything.

        What it had to pay for others is given back to it, as far as their bills left something of it.
        """
        if RESERVE in self.allowance.holds:
            self.allowance.grow(RESERVE, self._missing_reserve(now))
        terms = self.booker.terms(self.settings.model, now)
        return tokens_for(self.allowance.left(RESERVE), self.conversation.predict(), terms)

    def cut(self, response: Response, account: Account, now: datetime) -> BudgetCut:
        """Return the record of a response that is cut because `account` has nothing left."""
        return BudgetCut(
            session_id=self.booker.facts.session_id,
            subject_id=response.id,
            budget_id=account.budget.id,
            cut_at=now,
            limit_nanousd=account.limit_nanousd,
            spent_nanousd=account.spent_so_far_nanousd,
            held_nanousd=self.allowance.held(response.id)[account.basis],
            estimate_nanousd=self.spent(response)[account.basis],
        )

    @property
    def _wants_reserve(self) -> bool:
        return any(one.budget.on_exhausted is OnExhausted.WRAP_UP for one in self.allowance.accounts)

    def _missing_reserve(self, now: datetime, running: Response | None = None) -> Amounts:
        """Return how much more the last words need, where any account wants them."""
        if not self._wants_reserve:
            return NO_AMOUNTS
        context = self.conversation.predict()
        if running is not None:
            said = running.usage().counts
            for spoken, read in ((Meter.AUDIO_OUT, Meter.AUDIO_IN), (Meter.TEXT_OUT, Meter.TEXT_IN)):
                context[read] = context.get(read, 0) + said.get(spoken, 0)
        terms = self.booker.terms(self.settings.model, now)
        wanted = self.booker.charge(reserve_usage(context), terms, now)
        return wanted.minus(self.allowance.held(RESERVE)).at_least(NO_AMOUNTS)


def _least(reserve: int, left: int, wanted: int, over: int) -> int:
    """Return the least that has to be free where a reserve is missing or nothing is left, and else 0."""
    if reserve:
        return wanted
    return max(over, 1) if left <= 0 else 0

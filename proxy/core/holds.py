"""What a session reserves for its responses: how much, for how long it suffices, and what it lacks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from proxy.core.allowance import Account, Allowance, Need
from proxy.core.budgets import OnExhausted
from proxy.core.conversation import Conversation, Settings
from proxy.core.farewell import RESERVE, reserve_usage, tokens_for
from proxy.core.records import BudgetCut
from proxy.core.subjects import Booker, Response, Transcription, first_usage
from proxy.core.usage import Meter


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
    """One session's holds on its allowance. Amounts are nano-dollars, by its models' cards."""

    allowance: Allowance
    booker: Booker
    conversation: Conversation
    settings: Settings

    def hold(self, key: str, amount_nanousd: int, now: datetime) -> Account | None:
        """Hold so much, and the reserve for last words before it; return the account with too little."""
        missing = self._missing_reserve(now)
        if missing and (short := self.allowance.hold(RESERVE, missing)):
            return short
        return self.allowance.hold(key, amount_nanousd)

    def needs(self, amount_nanousd: int, now: datetime) -> tuple[Need, ...]:
        """Return what has to be free before so much can be held, where too little is."""
        return self.allowance.needs(amount_nanousd + self._missing_reserve(now))

    def first_nanousd(self, now: datetime, text_tokens: int = 0) -> int:
        """Return what to hold for the next response, to whose input so much text is added."""
        if not self.allowance.accounts:
            return 0
        predicted = self.conversation.predict()
        predicted[Meter.TEXT_IN] = predicted.get(Meter.TEXT_IN, 0) + text_tokens
        card = self.booker.card(self.settings.model, now)
        return self.booker.charge_nanousd(first_usage(predicted, card), card, now)

    def transcription_nanousd(self, one: Transcription) -> int:
        """Return what to hold for a transcription: what it is likely to cost."""
        return self.booker.charge_of(one)

    def spent_nanousd(self, response: Response) -> int:
        """Return what a running response has cost so far, by estimate."""
        return self.booker.charge_of(response)

    def lacks(self, response: Response, now: datetime, *, with_reserve: bool) -> tuple[Need, ...]:
        """Let a running response's hold grow with its cost; return what it lacks once it has used it up.

        The reserve grows with what is being said, which last words will have to read.
        """
        spent = self.spent_nanousd(response)
        growth = response.growth_nanousd(spent, self.allowance.held(response.id))
        if growth:
            growth -= self.allowance.grow(response.id, growth)
        reserve = self._missing_reserve(now, response) if with_reserve else 0
        if reserve:
            reserve -= self.allowance.grow(RESERVE, reserve)
        left = self.allowance.left(response.id)
        response.look_again(left - spent)
        if spent < left and not reserve:
            return ()
        over = spent + 1 - self.allowance.held(response.id)  # less would not let it speak on
        wanted = max(growth + reserve, over, 1)
        least = wanted if reserve else max(over, 1)
        return self.allowance.lacks(RESERVE if reserve else response.id, wanted, least)

    def renew_reserve(self) -> None:
        """Give the reserve back where it is not held in all accounts of now, so that it is held anew.

        What is left of a window that has ended will not pay for last words, nor will a deleted budget.
        """
        hold = self.allowance.holds.get(RESERVE)
        if hold is not None and hold.accounts != list(self.allowance.accounts):
            self.allowance.void(RESERVE)

    def last_words_tokens(self, now: datetime) -> int:
        """Return how many output tokens the reserve pays for now; 0 if too few to say anything."""
        card = self.booker.card(self.settings.model, now)
        return tokens_for(self.allowance.held(RESERVE), self.conversation.predict(), card)

    def cut(self, response: Response, account: Account, now: datetime) -> BudgetCut:
        """Return the record of a response that is cut because `account` has nothing left."""
        return BudgetCut(
            session_id=self.booker.facts.session_id,
            subject_id=response.id,
            budget_id=account.budget.id,
            cut_at=now,
            limit_nanousd=account.limit_nanousd,
            spent_nanousd=account.spent_so_far_nanousd,
            held_nanousd=self.allowance.held(response.id),
            estimate_nanousd=self.spent_nanousd(response),
        )

    def _missing_reserve(self, now: datetime, running: Response | None = None) -> int:
        """Return how much more the last words need, where any account wants them."""
        if not any(account.policy is OnExhausted.WRAP_UP for account in self.allowance.accounts):
            return 0
        context = self.conversation.predict()
        if running is not None:
            said = running.usage().counts
            for spoken, read in ((Meter.AUDIO_OUT, Meter.AUDIO_IN), (Meter.TEXT_OUT, Meter.TEXT_IN)):
                context[read] = context.get(read, 0) + said.get(spoken, 0)
        card = self.booker.card(self.settings.model, now)
        wanted = self.booker.charge_nanousd(reserve_usage(context), card, now)
        return max(0, wanted - self.allowance.held(RESERVE))

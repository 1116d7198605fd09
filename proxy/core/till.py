"""Books what a session has used, each thing once, in place of what was held for it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from proxy.core.allowance import Allowance
from proxy.core.commands import Command, Journal
from proxy.core.records import Entry, Kind
from proxy.core.subjects import Booker, Response, Transcription, disputed
from proxy.core.usage import Flag


@dataclass(slots=True)
class Till:
    """What was booked so far: its cost, what the tenant owes for it, how many responses it was.

    What has no price is in neither amount, only in what the allowance was charged.
    """

    booker: Booker
    allowance: Allowance
    cost_nanousd: int = 0
    billed_nanousd: int = 0
    responses: int = 0
    unrated: int = 0

    def settle(self, entry: Entry) -> Sequence[Command]:
        """Book `entry` in place of the hold; a bill that was booked already is not booked again."""
        if before := self.booker.settled(entry.kind, entry.subject_id):
            self.allowance.void(entry.subject_id)
            # Billed differently this time: the ledger keeps the first bill and raises an alarm.
            return (Journal(disputed(entry)),) if before.is_news(entry.fingerprint) else ()
        if self.allowance.accounts:
            entry = replace(entry, held_nanousd=self.allowance.held(entry.subject_id).billed_nanousd)
        self.booker.settle(entry)
        self.allowance.settle(entry.subject_id, entry.charged, entry.entry_key)
        self.cost_nanousd += entry.cost_nanousd or 0
        self.billed_nanousd += entry.billed_nanousd or 0
        self.unrated += entry.cost_nanousd is None
        self.responses += entry.kind is Kind.RESPONSE
        return (Journal(entry),)

    def lose(self, lost: Iterable[Response | Transcription], why: Flag, now: datetime) -> Sequence[Command]:
        """Book an estimate of each, in place of the bill that will not come."""
        return [command for one in lost for command in self.settle(self.booker.estimate(one, why, now))]

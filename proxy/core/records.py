"""What a session asks the journal to keep. No content: ids, statuses, models and counts only."""

import hashlib
from datetime import datetime
from enum import StrEnum

import msgspec

from proxy.core.rating import Amounts, Billing, Line
from proxy.core.usage import Flag


class Kind(StrEnum):
    """What a ledger entry is for."""

    RESPONSE = "response"
    TRANSCRIPTION = "transcription"
    DURATION = "duration"
    ADJUSTMENT = "adjustment"
    CREDIT = "credit"


class Role(StrEnum):
    """An original entry, or one of the pair that corrects it."""

    ORIGINAL = "original"
    REVERSAL = "reversal"
    REPLACEMENT = "replacement"


class SessionOpened(msgspec.Struct, frozen=True, kw_only=True, tag="session_opened"):
    """A session was admitted. Everything that its entries say about who pays stands here."""

    session_id: str
    tenant_id: str
    project_id: str | None
    api_key_id: str
    end_user: str | None
    tags: dict[str, str]
    provider: str
    account: str | None  # the upstream account: its organisation and project, as configured
    model: str | None  # as the URL asked for it
    opened_at: datetime


class SessionBound(msgspec.Struct, frozen=True, kw_only=True, tag="session_bound"):
    """The upstream named its session and model; again whenever the model changes."""

    session_id: str
    upstream_session_id: str | None
    model: str | None
    at: datetime


class SubjectOpened(msgspec.Struct, frozen=True, kw_only=True, tag="subject_opened"):
    """A response started or a transcription was committed: something will be billed for it.

    Journalled before the client sees it, so that a crash leaves nothing that was never opened. The lines
    are what it would be booked as if nothing more were heard of it: estimated, like those of `Progress`.
    """

    session_id: str
    upstream_session_id: str | None
    provider: str
    kind: Kind
    subject_id: str
    model: str | None
    opened_at: datetime
    lines: tuple[Line, ...] = ()
    cost_nanousd: int | None = None
    charge_nanousd: int | None = None  # as in `Entry`
    billing: Billing | None = None


class Progress(msgspec.Struct, frozen=True, kw_only=True, tag="progress"):
    """What an open response would be booked as if this instance died now: estimated lines."""

    session_id: str
    kind: Kind
    subject_id: str
    lines: tuple[Line, ...]
    cost_nanousd: int | None
    charge_nanousd: int | None = None  # as in `Entry`


class Entry(msgspec.Struct, frozen=True, kw_only=True, tag="entry"):
    """One billed thing, rated: it becomes one ledger entry with a line a meter.

    `cost_nanousd` is None when it is unrated. `occurred_at` is when the response opened, or the
    transcription finished.
    """

    session_id: str
    upstream_session_id: str | None
    provider: str
    kind: Kind
    subject_id: str  # a response's id, or a transcription's item:content_index
    model: str | None
    status: str
    status_reason: str | None = None
    occurred_at: datetime
    estimated: bool = False
    flags: tuple[str, ...] = ()
    lines: tuple[Line, ...] = ()
    cost_nanousd: int | None
    charge_nanousd: int | None = None  # of an unrated entry: what budgets are charged in place of a cost
    estimate_nanousd: int | None = None  # of a response: what it had cost by our estimate when it ended
    held_nanousd: int | None = None  # what budgets had reserved for its bill; None where none encloses it
    billing: Billing | None = None  # None: the three amounts are one
    role: Role = Role.ORIGINAL
    revision: int = 0

    @property
    def counts(self) -> bool:
        """Say whether this is the bill that is booked, and not another one for the same thing."""
        return Flag.BILLED_AGAIN not in self.flags

    @property
    def billed_nanousd(self) -> int | None:
        """Return what its tenant owes for it; None when it is unrated."""
        if self.cost_nanousd is None or self.billing is None:
            return self.cost_nanousd
        return sum(line.billed_nanousd or 0 for line in self.lines)

    @property
    def charged(self) -> Amounts:
        """Return what budgets are charged for it."""
        if self.cost_nanousd is None:
            return Amounts.same(self.charge_nanousd or 0)
        return Amounts(self.cost_nanousd, self.billed_nanousd or 0)

    @property
    def entry_key(self) -> str:
        """Return what makes this entry unique for ever, by the provider's own ids."""
        session = self.upstream_session_id or self.session_id
        parts = (self.provider, session, self.subject_id, self.kind, str(self.revision), self.role)
        return "/".join(part.replace("%", "%25").replace("/", "%2F") for part in parts)

    @property
    def digest(self) -> str:
        """Return a hash of what is billed. The same key with another digest is an alarm."""
        return hashlib.sha256(self._billed).hexdigest()

    @property
    def fingerprint(self) -> int:
        """Return a hash that is quicker than `digest`, to compare bills within this process."""
        return hash(self._billed)

    @property
    def _billed(self) -> bytes:
        billed = (self.model, self.status, self.estimated, self.lines, self.cost_nanousd)
        if self.billing is not None:  # entries of before there was any keep the digest they have
            return msgspec.json.encode((*billed, self.billing))
        return msgspec.json.encode(billed)


class BudgetCut(msgspec.Struct, frozen=True, kw_only=True, tag="budget_cut"):
    """A running response was cut because a budget has nothing left. Nano-dollars, as known then.

    `limit_nanousd` is the budget's amount in its window, `spent_nanousd` what was settled of it; of this
    response `held_nanousd` was reserved and `estimate_nanousd` is what it had cost when it was cut.
    """

    session_id: str
    subject_id: str
    budget_id: str
    cut_at: datetime
    limit_nanousd: int
    spent_nanousd: int
    held_nanousd: int
    estimate_nanousd: int


class SessionClosed(msgspec.Struct, frozen=True, kw_only=True, tag="session_closed"):
    """A session is over and everything it opened is settled or estimated."""

    session_id: str
    closed_at: datetime
    close_code: int | None  # as the client saw it; None when it saw none
    reason: str  # one of a fixed set: client_closed, client_lost, upstream_closed, …


Record = SessionOpened | SessionBound | SubjectOpened | Progress | Entry | BudgetCut | SessionClosed

__all__ = [
    "BudgetCut",
    "Entry",
    "Kind",
    "Progress",
    "Record",
    "Role",
    "SessionBound",
    "SessionClosed",
    "SessionOpened",
    "SubjectOpened",
]

"""What the relay needs of the stores, which it does not import: keys, money, and a journal."""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from proxy.core.allowance import Allowance
from proxy.core.commands import Ask
from proxy.core.identity import Principal
from proxy.core.limits import Limits
from proxy.core.models import ModelRules
from proxy.core.rating import Amounts, CardBook
from proxy.core.records import Record, SessionOpened
from proxy.core.refusal import Refusal


class RecordKeeper(Protocol):
    """What the relay needs of the journal (`store/journal.py`)."""

    @property
    def accepting(self) -> bool:
        """Tell whether new sessions may start."""

    @property
    def is_full(self) -> bool:
        """Tell whether it lives on the space that was set aside: what runs finishes, no response begins."""

    def append(self, record: Record, durable: Callable[[], None] | None = None) -> None:
        """Keep `record`; call `durable` on the loop once it is on disk, never if that fails."""


class KeyCatalog(Protocol):
    """What the relay needs of the catalog (`store/catalog.py`): keys and rate cards, in memory."""

    @property
    def cards(self) -> CardBook:
        """Return the rate cards as they are now."""

    async def authenticate(self, secret: str, now: datetime) -> Principal | Refusal:
        """Return whose key this is."""

    def key_ok(self, api_key_id: str) -> Refusal | None:
        """Return why a key that was good when its session began is no longer."""

    @property
    def version(self) -> int:
        """Return a number that is another one after every change of what follows."""

    @property
    def counts_sessions(self) -> bool:
        """Say whether any limit asks how many sessions run at the same time."""

    def limits_of(self, owner_id: str) -> Limits:
        """Return the limits of a tenant, or of a key."""

    def limits_for(self, principal: Principal) -> Limits:
        """Return the limits that enclose a session: of its tenant and of its key."""

    def models_for(self, principal: Principal) -> ModelRules:
        """Return which models a session may use."""


class Budgets(Protocol):
    """What the relay needs of the keeper of this instance's leases (`store/lease_keeper.py`)."""

    async def admit(self, facts: SessionOpened, need: Amounts) -> Allowance | Refusal:
        """Return the allowance of a new session, of which so much is free; `leave` it in the end."""

    def ask(self, ask: Ask, done: Callable[[bool], None]) -> None:
        """Get more into accounts, if there is any; call `done` on the loop with whether there was."""

    def refresh(self, allowance: Allowance, now: datetime) -> bool:
        """Let the budgets enclose a session as they are now; tell whether anything is another way."""

    def leave(self, allowance: Allowance) -> None:
        """Take back the allowance of a session that is over."""

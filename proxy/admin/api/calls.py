"""A call: one request, understood; what all calls share, and what they are answered.

Apart from routes and models: what serves the API is loaded without those.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import TYPE_CHECKING, Generic, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine

from proxy.admin.api.access import Caller
from proxy.admin.reconciling import Reconciler
from proxy.admin.verifying import Verifier
from proxy.core.anomaly import Sensitivity
from proxy.exports.formats import Format
from proxy.exports.table import Table
from proxy.store.audit import Act
from proxy.store.four_eyes import FourEyes
from proxy.store.pages import Within
from proxy.store.tenants import Tenant, find_tenant
from proxy.store.tokens import TokenRole

if TYPE_CHECKING:
    from proxy.admin.api.models import Input, Output

BASE = "/api/v1"

P = TypeVar("P", bound="Input")
B = TypeVar("B", bound="Input")

ADMINS = frozenset({TokenRole.ADMIN})
READERS = frozenset({TokenRole.ADMIN, TokenRole.AUDITOR})
BOOKKEEPERS = frozenset({TokenRole.ADMIN, TokenRole.FINANCE})
FINANCE_READERS = READERS | BOOKKEEPERS
EVERYONE = frozenset(TokenRole)


class Opens(Enum):
    """What a route's handler is given: a transaction, or the database to open its own."""

    READING = auto()
    WRITING = auto()
    NOTHING = auto()


@dataclass(frozen=True, slots=True)
class Context:
    """What all calls share: the database, the settings that matter here, and the pepper."""

    engine: Engine
    zone: ZoneInfo
    issuer: str | None  # of statements
    aliases: dict[str, str]  # which model's prices a deployment's name has
    four_eyes: FourEyes
    pepper: Callable[[], bytes]
    reconciler: Reconciler
    verifier: Verifier
    sensitivity: Sensitivity  # to unusual hours


@dataclass(frozen=True, slots=True)
class Call(Generic[P, B]):
    """One request. `if_match` and `reason` are its headers, None when they are missing."""

    context: Context
    caller: Caller
    at: datetime
    params: P
    body: B
    if_match: str | None = None
    reason: str | None = None
    transaction: Connection | None = None

    @property
    def connection(self) -> Connection:
        """Return the transaction that the route asked for."""
        assert self.transaction is not None, "this route opens nothing"
        return self.transaction

    @property
    def within(self) -> Within:
        return self.caller.within

    def act(self) -> Act:
        """Return what the caller does now, for the audit log; its reason is the body's, or the header's."""
        return Act(self.caller.actor, self.at, getattr(self.body, "reason", None) or self.reason)

    def tenant(self, name_or_id: str) -> Tenant:
        """Raises StoreError: there is no such tenant, or the caller may not see it."""
        return find_tenant(self.connection, name_or_id, self.within)

    def tenant_id(self, name_or_id: str | None) -> str | None:
        """Return the id of a tenant that may be asked for; raises as `tenant` does."""
        return None if name_or_id is None else self.tenant(name_or_id).id


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler answers. `secret` names the field that is shown this once and never kept."""

    body: "Output"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    secret: str | None = None


Check = Callable[[], None]  # raises when nobody wants the rows any more


@dataclass(frozen=True, slots=True)
class Download:
    """What is sent while it is made. `make` returns the table, in a thread of its own."""

    format: Format
    name: str  # of the file
    make: Callable[[Check], Table]
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class File:
    """A download that is small enough to be made before it is sent."""

    name: str
    content_type: str
    content: bytes = field(repr=False)

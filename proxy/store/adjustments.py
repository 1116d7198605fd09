"""Adjustments and credits: amounts that people book beside what was metered, each with a reason.

An adjustment changes what the provider charges, what the tenant owes, or both: to match an invoice, say. A
credit takes from what the tenant owes. Neither has lines or a rate card, and neither moves a budget. The
caller's idempotency key makes one booked once, for ever.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from proxy.core.money import AMOUNT_NANOUSD_MAX
from proxy.core.records import Kind, Role
from proxy.store import Conflict, NotFound, StoreError
from proxy.store.audit import REASON_CHARS_MAX, Act
from proxy.store.chain import Head, append, lock_chain
from proxy.store.columns import EPOCH
from proxy.store.instants import format_instant
from proxy.store.schema import ledger_entry
from proxy.store.tenants import find_project, find_tenant

KINDS = (Kind.ADJUSTMENT, Kind.CREDIT)
KEY_CHARS_MAX = 200
STATUS = "booked"


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What to book. Nano-dollars, negative ones in the payer's favour.

    `occurred_at` is now when left out. `corrects` is the entry that this puts right, if there is one.
    """

    key: str
    kind: Kind
    tenant: str  # name or id
    cost_nanousd: int
    billed_nanousd: int
    project: str | None = None  # name or id
    provider: str = "openai"
    occurred_at: datetime | None = None
    corrects: int | None = None


@dataclass(frozen=True, slots=True)
class Booking:
    """The entry, and whether it is new: a repeated key finds the first one."""

    entry_id: int
    new: bool


def entry_key(key: str) -> str:
    """Return what makes an adjustment unique in the ledger."""
    return f"talkmeter/adjustment/{key.replace('%', '%25').replace('/', '%2F')}"


def digest(row: Any) -> str:
    """Return a hash of what a row of the ledger, or one to be, books."""
    names = ("kind", "tenant_id", "project_id", "provider", "cost_nanousd", "billed_nanousd", "corrects")
    booked = [getattr(row, name) for name in (*names, "status_reason")]
    return hashlib.sha256(msgspec.json.encode(booked)).hexdigest()


def book(connection: Connection, wanted: Adjustment, act: Act, zone: tzinfo) -> Booking:
    """Book an adjustment or a credit, in the caller's transaction; its reason is the act's.

    `zone` is that of the periods until a first close has fixed it.

    Raises:
        StoreError: something about it cannot be, or its key was used for something else.
    """
    ready = prepare(connection, wanted, act, zone)
    if ready.booked is not None:
        return ready.booked
    row = ready.row
    append(connection, ready.head, [{**msgspec.structs.asdict(row), "digest": digest(row)}], [], act.at)
    act.note(
        connection,
        f"ledger.{wanted.kind}",
        str(row.id),
        tenant_id=row.tenant_id,
        after={
            "key": wanted.key,
            "project": wanted.project,
            "provider": wanted.provider,
            "cost_nanousd": row.cost_nanousd,
            "billed_nanousd": row.billed_nanousd,
            "occurred_at": format_instant(row.occurred_at),
            "corrects": wanted.corrects,
        },
    )
    return Booking(row.id, new=True)


def prepare(connection: Connection, wanted: Adjustment, act: Act, zone: tzinfo) -> "Prepared":
    """Lock the chain, and return what `book` would book behind it; raises what that raises."""
    _check(wanted, act)
    tenant = find_tenant(connection, wanted.tenant)
    project_id = find_project(connection, tenant, wanted.project).id if wanted.project else None
    head = lock_chain(connection)
    _check_corrected(connection, wanted.corrects, tenant.id)
    at = wanted.occurred_at or act.at
    row = Row(
        id=head.entries + 1,
        entry_key=entry_key(wanted.key),
        tenant_id=tenant.id,
        project_id=project_id,
        provider=wanted.provider,
        kind=wanted.kind,
        subject_id=wanted.key,
        status_reason=str(act.reason),
        occurred_at=at,
        posted_at=act.at,
        period=head.periods(zone).period_of(at),
        cost_nanousd=wanted.cost_nanousd,
        billed_nanousd=wanted.billed_nanousd,
        corrects=wanted.corrects,
    )
    found = connection.execute(
        select(
            ledger_entry.c.id, ledger_entry.c.digest, ledger_entry.c.occurred_at, ledger_entry.c.tenant_id
        ).where(ledger_entry.c.entry_key == row.entry_key)
    ).first()
    if found is not None:
        if found.digest != digest(row) or wanted.occurred_at not in (None, found.occurred_at):
            which = f", entry {found.id}" if found.tenant_id == tenant.id else ""
            raise Conflict(
                f"The key {wanted.key!r} was used for something else{which}:"
                " another adjustment needs another key."
            )
        return Prepared(head, row, Booking(found.id, new=False))
    return Prepared(head, row)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `ledger_entry`, but for its digest."""

    id: int
    entry_key: str
    tenant_id: str
    project_id: str | None
    provider: str
    kind: Kind
    subject_id: str
    status_reason: str
    occurred_at: datetime
    posted_at: datetime
    period: str
    cost_nanousd: int
    billed_nanousd: int
    corrects: int | None
    session_id: None = None
    api_key_id: None = None
    end_user_id: None = None
    account: None = None
    upstream_session_id: None = None
    model: None = None
    tags: dict[str, str] = {}
    role: Role = Role.ORIGINAL
    revision: int = 0
    status: str = STATUS
    estimated: bool = False
    flags: tuple[str, ...] = ()
    list_nanousd: int = 0  # no public price stands behind it
    charge_nanousd: None = None
    estimate_nanousd: None = None
    held_nanousd: None = None
    public_card_id: None = None
    agreed_card_id: None = None
    markup_bp: None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """An adjustment that can be booked, or was `booked` before; and the chain's end, which is locked."""

    head: Head
    row: Row
    booked: Booking | None = None


def _check(wanted: Adjustment, act: Act) -> None:
    if not (act.reason or "").strip():
        raise StoreError("An adjustment or a credit needs a reason.")
    if len(str(act.reason)) > REASON_CHARS_MAX or not str(act.reason).isprintable():
        raise StoreError(f"A reason has at most {REASON_CHARS_MAX} printable characters.")
    for what, name in (("An idempotency key", wanted.key), ("A provider", wanted.provider)):
        if not name.strip() or len(name) > KEY_CHARS_MAX or not name.isprintable():
            raise StoreError(f"{what} has 1 to {KEY_CHARS_MAX} printable characters.")
    amounts = (wanted.cost_nanousd, wanted.billed_nanousd)
    if not any(amounts) or max(map(abs, amounts)) > AMOUNT_NANOUSD_MAX:
        raise StoreError("An adjustment or a credit needs an amount that is not 0.")
    if wanted.kind is Kind.CREDIT and (wanted.cost_nanousd or wanted.billed_nanousd > 0):
        raise StoreError("A credit takes from what the tenant owes, and changes nothing else.")
    if wanted.occurred_at is not None and wanted.occurred_at > act.at:
        raise StoreError(f"{format_instant(wanted.occurred_at)} has not come yet: book it then.")
    if wanted.occurred_at is not None and wanted.occurred_at < EPOCH:
        raise StoreError(f"{format_instant(wanted.occurred_at)} is before any period: say when it was.")


def _check_corrected(connection: Connection, corrects: int | None, tenant_id: str) -> None:
    if corrects is None:
        return
    owner = connection.execute(
        select(ledger_entry.c.tenant_id).where(ledger_entry.c.id == corrects)
    ).scalar_one_or_none()
    if owner != tenant_id:
        raise NotFound(
            f"The tenant has no entry {corrects} in the ledger: the ledger's list says which there are."
        )

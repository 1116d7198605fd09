"""One posting: journal records into the ledger, in one transaction, each thing booked once.

Every posting locks the head of the chain before it touches anything else. So postings of all instances queue
up there, and what the lookup of known keys says still holds when the new entries are inserted: ids run
1, 2, 3, … without gaps in the order of booking. Whether the commit of a broken connection took
place need not be known: done again, the same records are all found to be known.
"""

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo
from typing import Any, NamedTuple, TypeVar

import msgspec
from sqlalchemy import Connection, Executable, RowMapping, bindparam, case, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from proxy.core.budgets import Pot
from proxy.core.periods import Periods
from proxy.core.rating import Billing, Line
from proxy.core.records import BudgetCut, Entry, Record, SessionBound, SessionClosed, SessionOpened
from proxy.core.usage import Meter
from proxy.store import announcements
from proxy.store.announcements import Completed, Crossed
from proxy.store.budget_cache import BudgetCache
from proxy.store.chain import Head, append, lock_chain
from proxy.store.columns import Words, storable
from proxy.store.end_users import end_user_ids
from proxy.store.rows import insert_new
from proxy.store.schema import (
    THREE_AMOUNTS,
    budget_cut,
    entry_conflict,
    journal_checkpoint,
    ledger_entry,
    session,
)
from proxy.store.spend import Charge, charge, taken_by

R = TypeVar("R", bound=Record)


class Unpostable(Exception):
    """A record that this database cannot take: posting it again will not help."""


@dataclass(frozen=True, slots=True)
class Posted:
    """A new ledger entry and whose it is."""

    id: int
    tenant_id: str
    entry: Entry


@dataclass(frozen=True, slots=True)
class Posting:
    """What one transaction booked, and what it met a second time."""

    new: tuple[Posted, ...] = ()
    duplicates: int = 0  # known keys with the same payload: nothing to do
    conflicts: int = 0  # known keys with another payload: on the alarm list
    handled: tuple[str, ...] = ()  # the keys of all its entries: they are in the ledger now, or were before
    charged: Mapping[Pot, Charge] = field(default_factory=dict)
    taken: Mapping[Pot, int] = field(default_factory=dict)  # as in `Charge`, where an earlier posting took it
    thresholds: tuple[Crossed, ...] = ()  # announced by this posting
    cuts: tuple[Completed, ...] = ()  # whose bill this posting booked
    ended: int = 0  # sessions whose end was announced

    @property
    def announced(self) -> int:
        """Return how many announcements it wrote into the outbox."""
        return len(self.thresholds) + len(self.cuts) + self.ended


def post(
    connection: Connection,
    records: Sequence[Record],
    *,
    instance_id: str,
    upto: int,
    zone: tzinfo,
    now: datetime,
    budgets: BudgetCache | None = None,
) -> Posting:
    """Book `records`, the rows of `instance_id`'s journal up to `upto`, within the caller's transaction.

    Until a first close has fixed the ledger's zone, periods are calendar months in `zone`. `budgets` saves
    loading them again each time. Raises SQLAlchemy's errors, and `Unpostable`.
    """
    head = lock_chain(connection)
    _open_sessions(connection, _of(SessionOpened, records), instance_id)
    _bind_sessions(connection, _of(SessionBound, records))
    _note_cuts(connection, _of(BudgetCut, records))
    posting, rows = _Entries(connection, head.periods(zone), now).post(_of(Entry, records), head)
    posting = _spend(connection, posting, rows, budgets or BudgetCache(), instance_id, head.entries, now)
    if posting.duplicates:  # booked by a posting whose commit nobody heard of, perhaps
        posting = replace(posting, taken=taken_by(connection, instance_id))
    ended = _close_sessions(connection, _of(SessionClosed, records), now)
    _set_checkpoint(connection, instance_id, upto, now)
    return replace(posting, ended=ended)


def _spend(
    connection: Connection,
    posting: Posting,
    rows: Sequence[Mapping[str, Any]],
    budgets: BudgetCache,
    instance_id: str,
    booked: int,
    now: datetime,
) -> Posting:
    """Count the new `rows` in all budgets, and announce what that brings about."""
    if not rows:
        return posting
    book = budgets.read(connection)
    charged = charge(connection, book, rows, instance_id=instance_id, booked=booked)
    crossed = announcements.announce_thresholds(connection, book.budgets, charged, now)
    cuts = announcements.complete_cuts(connection, rows, now)
    return replace(posting, charged=charged, thresholds=crossed, cuts=cuts)


def _of(kind: type[R], records: Iterable[Record]) -> list[R]:
    return [record for record in records if isinstance(record, kind)]


# --- Sessions and their users


def _open_sessions(connection: Connection, opened: Sequence[SessionOpened], instance_id: str) -> None:
    if not opened:
        return
    users = end_user_ids(connection, {(one.tenant_id, one.end_user) for one in opened if one.end_user})
    rows = [
        {
            "id": one.session_id,
            "tenant_id": one.tenant_id,
            "project_id": one.project_id,
            "api_key_id": one.api_key_id,
            "end_user_id": users[one.tenant_id, storable(one.end_user)] if one.end_user else None,
            "tags": one.tags,
            "provider": one.provider,
            "account": one.account,
            "model": one.model,
            "instance_id": instance_id,
            "opened_at": one.opened_at,
        }
        for one in opened
    ]
    insert_new(connection, session, ("id",), rows)


def _bind_sessions(connection: Connection, bound: Sequence[SessionBound]) -> None:
    """Note what the upstream called its session and model; the last word counts, silence does not."""
    values = [
        {"of": one.session_id, "upstream": one.upstream_session_id, "named": one.model} for one in bound
    ]
    if values:
        connection.execute(_BIND, values)


def _close_sessions(connection: Connection, closed: Sequence[SessionClosed], now: datetime) -> int:
    """Note how sessions ended; return how many of the ends were announced."""
    wanted = announcements.sessions_to_announce(connection, closed)
    values = [
        {"of": one.session_id, "at": one.closed_at, "code": one.close_code, "why": one.reason}
        for one in closed
    ]
    if values:
        connection.execute(_CLOSE, values)
    return announcements.announce_ends(connection, wanted, now)


# Made once: the poster shares its interpreter with the relay.
_BIND = (
    update(session)
    .where(session.c.id == bindparam("of"))
    .values(
        upstream_session_id=func.coalesce(bindparam("upstream", type_=Words), session.c.upstream_session_id),
        model=func.coalesce(bindparam("named", type_=Words), session.c.model),
    )
)
_CLOSE = (
    update(session)
    .where(session.c.id == bindparam("of"), session.c.closed_at.is_(None))
    .values(closed_at=bindparam("at"), close_code=bindparam("code"), reason=bindparam("why"))
)


def _note_cuts(connection: Connection, cuts: Sequence[BudgetCut]) -> None:
    rows = [announcements.cut_row(cut) for cut in cuts]
    if rows:
        insert_new(connection, budget_cut, ("session_id", "subject_id"), rows)


# --- Entries


class _Keyed(NamedTuple):
    """An entry, and what tells it from others: worked out once."""

    entry: Entry
    key: str
    digest: str


class _Entries:
    """The entries of one posting."""

    def __init__(self, connection: Connection, periods: Periods, now: datetime) -> None:
        self._connection = connection
        self._periods = periods
        self._now = now

    def post(self, entries: Sequence[Entry], head: Head) -> tuple[Posting, Sequence[Mapping[str, Any]]]:
        """Insert those whose key is new, behind `head`; look closer at the others.

        Returns with the posting the new rows of the ledger.
        """
        keyed = [_Keyed(entry, entry.entry_key, entry.digest) for entry in entries]
        known = self._known({storable(one.key) for one in keyed})
        new: list[_Keyed] = []
        conflicting: list[_Keyed] = []
        for one in keyed:
            key = storable(one.key)
            if key not in known:
                known[key] = one.digest
                new.append(one)
            elif known[key] != one.digest:
                conflicting.append(one)
        posted, rows = self._insert(new, head)
        self._raise_alarm(conflicting)
        duplicates = len(entries) - len(new) - len(conflicting)
        handled = tuple(dict.fromkeys(one.key for one in keyed))
        return Posting(posted, duplicates, len(conflicting), handled), rows

    def _known(self, keys: Collection[str]) -> dict[str, str]:
        """Return the digests of those entries that are in the ledger, by key."""
        if not keys:
            return {}
        found = self._connection.execute(_KNOWN, {"keys": list(keys)})
        return {row.entry_key: row.digest for row in found}

    def _insert(
        self, entries: Sequence[_Keyed], head: Head
    ) -> tuple[tuple[Posted, ...], Sequence[Mapping[str, Any]]]:
        if not entries:
            return (), ()
        owners = self._owners({one.entry.session_id for one in entries})
        numbered = list(enumerate(entries, head.entries + 1))
        rows = [self._row(number, one, owners) for number, one in numbered]
        lines = [line_row(number, line) for number, one in numbered for line in one.entry.lines]
        append(self._connection, head, rows, lines, self._now)
        posted = (
            Posted(number, owners[one.entry.session_id]["tenant_id"], one.entry) for number, one in numbered
        )
        return tuple(posted), rows

    def _owners(self, session_ids: Collection[str]) -> Mapping[str, RowMapping]:
        """Return who pays for each of these sessions."""
        found = self._connection.execute(_OWNERS, {"ids": list(session_ids)})
        owners = {row["id"]: row for row in found.mappings()}
        if missing := sorted(set(session_ids) - owners.keys()):
            raise Unpostable(f"the ledger does not know session {missing[0]}, so nobody pays for its entries")
        return owners

    def _row(self, number: int, one: _Keyed, owners: Mapping[str, RowMapping]) -> dict[str, Any]:
        entry = one.entry
        owner = owners[entry.session_id]
        return {
            "id": number,
            "entry_key": one.key,
            "digest": one.digest,
            "session_id": entry.session_id,
            "tenant_id": owner["tenant_id"],
            "project_id": owner["project_id"],
            "api_key_id": owner["api_key_id"],
            "end_user_id": owner["end_user_id"],
            "tags": owner["tags"],
            "provider": entry.provider,
            "account": owner["account"],
            "upstream_session_id": entry.upstream_session_id,
            "model": entry.model,
            "kind": entry.kind,
            "role": entry.role,
            "subject_id": entry.subject_id,
            "revision": entry.revision,
            "status": entry.status,
            "status_reason": entry.status_reason,
            "estimated": entry.estimated,
            "flags": entry.flags,
            "occurred_at": entry.occurred_at,
            "posted_at": self._now,
            "period": self._periods.period_of(entry.occurred_at),
            **entry_amounts(entry),
            "charge_nanousd": entry.charge_nanousd,
            "estimate_nanousd": entry.estimate_nanousd,
            "held_nanousd": entry.held_nanousd,
            **billing_columns(entry.billing),
        }

    def _raise_alarm(self, entries: Sequence[_Keyed]) -> None:
        """List payloads that differ from what is booked under their key, each once."""
        columns = entry_conflict.c
        for entry, key, digest in entries:
            listed = select(columns.id).where(columns.entry_key == key, columns.digest == digest)
            if self._connection.execute(listed).first() is None:
                payload = msgspec.json.encode(entry).decode()
                row = {"entry_key": key, "digest": digest, "found_at": self._now, "payload": payload}
                self._connection.execute(insert(entry_conflict), row)


_KNOWN = select(ledger_entry.c.entry_key, ledger_entry.c.digest).where(
    ledger_entry.c.entry_key.in_(bindparam("keys", expanding=True))
)
_OWNERS = select(
    session.c.id,
    session.c.tenant_id,
    session.c.project_id,
    session.c.api_key_id,
    session.c.end_user_id,
    session.c.tags,
    session.c.account,
).where(session.c.id.in_(bindparam("ids", expanding=True)))


def line_row(number: int, line: Line) -> dict[str, Any]:
    """Return the row of one line of entry `number`."""
    unit = "ms" if line.meter is Meter.DURATION_MS else "token"
    return {"entry_id": number, "unit": unit, **msgspec.structs.asdict(line)}


def billing_columns(billing: Billing | None) -> dict[str, Any]:
    """Return what the ledger keeps of an entry's terms, all null where its three amounts are one."""
    names = Billing.__struct_fields__
    return dict.fromkeys(names) if billing is None else {name: getattr(billing, name) for name in names}


def entry_amounts(entry: Entry) -> dict[str, int | None]:
    """Return the entry's three amounts: the sums over its lines, all null when it is unrated."""
    if entry.cost_nanousd is None:
        return dict.fromkeys(THREE_AMOUNTS)
    return {name: _sum([getattr(line, name) for line in entry.lines]) for name in THREE_AMOUNTS}


def _sum(amounts: Sequence[int | None]) -> int | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if len(known) == len(amounts) else None


def _set_checkpoint(connection: Connection, instance_id: str, upto: int, now: datetime) -> None:
    """Note how far this journal is posted; never backwards, since a start posts what was kept again."""
    values = {"instance_id": instance_id, "seq": upto, "at": now}
    connection.execute(_checkpoint(connection.dialect.name), values)


@functools.cache
def _checkpoint(dialect: str) -> Executable:
    row = (postgresql if dialect == "postgresql" else sqlite).insert(journal_checkpoint)
    reached = journal_checkpoint.c.seq
    further = case((row.excluded.seq > reached, row.excluded.seq), else_=reached)
    changes = {"seq": further, "at": row.excluded.at}
    kept: Executable = row.on_conflict_do_update(index_elements=["instance_id"], set_=changes)
    return kept

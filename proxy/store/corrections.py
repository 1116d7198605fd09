"""Corrections: an entry is reversed and replaced, never changed.

The reversal has the entry's lines and amounts negated, what is null stays null. The replacement has what
should have been booked. Both belong to the instant and the windows of the entry that they correct. A
replacement can be corrected in its turn; nothing is reversed twice, which a unique index sees to.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from msgspec.structs import replace
from sqlalchemy import ColumnElement, Connection, select

from proxy.core.rating import Billing, CardBook, Line, rate, rating_flags
from proxy.core.records import Entry, Kind, Role
from proxy.core.usage import Flag, Meter, Usage
from proxy.store.posting import billing_columns, entry_amounts, line_row
from proxy.store.schema import THREE_AMOUNTS, ledger_entry, ledger_line

_RATING_FLAGS = frozenset({Flag.MODEL_UNKNOWN, Flag.METER_UNPRICED})
_METERS = {meter.value: meter for meter in Meter}
_reversal = ledger_entry.alias("reversal")

# Entries that nothing has reversed: what the ledger says now of each billed thing.
CURRENT: ColumnElement[bool] = (ledger_entry.c.role != Role.REVERSAL) & ~(
    select(_reversal.c.id)
    .where(_reversal.c.corrects == ledger_entry.c.id, _reversal.c.role == Role.REVERSAL)
    .exists()
)


@dataclass(frozen=True, slots=True)
class Stored:
    """A metered entry and its lines, as the ledger has them."""

    row: Mapping[str, Any]
    lines: Sequence[Mapping[str, Any]]

    @property
    def record(self) -> Entry:
        """Return the record that it was posted from."""
        row = self.row
        return Entry(
            session_id=row["session_id"],
            upstream_session_id=row["upstream_session_id"],
            provider=row["provider"],
            kind=Kind(row["kind"]),
            subject_id=row["subject_id"],
            model=row["model"],
            status=row["status"],
            status_reason=row["status_reason"],
            occurred_at=row["occurred_at"],
            estimated=row["estimated"],
            flags=tuple(row["flags"]),
            lines=tuple(_line(line) for line in self.lines),
            cost_nanousd=row["cost_nanousd"],
            charge_nanousd=row["charge_nanousd"],
            role=Role(row["role"]),
            revision=row["revision"],
            billing=_billing(row),
        )


def _billing(row: Mapping[str, Any]) -> Billing | None:
    if row["markup_bp"] is None:
        return None
    return Billing(**{name: row[name] for name in Billing.__struct_fields__})


def _line(row: Mapping[str, Any]) -> Line:
    values = {name: row[name] for name in Line.__struct_fields__}
    return Line(
        **values | {"meter": _METERS.get(row["meter"], row["meter"])}
    )  # tampering may have made another


def stored(connection: Connection, wanted: Sequence[ColumnElement[bool]], limit: int) -> list[Stored]:
    """Return the first `limit` entries that are wanted, by id."""
    query = select(ledger_entry).where(*wanted).order_by(ledger_entry.c.id).limit(limit)
    rows = connection.execute(query).mappings().all()
    lines: dict[int, list[dict[str, Any]]] = {row["id"]: [] for row in rows}
    if rows:
        own = select(ledger_line).where(ledger_line.c.entry_id.in_(list(lines)))
        for line in connection.execute(own).mappings():
            lines[line["entry_id"]].append(dict(line))
    return [Stored(dict(row), sorted(lines[row["id"]], key=lambda line: str(line["meter"]))) for row in rows]


def reversal(entry: Entry) -> Entry:
    """Return what takes an entry back."""
    return replace(
        entry,
        role=Role.REVERSAL,
        revision=entry.revision + 1,
        lines=tuple(_negated(line) for line in entry.lines),
        cost_nanousd=_minus(entry.cost_nanousd),
        charge_nanousd=_minus(entry.charge_nanousd),
    )


def _negated(line: Line) -> Line:
    amounts = {name: _minus(getattr(line, name)) for name in THREE_AMOUNTS}
    return replace(line, quantity=-line.quantity, **amounts)


def _minus(amount: int | None) -> int | None:
    return None if amount is None else -amount


def rerated(old: Stored, cards: CardBook) -> Entry:
    """Return what an entry should have been on these prices, with a revision of its own.

    What the provider counted stays as it is; so does what nothing is known of.
    """
    entry = old.record
    counts = {line.meter: line.quantity for line in entry.lines}
    usage = Usage(counts, frozenset(map(Flag, entry.flags)))
    terms = cards.terms(entry.provider, entry.model, entry.occurred_at, old.row["tenant_id"])
    rated = rate(usage, terms)
    flags = (usage.flags - _RATING_FLAGS) | rating_flags(rated, terms.card)
    return replace(
        entry,
        role=Role.REPLACEMENT,
        revision=entry.revision + 1,
        flags=tuple(sorted(flags)),
        lines=rated.lines,
        cost_nanousd=rated.cost_nanousd,
        charge_nanousd=_charge(entry, usage, cards) if rated.cost_nanousd is None else None,
        billing=terms.billing,
    )


def _charge(entry: Entry, usage: Usage, cards: CardBook) -> int | None:
    """Return what budgets are charged for what still has no price."""
    if not usage.counts:
        return entry.charge_nanousd
    return cards.dearest_nanousd(entry.provider, usage, entry.occurred_at)


def differs(entry: Entry, other: Entry) -> bool:
    """Return whether one was rated otherwise; another card with the same price makes no difference."""
    return [_priced(line) for line in entry.lines] != [_priced(line) for line in other.lines]


def _priced(line: Line) -> Line:
    return replace(line, rate_card_id=None)


def correction_rows(
    old: Stored, replaced: Entry, first_id: int, now: datetime, period: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows of a reversal, numbered `first_id`, and a replacement behind it, and their lines."""
    rows: list[dict[str, Any]] = []
    lines: list[dict[str, Any]] = []
    for number, entry in enumerate((reversal(old.record), replaced), first_id):
        rows.append(
            {
                **old.row,
                **entry_amounts(entry),
                "id": number,
                "entry_key": entry.entry_key,
                "digest": entry.digest,
                "role": entry.role,
                "revision": entry.revision,
                "flags": entry.flags,
                "posted_at": now,
                "period": period,
                "charge_nanousd": entry.charge_nanousd,
                "estimate_nanousd": None,  # of the original, as what was held for it
                "held_nanousd": None,
                **billing_columns(entry.billing),
                "corrects": old.row["id"],
            }
        )
        lines += [line_row(number, line) for line in entry.lines]
    return rows, lines

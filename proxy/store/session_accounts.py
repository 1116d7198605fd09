"""The account of a session, read from the ledger: `core/session_account.py` explains it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, select

from proxy.core import session_account as core
from proxy.core.money import format_usd
from proxy.core.rating import Line, Price, RateCard, Terms
from proxy.core.records import Kind, Role
from proxy.core.session_account import Explained, Part, Thing
from proxy.core.usage import Meter
from proxy.store import NotFound, StoreError
from proxy.store.archives import need_lines
from proxy.store.database import reading
from proxy.store.filters import Filters
from proxy.store.instants import format_instant
from proxy.store.ledger import Booked, entries_of_session
from proxy.store.pages import Within, is_within
from proxy.store.prices import cards_of
from proxy.store.schema import session

ENTRIES_MAX = 10_000
_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_METERS = {meter.value: meter for meter in Meter}


@dataclass(frozen=True, slots=True)
class SessionAccount:
    """What a session cost, thing by thing. `is_billed`: what its tenant owes for it."""

    session_id: str
    is_billed: bool
    entries: Sequence[Booked]
    explained: Sequence[Explained]

    def as_json(self) -> dict[str, Any]:
        total = core.sums(self.explained)
        return {
            "session_id": self.session_id,
            "amounts": "billed" if self.is_billed else "cost",
            "things": [_thing(*both) for both in zip(self.entries, self.explained, strict=True)],
            "total": {
                **_usd("amount", total.nanousd),
                **_usd("estimated", total.estimated_nanousd),
                "unrated_entries": total.unrated,
                "parts": {part.value: _usd("amount", total.parts[part]) for part in Part},
                "growth_tokens": total.growth_tokens,
                **_usd("growth", total.growth_nanousd),
                "broken_tokens": total.broken_tokens,
                **_usd("extra", total.extra_nanousd),
            },
        }


def session_account(
    engine: Engine, session_id: str, within: Within = None, *, is_billed: bool = False
) -> SessionAccount:
    """Return the account of a session, live or past, as far as it is booked.

    Raises:
        StoreError: no session of that id was posted, it is of no tenant `within`, or it is too long.
    """
    with reading(engine) as connection:
        owner = connection.execute(select(session.c.tenant_id).where(session.c.id == session_id)).scalar()
        if owner is None or not is_within(owner, within):
            raise NotFound(
                f"There is no session {session_id[:60]!r}: the list of sessions says which there are."
            )
        entries = entries_of_session(connection, session_id, ENTRIES_MAX + 1)
        if len(entries) > ENTRIES_MAX:
            raise StoreError(
                f"This session has more than {ENTRIES_MAX:,} entries: its sums are in a report about it,"
                " and its entries in the list of the ledger's."
            )
        need_lines(connection, Filters(session=session_id), "the account of a session")
        things = _things(connection, entries)
    return SessionAccount(session_id, is_billed, entries, core.account(things, is_billed=is_billed))


def _things(connection: Connection, entries: Sequence[Booked]) -> list[Thing]:
    ids = {line.rate_card_id for entry in entries for line in entry.lines}
    ids |= {entry.agreed_card_id for entry in entries}
    cards = cards_of(connection, (id for id in ids if id is not None))
    return [
        Thing(
            id=entry.id,
            kind=Kind(entry.kind),
            role=Role(entry.role),
            model=entry.model,
            estimated=entry.estimated,
            corrects=entry.corrects,
            lines=[_line(line) for line in entry.lines],
            cost_nanousd=entry.cost_nanousd,
            billed_nanousd=entry.billed_nanousd,
            terms=_terms(entry, cards),
        )
        for entry in entries
    ]


def _line(line: Any) -> Line:
    values = {name: getattr(line, name) for name in Line.__struct_fields__}
    return Line(**values | {"meter": _METERS.get(line.meter, line.meter)})  # a newer version may count more


def _terms(entry: Booked, cards: Mapping[str, RateCard]) -> Terms:
    """Return the prices that an entry was rated on: those of its card, and those that stand in its lines."""
    ids = [line.rate_card_id for line in entry.lines if line.rate_card_id is not None]
    known = cards[ids[0]].prices if ids and ids[0] in cards else {}
    own = {
        _METERS[line.meter]: Price(line.price_nanousd, line.price_per)
        for line in entry.lines
        if line.meter in _METERS and line.price_nanousd is not None and line.price_per is not None
    }
    card = RateCard(ids[0] if ids else "", "", entry.model or "", _EVER, {**known, **own})
    agreed = cards.get(entry.agreed_card_id) if entry.agreed_card_id is not None else None
    return Terms(card, agreed=agreed, markup_bp=entry.markup_bp or 0)


def _thing(entry: Booked, one: Explained) -> dict[str, Any]:
    growth, broke = one.growth, one.broke
    return {
        "id": entry.id,
        "occurred_at": format_instant(entry.occurred_at),
        "kind": entry.kind,
        "role": entry.role,
        "subject_id": entry.subject_id,
        "model": entry.model,
        "status": entry.status,
        "estimated": entry.estimated,
        "rated": entry.rated,
        "corrects": entry.corrects,
        "corrected": one.is_reversed,
        **_usd("amount", one.nanousd),
        "parts": {
            part.value: {"quantity": share.quantity, **_usd("amount", share.nanousd)}
            for part, share in one.parts.items()
        },
        "growth": growth and {"tokens": growth.tokens, **_usd("amount", growth.nanousd)},
        "cache_broke": broke
        and {"tokens": broke.tokens, **_usd("extra", broke.extra_nanousd), "because": broke.because.value},
        **_usd("running", one.running_nanousd),
    }


def _usd(name: str, amount: int | None) -> dict[str, Any]:
    return {f"{name}_nanousd": amount, f"{name}_usd": None if amount is None else format_usd(amount)}

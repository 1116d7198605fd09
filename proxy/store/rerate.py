"""Rating again what was booked, on the cards that are there now: first as a diff, then as corrections.

Done in pages, each a transaction of its own: an interrupted run leaves whole corrections, and the next one
goes on from there, since what is right already does not differ.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from sqlalchemy import Connection, Engine

from proxy.core.records import Entry
from proxy.store.announcements import announce_thresholds
from proxy.store.archives import refuse_archived
from proxy.store.audit import Act
from proxy.store.budget_cache import BudgetCache
from proxy.store.chain import append, chain, lock_chain
from proxy.store.corrections import CURRENT, Stored, correction_rows, differs, rerated, stored
from proxy.store.database import reading, writing
from proxy.store.filters import Filters, conditions
from proxy.store.prices import load_prices
from proxy.store.schema import ledger_entry
from proxy.store.spend import METERED, charge

PAGE_ENTRIES = 500


@dataclass(frozen=True, slots=True)
class Change:
    """An entry, and what it costs and is billed by the prices of now. Nano-dollars; None is unrated."""

    entry_id: int
    tenant_id: str
    occurred_at: datetime
    model: str | None
    kind: str
    before_nanousd: int | None
    after_nanousd: int | None
    billed_before_nanousd: int | None
    billed_after_nanousd: int | None

    @property
    def difference_nanousd(self) -> int:
        return (self.after_nanousd or 0) - (self.before_nanousd or 0)

    @property
    def billed_difference_nanousd(self) -> int:
        return (self.billed_after_nanousd or 0) - (self.billed_before_nanousd or 0)


@dataclass(frozen=True, slots=True)
class Rerating:
    """What to rate again. `act` books it; without one it is only looked at.

    `aliases` maps a deployment's name to the model whose cards it uses. `zone` is that of the periods until a
    first close has fixed it.
    """

    filters: Filters
    aliases: dict[str, str]
    zone: tzinfo
    act: Act | None = None

    def run(self, engine: Engine) -> Iterator[Change]:
        """Yield what differs, in the order of the ledger; with an act, what was booked.

        Raises:
            StoreError: a filter names what does not exist.
        """
        for changes, _following in self.pages(engine):
            yield from changes

    def pages(self, engine: Engine, after: int = 0) -> Iterator[tuple[list[Change], int | None]]:
        """Yield, a transaction each, what differs and the entry behind which the rest is, None at the end.

        Raises:
            StoreError: a filter names what does not exist.
        """
        with reading(engine) as connection:
            last = chain(connection).entries
        following: int | None = after
        while following is not None:
            with self._transaction(engine) as connection:
                changes, following = self._page(connection, following, last)
            yield changes, following

    def _transaction(self, engine: Engine) -> AbstractContextManager[Connection]:
        return reading(engine) if self.act is None else writing(engine)

    def _page(self, connection: Connection, after: int, last: int) -> tuple[list[Change], int | None]:
        """Look at the entries behind `after`; return what differs, and where the next page begins."""
        if self.act is not None:
            lock_chain(connection)  # before anything that it is decided by is read
        cards = load_prices(connection, self.aliases)
        wanted = [
            *conditions(connection, self.filters),
            CURRENT,
            ledger_entry.c.kind.in_(METERED),
            ledger_entry.c.id.between(after + 1, last),
        ]
        is_rated = ledger_entry.c.cost_nanousd.is_not(None)  # what is not had no lines when it was archived
        refuse_archived(connection, [*wanted, is_rated], "rating again")
        page = stored(connection, wanted, PAGE_ENTRIES)
        pairs = [(old, new) for old in page if differs(old.record, new := rerated(old, cards))]
        if self.act is not None and pairs:
            self._book(connection, pairs, self.act)
        following = page[-1].row["id"] if len(page) == PAGE_ENTRIES else None
        return [_change(old, new) for old, new in pairs], following

    def _book(self, connection: Connection, pairs: list[tuple[Stored, Entry]], act: Act) -> None:
        head = lock_chain(connection)
        periods = head.periods(self.zone)
        rows: list[dict[str, Any]] = []
        lines: list[dict[str, Any]] = []
        for old, new in pairs:
            period = periods.period_of(old.row["occurred_at"])
            own, own_lines = correction_rows(old, new, head.entries + 1 + len(rows), act.at, period)
            rows += own
            lines += own_lines
        append(connection, head, rows, lines, act.at)
        book = BudgetCache().read(connection)
        charged = charge(connection, book, rows, instance_id="", booked=head.entries)
        announce_thresholds(connection, book.budgets, charged, act.at)
        corrections = f"{rows[0]['id']}-{rows[-1]['id']}"
        _note(connection, act, corrections, [_change(old, new) for old, new in pairs])


def _note(connection: Connection, act: Act, corrections: str, changes: list[Change]) -> None:
    """Leave a row for each tenant that is concerned: no other tenant's people read it."""
    by_tenant: dict[str, list[Change]] = {}
    for change in changes:
        by_tenant.setdefault(change.tenant_id, []).append(change)
    for tenant_id, own in sorted(by_tenant.items()):
        act.note(
            connection,
            "prices.rerate",
            corrections,  # the page's: from the first to the last
            tenant_id=tenant_id,
            before={
                "entries": len(own),
                "cost_nanousd": sum(one.before_nanousd or 0 for one in own),
                "billed_nanousd": sum(one.billed_before_nanousd or 0 for one in own),
            },
            after={
                "entries": len(own),
                "cost_nanousd": sum(one.after_nanousd or 0 for one in own),
                "billed_nanousd": sum(one.billed_after_nanousd or 0 for one in own),
            },
        )


def _change(old: Stored, new: Entry) -> Change:
    row = old.row
    return Change(
        entry_id=row["id"],
        tenant_id=row["tenant_id"],
        occurred_at=row["occurred_at"],
        model=row["model"],
        kind=row["kind"],
        before_nanousd=row["cost_nanousd"],
        after_nanousd=new.cost_nanousd,
        billed_before_nanousd=row["billed_nanousd"],
        billed_after_nanousd=new.billed_nanousd,
    )

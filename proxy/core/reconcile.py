"""Reconciliation: our ledger against the provider's bill, and why they differ.

A difference is theirs − ours, in nano-dollars. What it is made of is taken off in this order, each part no
larger than what can be shown; what is left is called unexplained, and the parts sum to the difference:

    price       they charged another price that one of our cards has, or had
    unrated     we had no price for what they charged
    delay       we booked it so lately that they need not show it yet
    day edge    it happened around midnight: what is missing on one day is there on the next
    estimates   we had to estimate: an estimate explains its own amount at most, either way
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from proxy.core.bill import Bill, Cell, Charged
from proxy.core.money import divide_half_even
from proxy.core.rating import Price, without_date
from proxy.core.usage import Meter

_DAY = timedelta(days=1)


class Cause(StrEnum):
    """Why ours and theirs differ."""

    PRICE = "price"
    UNRATED = "unrated"
    DELAY = "delay"
    DAY_EDGE = "day_edge"
    ESTIMATES = "estimates"


class Edge(StrEnum):
    """Near which midnight something happened."""

    START = "start"
    END = "end"


@dataclass(frozen=True, slots=True)
class Booked:
    """A sum of ledger lines that have all of this in common. No cost: they have no price.

    Without a meter: so many entries (`quantity`) of which nothing was counted.
    """

    on: date
    account: str | None
    model: str | None
    meter: Meter | None
    quantity: int
    nanousd: int | None
    price: Price | None = None
    estimated: bool = False
    late: bool = False
    edge: Edge | None = None
    lines: int = 1


@dataclass(slots=True)
class Own:
    """What we have of one cell; amounts are nano-dollars."""

    quantity: int = 0
    nanousd: int = 0
    unrated: int = 0  # of the quantity
    uncounted: int = 0  # entries
    estimated: int = 0
    late: int = 0
    lines: int = 0
    near: dict[Edge, int] = field(default_factory=dict)
    prices: set[Price] = field(default_factory=set)

    def add(self, booked: Booked) -> None:
        if booked.meter is None:
            self.uncounted += booked.quantity
            return
        self.quantity += booked.quantity
        if booked.nanousd is None:
            self.unrated += booked.quantity
            return
        self.nanousd += booked.nanousd
        self.lines += booked.lines
        self.estimated += booked.nanousd if booked.estimated else 0
        self.late += booked.nanousd if booked.late else 0
        if booked.edge is not None:
            self.near[booked.edge] = self.near.get(booked.edge, 0) + booked.nanousd
        if booked.price is not None and booked.quantity:
            self.prices.add(booked.price)


class Dated(NamedTuple):
    """A price, and from when on it holds."""

    effective_from: datetime
    price: Price


Prices = Mapping[tuple[str, Meter], Sequence[Dated]]
Books = dict[Cell, Own]


@dataclass(slots=True)
class Row:
    """One cell: ours, theirs, and what the difference is made of so far."""

    cell: Cell
    ours: Own
    theirs: Charged
    causes: dict[Cause, int] = field(default_factory=dict)

    @property
    def difference(self) -> int:
        return self.theirs.nanousd - self.ours.nanousd

    @property
    def unexplained(self) -> int:
        return self.difference - sum(self.causes.values())

    def explain(self, cause: Cause, amount: int) -> None:
        if amount:
            self.causes[cause] = self.causes.get(cause, 0) + amount


@dataclass(frozen=True, slots=True)
class Sums:
    """What rows come to. `unexplained` leaves no row's against another's: it is a sum without signs."""

    ours: int
    theirs: int
    causes: Mapping[Cause, int]
    unexplained: int


class Threshold(NamedTuple):
    """Up to what a day's unexplained difference is nothing to worry about: the higher of the two."""

    nanousd: int
    percent: int  # of what they charge

    def of(self, theirs_nanousd: int) -> int:
        return max(self.nanousd, divide_half_even(max(theirs_nanousd, 0) * self.percent, 100))


# --- Ours


def project_of(account: str | None) -> str | None:
    """Return the project of an upstream account as the ledger names it: organisation and project."""
    last = (account or "").rpartition("/")[2]
    return last if last and ("/" in str(account) or not last.startswith("org")) else None


def books(
    booked: Iterable[Booked],
    aliases: Mapping[str, str],
    named: Callable[[str | None], str | None] = lambda project: project,
) -> Books:
    """Return our side by cells. `aliases` maps a deployment to its model; `named` may name projects."""
    found: Books = {}
    for one in booked:
        model = None if one.model is None else without_date(aliases.get(one.model, one.model))
        cell = Cell(one.on, named(project_of(one.account)), model, one.meter)
        found.setdefault(cell, Own()).add(one)
    return {cell: own for cell, own in found.items() if own.quantity or own.nanousd or own.uncounted}


def sole_project(theirs: Iterable[str | None]) -> str | None:
    """Return the project that usage of ours which names none must be of: the only one there is."""
    projects = {project for project in theirs if project is not None}
    return projects.pop() if len(projects) == 1 else None


# --- The comparison


def compare(ours: Books, theirs: Bill, prices: Prices) -> list[Row]:
    """Return a row for each cell of either side, in order, with what can be shown of its difference."""
    cells = sorted(ours.keys() | theirs.keys(), key=_order)
    rows = [Row(cell, ours.get(cell, Own()), theirs.get(cell, Charged())) for cell in cells]
    for row in rows:
        _explain_price(row, prices)
        _explain_unrated(row)
        _explain_delay(row)
    _explain_edges(rows)
    for row in rows:
        limit = abs(row.ours.estimated)
        row.explain(Cause.ESTIMATES, max(-limit, min(limit, row.unexplained)))
    return rows


def _order(cell: Cell) -> tuple[object, ...]:
    return tuple((part is not None, part or "") if n else part for n, part in enumerate(cell))


def _explain_price(row: Row, prices: Prices) -> None:
    """A price of theirs is shown by one of our cards having it, or, on a day when it changed, by two.

    That they charge nothing shows no price: the line may only be missing, or be called otherwise.
    """
    quantity, cell, own = row.theirs.quantity, row.cell, row.ours.prices
    if not quantity or cell.model is None or cell.meter is None or not own or row.theirs.nanousd <= 0:
        return
    dated = prices.get((cell.model, cell.meter), ())
    known = {one.price for one in dated} | own
    is_same = quantity == row.ours.quantity and not row.ours.unrated
    if len(own) == 1 and any(_charges(one, row) for one in known):
        (ours,) = own
        at_ours = row.ours.nanousd if is_same else ours.of(quantity)  # as it was rounded, line by line
        row.explain(Cause.PRICE, row.theirs.nanousd - at_ours if is_same or not _charges(ours, row) else 0)
    elif is_same and (len(own) > 1 or any(_is_on(one.effective_from, cell.on) for one in dated)):
        possible = [one.of(quantity) for one in known]
        if min(possible) <= row.theirs.nanousd <= max(possible):
            row.explain(Cause.PRICE, row.unexplained)


def _charges(price: Price, row: Row) -> bool:
    """Return whether what they charge is by this price; each of many lines may have been rounded."""
    rounded = row.ours.lines if price.per > 1 else 0
    return abs(price.of(row.theirs.quantity or 0) - row.theirs.nanousd) <= rounded


def _is_on(at: datetime, day: date) -> bool:
    return at.astimezone(UTC).date() == day


def _explain_unrated(row: Row) -> None:
    """Of what they charged, as much as of what they counted has no price here."""
    ours, theirs = row.ours, row.theirs
    if row.unexplained <= 0 or ours.unrated <= 0:
        return
    if theirs.quantity:
        share = min(ours.unrated, theirs.quantity)
        limit = divide_half_even(theirs.nanousd * share, theirs.quantity)
    else:
        limit = row.unexplained if ours.unrated == ours.quantity else 0
    row.explain(Cause.UNRATED, max(0, min(row.unexplained, limit)))


def _explain_delay(row: Row) -> None:
    row.explain(Cause.DELAY, -max(0, min(-row.unexplained, row.ours.late)))


def _explain_edges(rows: Sequence[Row]) -> None:
    """Move what happened around a midnight to its other side, as far as it is missing here and not there.

    A day that is not over yet may be short of what they do not show yet: that is not missing there.
    """
    by_cell = {row.cell: row for row in rows}
    for row in rows:
        following = by_cell.get(row.cell._replace(on=row.cell.on + _DAY))
        if following is None or row.cell.meter is None:
            continue
        over = max(0, following.unexplained)
        forth = max(0, min(-row.unexplained, over + _hidden(following), row.ours.near.get(Edge.END, 0)))
        back = max(0, min(row.unexplained, -following.unexplained, following.ours.near.get(Edge.START, 0)))
        following.explain(Cause.DELAY, min(0, over - forth))
        row.explain(Cause.DAY_EDGE, back - forth)
        following.explain(Cause.DAY_EDGE, forth - back)


def _hidden(row: Row) -> int:
    """Return how much more they may not show yet of a day of which they do not show something."""
    delay = row.causes.get(Cause.DELAY, 0)
    return max(0, row.ours.late + delay) if delay else 0


# --- Sums


def sums(rows: Iterable[Row]) -> Sums:
    """Return what rows come to."""
    ours = theirs = unexplained = 0
    causes = dict.fromkeys(Cause, 0)
    for row in rows:
        ours += row.ours.nanousd
        theirs += row.theirs.nanousd
        unexplained += abs(row.unexplained)
        for cause, amount in row.causes.items():
            causes[cause] += amount
    return Sums(ours, theirs, causes, unexplained)


def by_day(rows: Iterable[Row], first: date, end: date) -> Iterator[tuple[date, list[Row]]]:
    """Yield the days from `first` to the one before `end`, each with its rows."""
    found: dict[date, list[Row]] = {}
    for row in rows:
        found.setdefault(row.cell.on, []).append(row)
    while first < end:
        yield first, found.get(first, [])
        first += _DAY


def complete_until(at: datetime, delay: timedelta) -> date:
    """Return the first day whose bill is not complete yet."""
    return (at - delay).astimezone(UTC).date()


def is_final(on: date, at: datetime, delay: timedelta) -> bool:
    """Return whether a day was over, and `delay` after it, when it was looked at."""
    return on < complete_until(at, delay)

"""The ledger against the simulator's truth file: two programs that price the same traffic apart."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import Engine, select

from proxy.simulator.truth import Truth
from proxy.store.database import reading
from proxy.store.schema import ledger_entry, ledger_line


@dataclass(frozen=True, slots=True)
class Booked:
    """What the ledger says of one thing."""

    session: str | None
    subject: str
    kind: str
    model: str | None
    status: str
    estimated: bool
    flags: Sequence[str]
    cost_nanousd: int | None
    lines_nanousd: int


def ledger(engine: Engine) -> list[Booked]:
    """Return every entry, with the sum of its lines as the database adds them up."""
    with reading(engine) as connection:
        entries = connection.execute(select(ledger_entry).order_by(ledger_entry.c.id)).mappings().all()
        lines = connection.execute(select(ledger_line)).mappings().all()
    sums: dict[int, int] = {}
    for line in lines:
        sums[line["entry_id"]] = sums.get(line["entry_id"], 0) + (line["cost_nanousd"] or 0)
    return [
        Booked(
            session=row["upstream_session_id"],
            subject=row["subject_id"],
            kind=row["kind"],
            model=row["model"],
            status=row["status"],
            estimated=row["estimated"],
            flags=row["flags"],
            cost_nanousd=row["cost_nanousd"],
            lines_nanousd=sums.get(row["id"], 0),
        )
        for row in entries
    ]


def differences(truth: Iterable[Truth], booked: Iterable[Booked]) -> list[str]:
    """Return every way in which the ledger is not what was sent, in words; nothing if it is.

    Everything measured was sent, at that price, once; everything estimated was opened and never
    billed; everything sent is there.
    """
    truth, booked = list(truth), list(booked)
    sent = {(line.session, line.subject): line for line in truth if line.what != "opened" and not line.duplicate}
    opened = {(line.session, line.subject) for line in truth if line.what == "opened"}
    found: list[str] = []
    seen: set[tuple[str | None, str]] = set()
    for entry in booked:
        key = (entry.session, entry.subject)
        if key in seen:
            found.append(f"{key} is booked twice")
        seen.add(key)
        found += _entry_differences(entry, sent.get((str(entry.session), entry.subject)), key in opened)
    found += [f"{key} was sent and is not booked" for key in sent if key not in seen]
    return found


def _entry_differences(entry: Booked, line: Truth | None, was_opened: bool) -> list[str]:
    name = f"{entry.session}/{entry.subject}"
    if entry.cost_nanousd is not None and entry.cost_nanousd != entry.lines_nanousd:
        return [f"{name} costs {entry.cost_nanousd}, its lines {entry.lines_nanousd}"]
    if entry.estimated:
        never_opened = entry.kind == "response" and not was_opened
        return [f"{name} is estimated and was never opened"] if never_opened else []
    if line is None:
        return [f"{name} is booked and was never sent"]
    owed = None if line.usd is None else Decimal(line.usd) * 1_000_000_000
    if entry.cost_nanousd != owed:
        return [f"{name} costs {entry.cost_nanousd}, owed is {owed}"]
    if entry.model != line.model and line.model is not None:
        return [f"{name} is booked on {entry.model}, sent by {line.model}"]
    return []

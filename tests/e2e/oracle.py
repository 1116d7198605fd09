"""The ledger against the simulator's truth file: two programs that price the same traffic apart."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine, select

from proxy.simulator.prices import response_usd
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
    lines: Mapping[str, int]  # quantity by meter


def ledger(engine: Engine) -> list[Booked]:
    """Return every entry, with the sum of its lines as the database adds them up."""
    with reading(engine) as connection:
        entries = connection.execute(select(ledger_entry).order_by(ledger_entry.c.id)).mappings().all()
        lines = connection.execute(select(ledger_line)).mappings().all()
    sums: dict[int, int] = {}
    quantities: dict[int, dict[str, int]] = {}
    for line in lines:
        sums[line["entry_id"]] = sums.get(line["entry_id"], 0) + (line["cost_nanousd"] or 0)
        quantities.setdefault(line["entry_id"], {})[line["meter"]] = line["quantity"]
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
            lines=quantities.get(row["id"], {}),
        )
        for row in entries
    ]


def differences(truth: Iterable[Truth], booked: Iterable[Booked]) -> list[str]:
    """Return every way in which the ledger is not what was sent, in words; nothing if it is.

    Everything measured was sent, at that price, once; everything estimated was opened and never
    billed; everything sent is there.
    """
    truth, booked = list(truth), list(booked)
    sent = {
        (line.session, line.subject): line for line in truth if line.what != "opened" and not line.duplicate
    }
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
    if line is None and (entry.kind, entry.status) == ("transcription", "failed"):
        # Nobody says what a failed transcription costs: the simulator sends no bill, the ledger is unsure.
        return [] if entry.cost_nanousd is None else [f"{name} failed and costs {entry.cost_nanousd}"]
    if line is None:
        return [f"{name} is booked and was never sent"]
    owed = _owed(line)
    if entry.cost_nanousd != owed:
        return [f"{name} costs {entry.cost_nanousd}, owed is {owed}"]
    if entry.model != line.model and line.model is not None:
        return [f"{name} is booked on {entry.model}, sent by {line.model}"]
    return []


def _owed(line: Truth) -> Decimal | None:
    """Return nano-dollars that can be known from what was on the wire; None if they cannot."""
    usd = None if line.usd is None else Decimal(line.usd)
    if line.fault in (None, "no_details") and line.usage and line.usage.get("total_tokens") == 0:
        usd = Decimal(0)  # nothing is free, whatever the model
    elif line.fault == "no_details":  # no modality, no price
        usd = None
    elif line.fault == "cached_without_details" and line.model and line.usage:
        usd = response_usd(line.model, _with_cached_spread(line.usage))
    return None if usd is None else usd * 1_000_000_000


def _with_cached_spread(usage: dict[str, Any]) -> dict[str, Any]:
    """Return `usage` with its cached total laid on its modalities: text first, then audio, then images."""
    told = copy.deepcopy(usage)
    inputs = told["input_token_details"]
    left, spread = inputs["cached_tokens"], {}
    for modality in ("text_tokens", "audio_tokens", "image_tokens"):
        spread[modality] = min(left, inputs[modality])
        left -= spread[modality]
    inputs["cached_tokens_details"] = spread
    return told

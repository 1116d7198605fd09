"""A session turn by turn: its account, shaped for tables and charts. Pure, over the API's answers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from proxy.console.wording import BECAUSE, INTERRUPTIONS, said
from proxy.core.records import Kind, Role
from proxy.core.session_account import Part

TURNS_MAX = 200  # on one page
INTERRUPTED = ("cancelled", "incomplete")

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Turn:
    """One billed thing. `parts` sum to `nanousd`; of things without an account they are not known."""

    number: int
    id: int
    occurred_at: str
    kind: str
    nanousd: int | None
    running_nanousd: int
    parts: Mapping[str, int | None]
    marks: Sequence[tuple[str, str]]  # kind and text of a badge
    is_interrupted: bool
    context: Row | None = None  # of a response whose input is known
    broke: Row | None = None

    @property
    def why(self) -> str:
        """Return why the cache broke, in words."""
        return said(BECAUSE, self.broke["because"]) if self.broke else ""


@dataclass(frozen=True, slots=True)
class Told:
    """What is shown of a session at once: some of its turns, and what all of them come to."""

    turns: Sequence[Turn]
    first: int  # the number of the first turn that is shown, from 1
    count: int
    parts: Sequence[str]  # those that the shown turns have
    interrupted: int = 0
    broken: int = 0
    unrated: int = 0
    nanousd: int = 0  # of all turns, without those that have no price
    pages: int = 1
    page: int = 1
    contexts: Sequence[Turn] = field(default_factory=list)


def tell(entries: Sequence[Row], things: Sequence[Row] | None, page: int) -> Told:
    """Return a page of turns, from entries and, where there is one, from their account."""
    details = {one["id"]: one for one in entries}
    every = list(_explained(things, details) if things is not None else _plain(entries))
    pages = max(1, -(-len(every) // TURNS_MAX))
    page = min(max(page, 1), pages)
    first = (page - 1) * TURNS_MAX
    shown = every[first : first + TURNS_MAX]
    return Told(
        turns=shown,
        first=first + 1,
        count=len(every),
        parts=[part.value for part in Part if any(one.parts.get(part) is not None for one in shown)],
        interrupted=sum(one.is_interrupted for one in every),
        broken=sum(one.broke is not None for one in every),
        unrated=sum(one.nanousd is None for one in every),
        nanousd=sum(one.nanousd or 0 for one in every),
        pages=pages,
        page=page,
        contexts=[one for one in shown if one.context is not None],
    )


def _explained(things: Sequence[Row], details: Mapping[int, Row]) -> Iterator[Turn]:
    for number, thing in enumerate(things, 1):
        is_taken_back = thing["role"] == Role.REVERSAL
        broke = thing["cache_broke"] if not is_taken_back else None
        yield Turn(
            number=number,
            id=thing["id"],
            occurred_at=thing["occurred_at"],
            kind=thing["kind"],
            nanousd=thing["amount_nanousd"],
            running_nanousd=thing["running_nanousd"],
            parts={name: share["amount_nanousd"] for name, share in thing["parts"].items()},
            marks=_marks(thing, details.get(thing["id"]), broke),
            is_interrupted=_is_interrupted(thing),
            context=None if is_taken_back else _context(thing),
            broke=broke,
        )


def _plain(entries: Sequence[Row]) -> Iterator[Turn]:
    running = 0
    for number, entry in enumerate(entries, 1):
        running += entry["cost_nanousd"] or 0
        yield Turn(
            number=number,
            id=entry["id"],
            occurred_at=entry["occurred_at"],
            kind=entry["kind"],
            nanousd=entry["cost_nanousd"],
            running_nanousd=running,
            parts={},
            marks=_marks(entry, entry, None),
            is_interrupted=_is_interrupted(entry),
        )


def _is_interrupted(thing: Row) -> bool:
    return (
        thing["kind"] == Kind.RESPONSE and thing["role"] == Role.ORIGINAL and thing["status"] in INTERRUPTED
    )


def _marks(thing: Row, entry: Row | None, broke: Row | None) -> list[tuple[str, str]]:
    marks = []
    if _is_interrupted(thing):
        why = said(INTERRUPTIONS, entry["status_reason"]) if entry else ""
        marks.append(("quiet", f"interrupted: {why}" if why else thing["status"]))
    elif thing["status"] not in ("completed", ""):
        marks.append(("warning", thing["status"]))
    if broke is not None:
        marks.append(("warning", f"cache broke: {said(BECAUSE, broke['because'])}"))
    if thing["estimated"]:
        marks.append(("warning", "estimated"))
    if not thing["rated"]:
        marks.append(("warning", "unrated"))
    if thing["role"] != Role.ORIGINAL:
        marks.append(("quiet", thing["role"]))
    if thing.get("corrected"):
        marks.append(("quiet", "corrected"))
    return marks


def _context(thing: Row) -> Row | None:
    """Return the input of a response in tokens, as far as that is known."""
    if thing["kind"] != Kind.RESPONSE or thing["growth"] is None:
        return None
    fresh = sum(_quantity(thing, part) for part in (Part.FRESH_INPUT, Part.IMAGE))
    missed = min(thing["cache_broke"]["tokens"], fresh) if thing["cache_broke"] else 0
    return {
        "cached": _quantity(thing, Part.CACHED_INPUT),
        "fresh": fresh - missed,
        "missed": missed,
        "grown": thing["growth"]["tokens"],
        "grown_nanousd": thing["growth"]["amount_nanousd"],
    }


def _quantity(thing: Row, part: Part) -> int:
    share = thing["parts"].get(part.value)
    return share["quantity"] if share else 0

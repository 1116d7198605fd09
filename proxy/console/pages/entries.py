"""An entry of the ledger: what was billed, line by line, by which prices, and what corrects it."""

from collections.abc import Mapping
from typing import Any

from proxy.admin.api.routes import EVERYONE
from proxy.console import figures
from proxy.console.desk import Desk
from proxy.console.views import Page, View
from proxy.console.wording import FLAGS, said
from proxy.core.records import Role
from proxy.core.usage import meter_label
from proxy.store.tokens import TokenRole

_MILLION = 1_000_000
_MINUTE_MS = 60_000
_AMOUNTS = ("list", "cost", "billed")
_ROLES = {Role.REVERSAL: "takes back", Role.REPLACEMENT: "stands in the place of"}


async def show_entry(desk: Desk) -> View:
    """GET /entries/{id}."""
    entry = await desk.get("/ledger/{entry_id}", entry_id=desk.path["entry_id"])
    is_owed = desk.caller.role is TokenRole.VIEWER
    shown = {
        "entry": entry,
        "lines": [_line(line) for line in entry["lines"]],
        "sums": {name: _sum(entry["lines"], f"{name}_nanousd") for name in _AMOUNTS},
        "flags": [(name, said(FLAGS, name)) for name in entry["flags"]],
        "corrects": _ROLES.get(entry["role"], "puts right"),
        "cards": _cards(entry) if desk.may("GET /rate-cards/{card_id}") and not is_owed else [],
        "is_owed": is_owed,
        "columns": ("billed",) if is_owed else _AMOUNTS,
    }
    return View("pages/entry.html", shown)


def _line(line: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **line,
        "label": meter_label(line["meter"]),
        "price": price_text(line["price_nanousd"], line["price_per"], line["unit"]),
    }


def price_text(nanousd: int | None, per: int | None, unit: str) -> str:
    """Return a price as people read it: tokens by the million, durations by the minute."""
    if nanousd is None or per is None:
        return figures.NOTHING
    for whole, of, text in ((_MILLION, "token", "per million"), (_MINUTE_MS, "ms", "a minute")):
        if unit == of and nanousd * whole % per == 0:
            return f"{_trimmed(nanousd * whole // per)} {text}"
    return f"{_trimmed(nanousd)} per {per:,} {unit}"


def _trimmed(nanousd: int) -> str:
    """Return an amount with cents, and with whatever smaller digits it has."""
    whole, point, part = figures.usd_exact(nanousd).partition(".")
    return f"{whole}{point}{part.rstrip('0').ljust(2, '0')}"


def _sum(lines: list[Mapping[str, Any]], name: str) -> int | None:
    amounts = [line[name] for line in lines if line[name] is not None]
    return sum(amounts) if len(amounts) == len(lines) else None


def _cards(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return which rate cards beside those of its lines have priced an entry, and for what."""
    named = (("list amounts", entry["public_card_id"]), ("billed amounts", entry["agreed_card_id"]))
    return [(what, card) for what, card in named if card is not None]


PAGES = (Page(path="/entries/{entry_id}", roles=EVERYONE, handler=show_entry, key="ledger"),)

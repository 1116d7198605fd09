"""What forms offer to choose from: the tenants that a person may see."""

from typing import Any

from proxy.console.desk import Desk

TENANTS_MAX = 1_000  # offered; another one is named in the address


async def tenants_of(desk: Desk, *, archived: bool = False) -> list[str]:
    """Return the names of tenants in their order; of `archived` ones too, where it is about what was."""
    if not desk.may("GET /tenants"):
        return sorted(one.name for one in desk.caller.tenants)
    page = await desk.get("/tenants", limit=TENANTS_MAX)
    return sorted(one["name"] for one in page["data"] if archived or one["archived_at"] is None)


async def tenant_options(desk: Desk, chosen: str = "", nobody: str = "All tenants") -> list[tuple[str, str]]:
    """Return the options of a select: value and text, the first one for no tenant."""
    names = await tenants_of(desk)
    more = [chosen] if chosen and chosen not in names else []
    return [("", nobody), *((name, name) for name in [*more, *names])]


def page_number(text: str | None) -> int:
    """Return which page an address asks for; the first one where it says nothing that can be meant."""
    return max(1, int(text)) if text and text.isascii() and text.isdigit() and len(text) < 6 else 1


def options(texts: Any) -> list[tuple[str, str]]:
    """Return the options of a select from a mapping of values to texts."""
    return [(str(value), text) for value, text in texts.items()]

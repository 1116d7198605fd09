"""Importing rate cards: a file is shown as a diff first, and added once somebody has seen that."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from proxy.admin.api.problems import Problem, invalid
from proxy.admin.api.routes import ADMINS
from proxy.console.desk import Desk
from proxy.console.errors import errors_of, raise_unless_told
from proxy.console.pages.rate_cards import OWNERS, owned
from proxy.console.views import Moved, Page, View

PATH = "/rate-cards/import"
FORMATS = (
    ("json", "Talkmeter's JSON"),
    ("csv", "CSV, one price a row"),
    ("litellm", "LiteLLM's published prices"),
    ("genai-prices", "genai-prices' published prices"),
)
TYPED = ("text", "format", "owner", "tenant", "models", "effective_from")
CARD = ("provider", "model", "effective_from", "source", "prices")


async def show_form(desk: Desk) -> View:
    """GET /rate-cards/import."""
    return await _form(desk, dict.fromkeys(TYPED, ""))


async def compare(desk: Desk) -> View:
    """POST /rate-cards/import: show what the file would change. Nothing is added."""
    typed = {name: desk.field(name) for name in TYPED}
    text = typed["text"] or desk.field("file")
    try:
        if not text:
            raise invalid("body", "text", "choose a file, or paste what is in it")
        told = await desk.post("/rate-cards/diff", _wanted(desk, text, typed))
    except Problem as problem:
        raise_unless_told(problem)
        return await _form(desk, typed, problem)
    return _diff(told, typed["owner"], typed["tenant"])


def _wanted(desk: Desk, text: str, typed: Mapping[str, str]) -> dict[str, Any]:
    is_published = typed["format"] in ("litellm", "genai-prices")
    models = typed["models"].replace(",", " ").split()
    return {
        "text": text,
        "format": typed["format"],
        **owned(typed["owner"], typed["tenant"]),
        **({"models": models, **desk.filled("effective_from")} if is_published else {}),
    }


def _diff(told: Mapping[str, Any], owner: str, tenant: str, problem: Problem | None = None) -> View:
    counts = Counter(card["what"] for card in told["cards"])
    new = [{name: card[name] for name in CARD} for card in told["cards"] if card["what"] == "new"]
    shown = {
        "cards": [card for card in told["cards"] if card["what"] != "unchanged"],
        "counts": counts,
        "left_out": told["left_out"],
        "new": json.dumps(new),
        "owner": owner,
        "tenant": tenant,
        "problem": problem.as_json() if problem else None,
    }
    return View("pages/rate_import_diff.html", shown, problem.status if problem else 200)


async def add(desk: Desk) -> View | Moved:
    """POST /rate-cards/import/confirm: add the cards that the diff has shown as new."""
    owner, tenant = desk.field("owner"), desk.field("tenant")
    try:
        cards = _cards(desk.field("cards"))
        done = await desk.post("/rate-cards", {"cards": cards, **owned(owner, tenant)})
    except Problem as problem:
        raise_unless_told(problem)
        return await _form(desk, {**dict.fromkeys(TYPED, ""), "owner": owner, "tenant": tenant}, problem)
    return Moved("/rate-cards", f"Rate cards added: {len(done['added'])}. {_unchanged(done['unchanged'])}")


def _unchanged(cards: Sequence[Any]) -> str:
    return f"There already: {len(cards)}." if cards else "Nothing was there already."


def _cards(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise invalid("body", "cards", "the cards were not sent whole: compare the file again") from None


async def _form(desk: Desk, typed: Mapping[str, str], problem: Problem | None = None) -> View:
    tenants = await desk.all_of("/tenants", pages_max=1)
    shown = {
        "typed": typed,
        "formats": FORMATS,
        "owners": OWNERS,
        "tenants": [one for one in tenants if one["archived_at"] is None],
        "problem": problem.as_json() if problem else None,
        "errors": errors_of(problem),
    }
    return View("pages/rate_import.html", shown, problem.status if problem else 200)


def _page(path: str, handler: Any, method: str = "GET") -> Page:
    return Page(path=path, roles=ADMINS, handler=handler, key="rate-cards", method=method, installation=True)


PAGES = (
    _page(PATH, show_form),
    _page(PATH, compare, "POST"),
    _page(f"{PATH}/confirm", add, "POST"),
)

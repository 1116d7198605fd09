"""Rate cards: what each model costs from when on, whose prices those are, and who added them."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby, pairwise
from typing import Any

from proxy.admin.api.problems import Problem
from proxy.admin.api.routes import ADMINS, FINANCE_READERS
from proxy.console.desk import Desk
from proxy.console.errors import errors_of, raise_unless_told
from proxy.console.pages.tenants import basis_points
from proxy.console.views import Moved, Page, View
from proxy.core.rating import CONTRACT, PUBLIC
from proxy.core.usage import meter_label
from proxy.store.card_files import METERS

OWNERS = (
    (PUBLIC, "Public: the list price"),
    (CONTRACT, "Contract: what we are charged"),
    ("tenant", "Agreed with a tenant"),
)
PERS = (("", "As usual"), ("million", "Million tokens"), ("minute", "Minute"), ("each", "Each token"))
METER_NAMES = tuple((meter.value, meter_label(meter.value)) for meter in METERS)
TYPED = ("provider", "model", "owner", "tenant", "meter", "usd", "per", "effective_from")
Card = Mapping[str, Any]
_MOMENT = timedelta(microseconds=1)


async def show_models(desk: Desk) -> View:
    """GET /rate-cards: what holds now, by model and by whose prices they are."""
    cards, names = await asyncio.gather(desk.all_of("/rate-cards"), _tenant_names(desk))
    wanted, whose = desk.query.get("model", ""), desk.query.get("owner", "")
    series = [
        one
        for one in series_of(cards, desk.at)
        if wanted.casefold() in one["model"].casefold() and whose in ("", _kind(one["owner"]))
    ]
    shown = {
        "rows": [{**one, "whose": owner_label(one["owner"], names)} for one in series],
        "meters": [
            (meter, name)
            for meter, name in _meters(one["now"] for one in series if one["now"])
            if not meter.startswith("image")
        ],
        "owners": (("", "All"), *OWNERS),
        "model": wanted,
        "owner": whose,
    }
    return View("pages/rate_cards.html", shown)


def series_of(cards: Iterable[Card], now: datetime) -> list[dict[str, Any]]:
    """Return cards by model and owner: each series from the newest card on, and which holds now."""

    def place(card: Card) -> tuple[str, str, str, datetime]:
        return card["provider"], card["model"], card["owner"], datetime.fromisoformat(card["effective_from"])

    found = []
    for (provider, model, owner), group in groupby(
        sorted(cards, key=place), key=lambda card: place(card)[:3]
    ):
        ordered = list(group)
        past = [card for card in ordered if datetime.fromisoformat(card["effective_from"]) <= now]
        coming = ordered[len(past) :]
        found.append(
            {
                "provider": provider,
                "model": model,
                "owner": owner,
                "cards": _with_changes(ordered, len(past)),
                "now": past[-1] if past else None,
                "next": coming[0] if coming else None,
            }
        )
    return found


def _with_changes(ordered: Sequence[Card], past: int) -> list[dict[str, Any]]:
    """Return a series from the newest on: the state of each card, its end, and what it changed."""
    states = ["past"] * (past - 1) + ["now"] * (past > 0) + ["future"] * (len(ordered) - past)
    ends = [card["effective_from"] for card in ordered[1:]] + [None]
    before = [None, *ordered]
    told = [
        {**card, "state": state, "until": end, "changed": changed_meters(old, card)}
        for card, state, end, old in zip(ordered, states, ends, before, strict=False)
    ]
    return told[::-1]


def changed_meters(old: Card | None, new: Card) -> list[str]:
    """Return the meters whose price a card changed, against the one before it."""
    if old is None:
        return []
    both = {**old["prices"], **new["prices"]}
    return [meter for meter in both if old["prices"].get(meter) != new["prices"].get(meter)]


def _kind(owner: str) -> str:
    return owner if owner in (PUBLIC, CONTRACT) else "tenant"


def owner_label(owner: str, names: Mapping[str, str]) -> str:
    """Return whose prices a card has, in a word."""
    return names.get(owner, owner)


def _meters(cards: Iterable[Card]) -> list[tuple[str, str]]:
    used = {meter for card in cards for meter in card["prices"]}
    return [(meter, name) for meter, name in METER_NAMES if meter in used]


async def _tenant_names(desk: Desk) -> dict[str, str]:
    return {one["id"]: one["name"] for one in await desk.all_of("/tenants")}


async def show_model(desk: Desk) -> View:
    """GET /rate-cards/model: the history of one model."""
    model, provider = desk.query.get("model", ""), desk.query.get("provider", "openai")
    cards, names = await asyncio.gather(desk.all_of("/rate-cards", model=model), _tenant_names(desk))
    series = series_of([card for card in cards if card["provider"] == provider], desk.at)
    if not series:
        raise Problem("not-found", "There is no rate card of this model: see the list of rate cards.")
    shown = {
        "model": model,
        "provider": provider,
        "series": [
            {
                **one,
                "whose": owner_label(one["owner"], names),
                "kind": _kind(one["owner"]),
                "meters": _meters(one["cards"]),
            }
            for one in series
        ],
    }
    return View("pages/rate_card_model.html", shown)


async def show_card(desk: Desk) -> View:
    """GET /rate-cards/{card_id}."""
    card = await desk.get("/rate-cards/{card_id}", card_id=desk.path["card_id"])
    moment = datetime.fromisoformat(card["added_at"])
    cards, names, acts = await asyncio.gather(
        desk.all_of("/rate-cards", model=card["model"]),
        _tenant_names(desk),
        desk.get("/audit", action="prices.*", **{"from": _text(moment), "to": _text(moment + _MOMENT)}),
    )
    (series,) = (
        one
        for one in series_of(cards, desk.at)
        if (one["provider"], one["owner"]) == (card["provider"], card["owner"])
    )
    newest_first = series["cards"]
    (own,) = (one for one in newest_first if one["id"] == card["id"])
    before = next((old for new, old in pairwise(newest_first) if new["id"] == card["id"]), None)
    shown = {
        "card": own,
        "whose": owner_label(card["owner"], names),
        "kind": _kind(card["owner"]),
        "before": before,
        "rows": _beside(own, before),
        "added_by": next(iter(acts["data"]), None),
    }
    return View("pages/rate_card.html", shown)


def _text(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _beside(card: Card, before: Card | None) -> list[dict[str, Any]]:
    old = before["prices"] if before else {}
    return [
        {"meter": meter, "name": name, "now": card["prices"].get(meter), "before": old.get(meter)}
        for meter, name in METER_NAMES
        if meter in card["prices"] or meter in old
    ]


# --- Adding a price


async def show_new(desk: Desk) -> View:
    """GET /rate-cards/new; what the query names is filled in."""
    return await _form(desk, {"provider": "openai", **{n: desk.query[n] for n in TYPED if n in desk.query}})


async def add_price(desk: Desk) -> View | Moved:
    """POST /rate-cards/new."""
    typed = {name: desk.field(name) for name in TYPED}
    try:
        wanted = desk.filled("provider", "model", "meter", "usd", "per", "effective_from")
        made = await desk.post("/rate-cards/prices", {**wanted, **owned(typed["owner"], typed["tenant"])})
    except Problem as problem:
        raise_unless_told(problem)
        return await _form(desk, typed, problem)
    place = desk.href("/rate-cards/model", provider=typed["provider"], model=typed["model"])
    return Moved(place, "The price is set." if made["added"] else "It was so already.")


def owned(owner: str, tenant: str) -> dict[str, Any]:
    """Return whose prices a form is about, as the API takes it."""
    if owner == "tenant":
        return {"tenant": tenant}
    return {"contract": True} if owner == CONTRACT else {}


async def _form(desk: Desk, typed: Mapping[str, str], problem: Problem | None = None) -> View:
    cards, tenants = await asyncio.gather(desk.all_of("/rate-cards"), desk.all_of("/tenants", pages_max=1))
    shown = {
        "typed": {**dict.fromkeys(TYPED, ""), **typed},
        "models": sorted({card["model"] for card in cards}),
        "tenants": [one for one in tenants if one["archived_at"] is None],
        "meters": METER_NAMES,
        "owners": OWNERS,
        "pers": PERS,
        "problem": problem.as_json() if problem else None,
        "errors": errors_of(problem),
    }
    return View("pages/rate_card_new.html", shown, problem.status if problem else 200)


# --- Markups


async def show_markups(desk: Desk) -> View:
    """GET /rate-cards/markups."""
    return await _markups(desk)


async def set_markup(desk: Desk) -> View | Moved:
    """POST /rate-cards/markups: of all tenants that have none of their own, or of one."""
    try:
        wanted: dict[str, Any] = {"basis_points": basis_points(desk.field("percent"))}
        made = await desk.post("/markups", {**wanted, **desk.filled("tenant", "from", "reason")})
    except Problem as problem:
        raise_unless_told(problem)
        return await _markups(desk, problem)
    return Moved("/rate-cards/markups", f"The markup of {made['tenant'] or 'all tenants'} is set.")


async def _markups(desk: Desk, problem: Problem | None = None) -> View:
    page, tenants = await asyncio.gather(
        desk.get("/markups", limit=100, after=desk.query.get("after")), desk.all_of("/tenants", pages_max=1)
    )
    shown = {
        "rows": page["data"],
        "next": page["next"],
        "tenants": [one for one in tenants if one["archived_at"] is None],
        "typed": {name: desk.field(name) for name in ("tenant", "percent", "from", "reason")},
        "problem": problem.as_json() if problem else None,
        "errors": errors_of(problem),
    }
    return View("pages/markups.html", shown, problem.status if problem else 200)


PAGES = (
    Page(path="/rate-cards", roles=FINANCE_READERS, handler=show_models, key="rate-cards"),
    Page(path="/rate-cards/model", roles=FINANCE_READERS, handler=show_model, key="rate-cards"),
    Page(path="/rate-cards/new", roles=ADMINS, handler=show_new, key="rate-cards", installation=True),
    Page(
        path="/rate-cards/new",
        roles=ADMINS,
        handler=add_price,
        key="rate-cards",
        method="POST",
        installation=True,
    ),
    Page(path="/rate-cards/markups", roles=FINANCE_READERS, handler=show_markups, key="rate-cards"),
    Page(path="/rate-cards/markups", roles=ADMINS, handler=set_markup, key="rate-cards", method="POST"),
    Page(path="/rate-cards/{card_id}", roles=FINANCE_READERS, handler=show_card, key="rate-cards"),
)

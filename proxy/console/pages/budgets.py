"""Budgets: the tree, what each has used, holds and has left, and how it is set, raised and deleted."""

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from proxy.admin.api.problems import Problem
from proxy.admin.api.routes import ADMINS, FINANCE_READERS
from proxy.console import budget_forms as forms
from proxy.console.budget_words import (
    EXHAUSTED,
    SCOPES,
    STORE_DOWN,
    WINDOWS,
    history_text,
    plain_usd,
    shown,
    tree,
)
from proxy.console.choices import options, page_number, tenant_options
from proxy.console.desk import Desk
from proxy.console.errors import errors_of
from proxy.console.meanwhile import Meanwhile, is_stale
from proxy.console.views import Answer, Moved, Page, View
from proxy.core.budgets import Scope

BUDGETS_MAX = 1_000  # of which the tree is made
LINES_MAX = 100  # of it on a page
_ONE = "/budgets/{budget_id}"

Json = Mapping[str, Any]


# --- The tree


async def show_all(desk: Desk) -> View:
    """GET /budgets."""
    tenant = desk.query.get("tenant")
    found, told, choices = await asyncio.gather(
        desk.get("/budgets", limit=BUDGETS_MAX, tenant=tenant),
        _forecasts(desk, tenant),
        tenant_options(desk, tenant or ""),
    )
    lines = tree(found["data"], await _projects_of_keys(desk, found["data"], tenant))
    number = page_number(desk.query.get("page"))
    first = LINES_MAX * (number - 1)
    for line in lines[first : first + LINES_MAX]:
        if line["budget"] is not None:
            line["budget"] = shown(line["budget"], told.get(line["budget"]["id"]))
    is_more = len(lines) > first + LINES_MAX
    return View(
        "pages/budgets.html",
        {
            "lines": lines[first : first + LINES_MAX],
            "is_cut": found["next"] is not None,
            "budgets_max": BUDGETS_MAX,
            "tenant": tenant or "",
            "tenants": choices,
            "may_set": desk.may("POST /budgets"),
            "new_href": f"/budgets/new?tenant={quote(tenant)}" if tenant else "/budgets/new",
            "next_href": desk.href(page=str(number + 1)) if is_more else "",
            "first_href": desk.href(page=None) if first else "",
        },
    )


async def _forecasts(desk: Desk, tenant: str | None) -> dict[str, Json]:
    """Return forecasts by their budget; none where there are too many to make them all."""
    try:
        told = await desk.get("/reports/forecast", tenant=tenant, errors=False)
    except Problem as problem:
        if problem.kind != "invalid":
            raise
        return {}
    return {one["budget_id"]: one for one in told["data"] if one["budget_id"] is not None}


async def _projects_of_keys(desk: Desk, budgets: list[Json], tenant: str | None) -> dict[str, str]:
    """Return the project of each key, as far as keys have budgets and may be seen."""
    if not any(one["scope"] == Scope.KEY for one in budgets) or not desk.may("GET /keys"):
        return {}
    page = await desk.get("/keys", limit=BUDGETS_MAX, tenant=tenant)
    return {one["id"]: one["project"] for one in page["data"] if one["project"] is not None}


# --- One budget


async def show_one(desk: Desk) -> View:
    """GET /budgets/{budget_id}; `amount` asks what another amount would have meant."""
    return await _whole(desk)


async def _whole(desk: Desk, problem: Problem | None = None) -> View:
    (one, etag), told = await asyncio.gather(
        desk.get_with_etag(_ONE, budget_id=desk.path["budget_id"]), _forecasts(desk, None)
    )
    amount = desk.query.get("amount") or plain_usd(one["amount_usd"])
    history, errors = await _history(desk, _history_of(one, amount))
    return View(
        "pages/budget.html",
        {
            "budget": shown(one, told.get(one["id"])),
            "etag": etag,
            "amount": amount,
            "history": history,
            "errors": forms.told(errors),
            "may_edit": desk.may(f"PATCH {_ONE}") and one["deleted_at"] is None,
            "problem": problem and problem.as_json(),
        },
        problem.status if problem else 422 if errors else 200,
    )


def _history_of(one: Json, amount: str) -> dict[str, str | None]:
    name = {one.value: name for one, name in forms.NAMED.items()}.get(one["scope"])
    owner = {"project": one["project_id"], "key": one["api_key_id"], "end_user": one["end_user"]}
    return {
        "scope": one["scope"],
        "tenant": one["tenant_id"] if one["scope"] != Scope.KEY else None,
        "window": one["window"],
        "zone": one["zone"],
        "amount_usd": amount.removeprefix("$") or None,
        **({name: owner[name]} if name else {}),
    }


async def _history(desk: Desk, params: Mapping[str, str | None]) -> tuple[Json | None, forms.Errors]:
    """Return what an amount would have meant, and else what is wrong with it."""
    try:
        told = await desk.get("/budgets/history", **params)
    except Problem as problem:
        if problem.status >= 500:
            raise
        return None, errors_of(problem, forms.CALLED) or {"amount": problem.detail}
    return {**told, "text": history_text(told)}, {}


# --- A new one


async def show_new(desk: Desk) -> View:
    """GET /budgets/new; the address may say what stands in the form."""
    texts = forms.blank(desk.query, "UTC")
    return await _new_form(desk, texts)


async def preview(desk: Desk) -> Answer:
    """GET /budgets/preview: what the amount that is being typed would have meant, for beside the form."""
    if not desk.is_partial:
        return await show_new(desk)
    return View("pages/budget_preview.html", await _previewed(desk, forms.blank(desk.query, "UTC")))


async def _previewed(desk: Desk, texts: forms.Texts) -> dict[str, Any]:
    if not forms.is_asked(texts):
        return {"history": None, "history_error": ""}
    history, errors = await _history(desk, forms.history_params(texts))
    return {"history": history, "history_error": "; ".join(errors.values())}


async def create(desk: Desk) -> Answer:
    """POST /budgets; the button `check` makes none, but tells what the amount would have meant."""
    texts = forms.texts_of(desk.field, *forms.OWNER, *forms.TERMS)
    if desk.field("check"):
        return await _new_form(desk, texts)
    try:
        made = await desk.post("/budgets", forms.new_body(texts))
    except forms.NotSaid as missing:
        return await _new_form(desk, texts, errors=missing.errors, status=422)
    except Problem as problem:
        return await _new_form(desk, texts, problem=_shown_in_form(problem), status=problem.status)
    return Moved(
        f"/budgets/{made['id']}", "The budget is set. Running conversations follow it within two seconds."
    )


async def _new_form(
    desk: Desk,
    texts: forms.Texts,
    *,
    errors: forms.Errors | None = None,
    problem: Problem | None = None,
    status: int = 200,
) -> View:
    return View(
        "pages/budget_new.html",
        {
            **_choices(),
            **await _previewed(desk, texts),
            "texts": texts,
            "errors": forms.told(errors or errors_of(problem, forms.CALLED)),
            "problem": problem and problem.as_json(),
            "tenants": await tenant_options(desk, texts["tenant"], "Choose one"),
        },
        status,
    )


def _choices() -> dict[str, Any]:
    return {
        "scopes": options(SCOPES),
        "windows": options(WINDOWS),
        "policies": options(EXHAUSTED),
        "store_down": options(STORE_DOWN),
    }


def _shown_in_form(problem: Problem) -> Problem:
    """Return a problem that a form can be shown with again; raises those of the server."""
    if problem.status >= 500:
        raise problem
    return problem


# --- Changing one


async def show_edit(desk: Desk) -> View:
    """GET /budgets/{budget_id}/edit."""
    one, etag = await desk.get_with_etag(_ONE, budget_id=desk.path["budget_id"])
    return _edit_form(one, etag, forms.filled(one))


async def edit(desk: Desk) -> Answer:
    """POST /budgets/{budget_id}."""
    budget_id, etag = desk.path["budget_id"], desk.field("etag")
    texts = forms.texts_of(desk.field, *forms.TERMS)
    errors: forms.Errors = {}
    problem: Problem | None = None
    try:
        body = forms.terms_body(texts)
        changed, _ = await desk.ask("PATCH", _ONE, {"budget_id": budget_id}, body, if_match=etag)
        return Moved(
            f"/budgets/{changed['id']}", "Saved. Running conversations follow it within two seconds."
        )
    except forms.NotSaid as missing:
        errors = missing.errors
    except Problem as refused:
        problem, errors = _shown_in_form(refused), errors_of(refused, forms.CALLED)
    one, now = await desk.get_with_etag(_ONE, budget_id=budget_id)
    if not is_stale(problem):
        return _edit_form(one, etag, texts, errors, problem)
    differs = forms.differing_terms(forms.filled(one), texts)
    if not differs:  # the form was sent twice
        return Moved(f"/budgets/{budget_id}", "It is so already.")
    return _edit_form(one, now, texts, errors, problem, Meanwhile(budget_id, differs))


def _edit_form(
    one: Json,
    etag: str,
    texts: forms.Texts,
    errors: forms.Errors | None = None,
    problem: Problem | None = None,
    meanwhile: Meanwhile | None = None,
) -> View:
    status = problem.status if problem else 422 if errors else 200
    facts = {
        "budget": shown(one),
        "etag": etag,
        "texts": texts,
        "errors": forms.told(errors or {}),
        "meanwhile": meanwhile,
    }
    return View(
        "pages/budget_edit.html", {**_choices(), **facts, "problem": problem and problem.as_json()}, status
    )


async def delete(desk: Desk) -> Answer:
    """POST /budgets/{budget_id}/delete."""
    params = {"budget_id": desk.path["budget_id"]}
    try:
        await desk.ask("DELETE", _ONE, params, if_match=desk.field("etag"))
    except Problem as problem:
        if not is_stale(problem):
            raise
        return await _whole(desk, problem)
    return Moved("/budgets", "The budget is deleted: it limits nothing any more.")


# --- A raise for some time


async def show_raise(desk: Desk) -> View:
    """GET /budgets/{budget_id}/raise."""
    one = await desk.get(_ONE, budget_id=desk.path["budget_id"])
    return _raise_form(one, dict.fromkeys(("amount", "starts", "ends", "reason"), ""))


async def raise_(desk: Desk) -> Answer:
    """POST /budgets/{budget_id}/raise."""
    one = await desk.get(_ONE, budget_id=desk.path["budget_id"])
    texts = forms.texts_of(desk.field, "amount", "starts", "ends", "reason")
    missing = {
        name: text
        for name, text in (
            ("amount", "Say how much comes on top."),
            ("ends", "Say from when on it no longer counts."),
            ("reason", "Say why: it is kept with the raise."),
        )
        if not texts[name]
    }
    if missing:
        return _raise_form(one, texts, missing)
    body = {"amount_usd": texts["amount"].removeprefix("$"), "reason": texts["reason"]}
    body |= {
        name: forms.instant_text(texts[field], one["zone"])
        for name, field in (("from", "starts"), ("until", "ends"))
        if texts[field]
    }
    try:
        await desk.post("/budgets/{budget_id}/raises", body, budget_id=one["id"])
    except Problem as problem:
        return _raise_form(one, texts, errors_of(problem, forms.CALLED), _shown_in_form(problem))
    return Moved(f"/budgets/{one['id']}", "The budget is raised.")


def _raise_form(
    one: Json, texts: forms.Texts, errors: forms.Errors | None = None, problem: Problem | None = None
) -> View:
    facts = {"budget": shown(one), "texts": texts, "errors": forms.told(errors or {})}
    status = problem.status if problem else 422 if errors else 200
    return View("pages/budget_raise.html", {**facts, "problem": problem and problem.as_json()}, status)


def _page_of(path: str, handler: Any, *, writes: bool = False, admins: bool = False) -> Page:
    roles = ADMINS if admins or writes else FINANCE_READERS
    return Page(path=path, roles=roles, handler=handler, key="budgets", method="POST" if writes else "GET")


PAGES = (
    _page_of("/budgets", show_all),
    _page_of("/budgets", create, writes=True),
    _page_of("/budgets/new", show_new, admins=True),
    _page_of("/budgets/preview", preview, admins=True),
    _page_of(_ONE, show_one),
    _page_of(_ONE, edit, writes=True),
    _page_of(f"{_ONE}/edit", show_edit, admins=True),
    _page_of(f"{_ONE}/raise", show_raise, admins=True),
    _page_of(f"{_ONE}/raise", raise_, writes=True),
    _page_of(f"{_ONE}/delete", delete, writes=True),
)

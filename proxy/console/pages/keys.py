"""API keys: made, rotated, revoked. A secret is on the answer that made it, and nowhere else."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from proxy.admin.api.problems import Problem, invalid
from proxy.admin.api.routes import ADMINS, READERS
from proxy.console.desk import Desk
from proxy.console.errors import errors_of, raise_unless_told
from proxy.console.limit_words import figure, words_of
from proxy.console.views import Moved, Page, View
from proxy.store.tenants import TAGS_MAX

PAGE_ROWS = 50
SOON = timedelta(days=7)  # before its end a key's expiry is marked
KEY = "/keys/{key_id}"
OVERLAPS = (
    ("0", "None: the old key ends now"),
    ("3600", "An hour"),
    ("86400", "A day"),
    ("604800", "A week"),
    ("2592000", "30 days"),
)
TYPED = ("tenant", "project", "name", "expires_at", "tags", "overlap_s", "reason")


async def show_keys(desk: Desk) -> View:
    """GET /keys."""
    tenant, project_id = desk.query.get("tenant"), desk.query.get("project")
    project, problem = None, None
    try:
        if project_id:
            project = await desk.get("/projects/{project_id}", project_id=project_id)
        page = await keys_of(desk, tenant=tenant, project=project_id, after=desk.query.get("after"))
    except Problem as told:
        raise_unless_told(told)
        page, problem = {"data": [], "next": None}, told
    tenants = await desk.all_of("/tenants", pages_max=1)
    shown = {
        "rows": page["data"],
        "next": page["next"],
        "tenants": tenants,
        "project": project,
        "tenant": tenant or "",
        **_told(problem),
    }
    return View("pages/keys.html", shown, problem.status if problem else 200)


async def keys_of(desk: Desk, **params: str | None) -> dict[str, Any]:
    """Return a page of keys, with their states, and where the next one begins."""
    page = await desk.get("/keys", limit=PAGE_ROWS, **params)
    return {**page, "data": with_states(page["data"], desk.at)}


def with_states(keys: Sequence[Mapping[str, Any]], now: datetime) -> list[dict[str, Any]]:
    """Return keys, or tokens, with what each is good for now: the kind of a badge, and a word."""
    return [{**one, "state": state_of(one, now)} for one in keys]


def state_of(key: Mapping[str, Any], now: datetime) -> tuple[str, str]:
    """Return the state of a key, or of an API token, as a badge shows it."""
    if key["revoked_at"] is not None:
        return "bad", "revoked"
    if key["expires_at"] is None:
        return "ok", "active"
    left = datetime.fromisoformat(key["expires_at"]) - now
    if left <= timedelta():
        return "quiet", "expired"
    return ("warning", "expires soon") if left <= SOON else ("ok", "active")


async def show_new(desk: Desk) -> View:
    """GET /keys/new; what the query names is filled in."""
    return await _form(desk, {name: desk.query.get(name, "") for name in TYPED})


async def create_key(desk: Desk) -> View:
    """POST /keys: the answer itself shows the secret, which nothing else ever does."""
    typed = {name: desk.field(name) for name in TYPED}
    try:
        wanted = {**desk.filled("tenant", "project", "name", "expires_at"), "tags": tags_of(typed["tags"])}
        made = await desk.post("/keys", wanted)
    except Problem as problem:
        raise_unless_told(problem)
        return await _form(desk, typed, problem)
    return View("pages/key_made.html", {"made": made, "old": None}, 201)


async def _form(desk: Desk, typed: Mapping[str, str], problem: Problem | None = None) -> View:
    tenants, projects = await asyncio.gather(
        desk.all_of("/tenants", pages_max=1), desk.all_of("/projects", pages_max=1)
    )
    shown = {
        "typed": typed,
        "tenants": [one for one in tenants if one["archived_at"] is None],
        "projects": sorted({one["name"] for one in projects if one["archived_at"] is None}),
        "tags_max": TAGS_MAX,
        **_told(problem),
    }
    return View("pages/key_new.html", shown, problem.status if problem else 200)


def tags_of(text: str) -> dict[str, str]:
    """Return the tags that a person wrote, NAME=VALUE on each line; raises Problem where one is not so."""
    tags: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, equals, value = (part.strip() for part in line.partition("="))
        if not (name and equals and value):
            raise invalid("body", "tags", f"{line[:60]!r} is not NAME=VALUE")
        if name in tags:
            raise invalid("body", "tags", f"{name[:60]!r} is given twice")
        tags[name] = value
    return tags


async def show_key(desk: Desk) -> View:
    """GET /keys/{key_id}."""
    return await _whole(desk)


async def _whole(desk: Desk, problem: Problem | None = None, form: str = "") -> View:
    key = await desk.get(KEY, key_id=desk.path["key_id"])
    budgets, limits, models, acts = await asyncio.gather(
        desk.all_of("/budgets", tenant=key["tenant_id"]),
        desk.all_of("/limits", tenant=key["tenant_id"]),
        desk.all_of("/models", tenant=key["tenant_id"]),
        desk.get("/audit", object=key["id"], limit=10),
    )
    (row,) = with_states([key], desk.at)
    shown = {
        "one": row,
        "budgets": [one for one in budgets if one["api_key_id"] == key["id"]],
        "limits": [
            {"title": words_of(one["name"]).title, "figure": figure(one)}
            for one in limits
            if one["api_key_id"] == key["id"]
        ],
        "models": [one for one in models if one["api_key_id"] == key["id"]],
        "acts": acts["data"],
        "is_valid": row["state"][1] not in ("revoked", "expired"),
        "overlaps": OVERLAPS,
        "typed": {name: desk.field(name) for name in TYPED},
        "form": form,
        **_told(problem),
    }
    return View("pages/key.html", shown, problem.status if problem else 200)


async def rotate_key(desk: Desk) -> View:
    """POST /keys/{key_id}/rotate: the answer itself shows the new secret."""
    overlap = desk.field("overlap_s")
    wanted = (
        {"overlap_s": int(overlap)} if overlap.isdecimal() and len(overlap) < 10 else {"overlap_s": overlap}
    )
    try:
        made = await desk.post(
            f"{KEY}/rotate",
            {**(wanted if overlap else {}), **desk.filled("expires_at", "reason")},
            key_id=desk.path["key_id"],
        )
    except Problem as problem:
        raise_unless_told(problem)
        return await _whole(desk, problem, "rotate")
    return View("pages/key_made.html", {"made": made, "old": made["old"]}, 201)


async def revoke_key(desk: Desk) -> View | Moved:
    """POST /keys/{key_id}/revoke."""
    try:
        found, _ = await desk.ask("DELETE", KEY, {"key_id": desk.path["key_id"]})
    except Problem as problem:
        raise_unless_told(problem)
        return await _whole(desk, problem)
    return Moved(
        f"/keys/{found['id']}", f"Key {found['id']} is revoked: its live sessions end within two seconds."
    )


def _told(problem: Problem | None) -> dict[str, Any]:
    return {"problem": problem.as_json() if problem else None, "errors": errors_of(problem)}


PAGES = (
    Page(path="/keys", roles=READERS, handler=show_keys, key="tenants"),
    Page(path="/keys", roles=ADMINS, handler=create_key, key="tenants", method="POST"),
    Page(path="/keys/new", roles=ADMINS, handler=show_new, key="tenants"),
    Page(path=KEY, roles=READERS, handler=show_key, key="tenants"),
    Page(path=f"{KEY}/rotate", roles=ADMINS, handler=rotate_key, key="tenants", method="POST"),
    Page(path=f"{KEY}/revoke", roles=ADMINS, handler=revoke_key, key="tenants", method="POST"),
)

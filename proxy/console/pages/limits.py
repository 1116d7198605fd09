"""Limits and rules about models, of tenants and of their keys."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from proxy.admin.api.problems import Problem
from proxy.admin.api.routes import ADMINS, FINANCE_READERS
from proxy.console.choices import tenant_options
from proxy.console.desk import Desk
from proxy.console.errors import errors_of, raise_unless_told
from proxy.console.limit_words import LIMITS, UNITS, figure, is_same, line, typed, words_of
from proxy.console.meanwhile import Differs, Meanwhile, is_stale
from proxy.console.views import Answer, Moved, Page, View
from proxy.core.limits import LimitName

ROWS = 100  # of a list on a page
KEYS_MAX = 100  # of a tenant, to choose from
_LIMIT = "/limits/{owner_id}/{name}"
_MODEL = "/models/{owner_id}/{model}"
_MAY = {True: "allowed", False: "denied"}

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose rules they are. `key` is what a key is called, None for a tenant's own."""

    id: str
    tenant_id: str | None
    tenant: str | None
    key: str | None = None

    @property
    def label(self) -> str:
        if self.key is None:
            return self.tenant or self.id
        return f"{self.tenant}, key {self.key}" if self.tenant else f"key {self.key}"

    @property
    def href(self) -> str:
        return f"/limits/{quote(self.id, safe='')}"


async def _owner(desk: Desk) -> Owner:
    """Return the owner in the path; raises Problem where it is nobody, or nobody to be seen."""
    owner_id = desk.path["owner_id"]
    try:
        found = await desk.get("/tenants/{tenant_id}", tenant_id=owner_id)
        return Owner(found["id"], found["id"], found["name"])
    except Problem as problem:
        if problem.status != 404:
            raise
    if desk.may("GET /keys/{key_id}"):
        key = await desk.get("/keys/{key_id}", key_id=owner_id)
        return Owner(key["id"], key["tenant_id"], key["tenant"], key["name"] or key["id"])
    rules = (await desk.get("/limits", owner=owner_id, limit=1))["data"]
    return Owner(owner_id, None, rules[0]["tenant"] if rules else None, owner_id)


# --- All of them


async def show_all(desk: Desk) -> View:
    """GET /limits: the limits and rules that are set, of all or of one tenant and its keys."""
    tenant = desk.query.get("tenant")
    limits, rules, choices, owners = await asyncio.gather(
        desk.get("/limits", limit=ROWS, after=desk.query.get("after"), tenant=tenant),
        desk.get("/models", limit=ROWS, after=desk.query.get("models_after"), tenant=tenant),
        tenant_options(desk, tenant or ""),
        _owners(desk, tenant),
    )
    keys = sum(one.key is not None for one in owners)
    return View(
        "pages/limits.html",
        {
            "limits": [
                {**one, "title": words_of(one["name"]).title, "figure": figure(one)} for one in limits["data"]
            ],
            "rules": rules["data"],
            "tenant": tenant or "",
            "tenants": choices,
            "owners": owners,
            "keys_max": KEYS_MAX if keys >= KEYS_MAX else None,
            "limits_next": limits["next"] and desk.href(after=limits["next"]),
            "limits_first": desk.href(after=None) if "after" in desk.query else "",
            "rules_next": rules["next"] and desk.href(models_after=rules["next"]),
            "rules_first": desk.href(models_after=None) if "models_after" in desk.query else "",
            "may_set": desk.may(f"PUT {_LIMIT}"),
        },
    )


async def _owners(desk: Desk, tenant: str | None) -> list[Owner]:
    """Return a tenant and those of its keys that work, as far as they may be seen; none without a tenant."""
    if tenant is None:
        return []
    owners = [
        Owner(one["id"], one["id"], one["name"])
        for one in await desk.all_of("/tenants")
        if tenant in (one["name"], one["id"])
    ]
    if desk.may("GET /keys"):
        keys = await desk.get("/keys", tenant=tenant, limit=KEYS_MAX)
        owners += [
            Owner(key["id"], key["tenant_id"], key["tenant"], key["name"] or key["id"])
            for key in keys["data"]
            if key["revoked_at"] is None
        ]
    return owners


# --- One owner's


async def show_owner(desk: Desk) -> View:
    """GET /limits/{owner_id}."""
    owner = await _owner(desk)
    limits, rules, of_tenant = await asyncio.gather(
        desk.get("/limits", owner=owner.id),
        desk.all_of("/models", owner=owner.id),
        _limits_of_tenant(desk, owner),
    )
    own, tenants = ({one["name"]: one for one in rows} for rows in (limits["data"], of_tenant))
    return View(
        "pages/limits_owner.html",
        {
            "owner": owner,
            "lines": [line(name, own.get(name), tenants.get(name)) for name in LimitName],
            "rules": rules,
            "may_set": desk.may(f"PUT {_LIMIT}"),
        },
    )


async def _limits_of_tenant(desk: Desk, owner: Owner) -> list[Json]:
    if owner.key is None or owner.tenant_id is None:
        return []
    found: list[Json] = (await desk.get("/limits", owner=owner.tenant_id))["data"]
    return found


# --- One limit


async def show_limit(desk: Desk) -> View:
    """GET /limits/{owner_id}/{name}: a form to set it, or to change it."""
    owner, name = await _owner(desk), _name(desk)
    found, etag = await _set_already(desk, _LIMIT, owner_id=owner.id, name=name.value)
    return _limit_form(owner, name, found, etag, {"value": typed(found) if found else "", "reason": ""})


def _name(desk: Desk) -> LimitName:
    name = desk.path["name"]
    if name not in set(LimitName):
        raise Problem(
            "not-found", f"There is no limit {name[:60]!r}: the list of limits says which there are."
        )
    return LimitName(name)


async def _set_already(desk: Desk, path: str, **params: str) -> tuple[Json | None, str]:
    """Return what is set and its ETag, or None where nothing is: its owner is known to be there."""
    try:
        found, etag = await desk.get_with_etag(path, **params)
    except Problem as problem:
        if problem.status != 404:
            raise
        return None, ""
    return found, etag


def _limit_form(
    owner: Owner,
    name: LimitName,
    found: Json | None,
    etag: str,
    texts: Mapping[str, str],
    problem: Problem | None = None,
    meanwhile: Meanwhile | None = None,
) -> View:
    shown = {
        "owner": owner,
        "meanwhile": meanwhile,
        "name": name.value,
        "title": LIMITS[name].title,
        "meaning": LIMITS[name].meaning,
        "unit": UNITS[name.unit],
        "figure": figure(found) if found else None,
        "etag": etag,
        "texts": texts,
        "errors": {"value": "", "reason": "", **errors_of(problem)},
        "problem": problem and problem.as_json(),
    }
    return View("pages/limit.html", shown, problem.status if problem else 200)


async def set_limit(desk: Desk) -> Answer:
    """POST /limits/{owner_id}/{name}."""
    owner, name, etag = await _owner(desk), _name(desk), desk.field("etag")
    texts = {"value": desk.field("value"), "reason": desk.field("reason")}
    body = {"value": texts["value"].removeprefix("$"), **desk.filled("reason")}
    params = {"owner_id": owner.id, "name": name.value}
    try:
        await desk.ask("PUT", _LIMIT, params, body, if_match=etag or None)
    except Problem as problem:
        raise_unless_told(problem)
        found, now = await _set_already(desk, _LIMIT, **params)
        if not is_stale(problem):
            return _limit_form(owner, name, found, etag, texts, problem)
        if found is None or not is_same(found, body["value"]):
            differs = [Differs(LIMITS[name].title, figure(found), texts["value"])] if found else []
            meanwhile = Meanwhile(owner.id, differs, is_gone=found is None)
            return _limit_form(owner, name, found, now, texts, problem, meanwhile)
    return Moved(owner.href, f"{LIMITS[name].title}: set. Running conversations follow within two seconds.")


async def remove_limit(desk: Desk) -> Answer:
    """POST /limits/{owner_id}/{name}/remove."""
    owner, name = await _owner(desk), _name(desk)
    params = {"owner_id": owner.id, "name": name.value}
    try:
        await desk.ask("DELETE", _LIMIT, params, if_match=desk.field("etag"))
    except Problem as problem:
        if not is_stale(problem):
            raise
        found, now = await _set_already(desk, _LIMIT, **params)
        texts = {"value": typed(found) if found else "", "reason": ""}
        return _limit_form(owner, name, found, now, texts, problem)
    return Moved(owner.href, f"{LIMITS[name].title}: there is no limit any more.")


# --- One rule about a model


async def show_rule(desk: Desk) -> View:
    """GET /limits/{owner_id}/models: a form for a new rule, or for the one about `model`."""
    owner, model = await _owner(desk), desk.query.get("model", "")
    found, etag = await _set_already(desk, _MODEL, owner_id=owner.id, model=model) if model else (None, "")
    allowed = "no" if found and not found["allowed"] else "yes"
    return _rule_form(owner, found, etag, {"model": model, "allowed": allowed, "reason": ""})


def _rule_form(
    owner: Owner,
    found: Json | None,
    etag: str,
    texts: Mapping[str, str],
    problem: Problem | None = None,
    errors: Mapping[str, str] | None = None,
    meanwhile: Meanwhile | None = None,
) -> View:
    shown = {
        "owner": owner,
        "meanwhile": meanwhile,
        "rule": found,
        "etag": etag,
        "texts": texts,
        "errors": {"model": "", "reason": "", **errors_of(problem), **(errors or {})},
        "problem": problem and problem.as_json(),
    }
    return View("pages/limits_model.html", shown, problem.status if problem else 422 if errors else 200)


async def set_rule(desk: Desk) -> Answer:
    """POST /limits/{owner_id}/models."""
    owner, etag = await _owner(desk), desk.field("etag")
    texts = {name: desk.field(name) for name in ("model", "allowed", "reason")}
    if not texts["model"]:
        return _rule_form(owner, None, etag, texts, errors={"model": "Say which model."})
    allowed = texts["allowed"] == "yes"
    params = {"owner_id": owner.id, "model": texts["model"]}
    body = {"allowed": allowed, **desk.filled("reason")}
    try:
        await desk.ask("PUT", _MODEL, params, body, if_match=etag or None)
    except Problem as problem:
        raise_unless_told(problem)
        if not is_stale(problem):
            found = (await _set_already(desk, _MODEL, **params))[0] if etag else None
            return _rule_form(owner, found, etag, texts, problem)
        found, now = await _set_already(desk, _MODEL, **params)
        if found is None or found["allowed"] != allowed:
            differs = [Differs(texts["model"], _MAY[found["allowed"]], _MAY[allowed])] if found else []
            meanwhile = Meanwhile(owner.id, differs, is_gone=found is None)
            return _rule_form(owner, found, now, texts, problem, meanwhile=meanwhile)
    said = _MAY[allowed]
    return Moved(owner.href, f"{texts['model']} is {said}. Running conversations follow within two seconds.")


async def remove_rule(desk: Desk) -> Answer:
    """POST /limits/{owner_id}/models/remove."""
    owner, model = await _owner(desk), desk.field("model")
    params = {"owner_id": owner.id, "model": model}
    try:
        await desk.ask("DELETE", _MODEL, params, if_match=desk.field("etag"))
    except Problem as problem:
        if not is_stale(problem):
            raise
        found, now = await _set_already(desk, _MODEL, **params)
        texts = {"model": model, "allowed": "no" if found and not found["allowed"] else "yes", "reason": ""}
        return _rule_form(owner, found, now, texts, problem)
    return Moved(owner.href, f"There is no rule about {model} any more.")


def _page_of(path: str, handler: Any, *, method: str = "GET", admins: bool = False) -> Page:
    roles = ADMINS if admins or method == "POST" else FINANCE_READERS
    return Page(path=path, roles=roles, handler=handler, key="limits", method=method)


_OWNER = "/limits/{owner_id}"
PAGES = (
    _page_of("/limits", show_all),
    _page_of(_OWNER, show_owner),
    _page_of(f"{_OWNER}/models", show_rule, admins=True),
    _page_of(f"{_OWNER}/models", set_rule, method="POST"),
    _page_of(f"{_OWNER}/models/remove", remove_rule, method="POST"),
    _page_of(_LIMIT, show_limit, admins=True),
    _page_of(_LIMIT, set_limit, method="POST"),
    _page_of(f"{_LIMIT}/remove", remove_limit, method="POST"),
)

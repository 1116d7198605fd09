"""`/keys`: API keys, what an app proves its tenant with."""

from datetime import UTC, timedelta
from typing import Annotated, Self

from pydantic import Field, model_validator

from proxy.admin.api.models import (
    At,
    Id,
    Input,
    NameOrId,
    Nothing,
    Output,
    Paged,
    Reason,
    TenantPageParams,
    Text,
    Time,
)
from proxy.admin.api.pages import paged
from proxy.admin.api.periods import instant
from proxy.admin.api.routes import ADMINS, READERS, Answer, Call, Route
from proxy.store import key_rotation, tenants
from proxy.store.key_rotation import OVERLAP, OVERLAP_MAX
from proxy.store.tenants import NAME_CHARS_MAX, TAG_CHARS_MAX, TAGS_MAX

SHOWN_ONCE = (
    "It was shown when it was made, and cannot be shown again: if it is lost, revoke this and make another."
)
TagPart = Annotated[Text, Field(min_length=1, max_length=TAG_CHARS_MAX)]


class KeyOut(Output):
    """An API key, without its secret."""

    id: str
    tenant_id: str
    tenant: str
    project_id: str | None
    project: str | None
    name: str
    prefix: str = Field(description="How its secret begins.")
    tags: dict[str, str]
    created_at: At
    expires_at: At | None
    revoked_at: At | None
    replaces: str | None = Field(description="The key in whose place this one was made, by rotating it.")
    replaced_by: str | None = Field(description="The key that was made in this one's place.")


class KeyMade(KeyOut):
    """A new API key."""

    secret: str | None = Field(description="Shown this once; null in the answer to a repeated request.")
    secret_hint: str = SHOWN_ONCE


class KeyNew(Input):
    """A key to be made."""

    tenant: NameOrId
    project: Annotated[NameOrId | None, Field(description="Of this project; made when missing.")] = None
    name: Annotated[Text, Field(max_length=NAME_CHARS_MAX, description="What the key is for.")] = ""
    expires_at: Annotated[Time | None, Field(description="From when on it is refused.")] = None
    tags: Annotated[
        dict[TagPart, TagPart], Field(max_length=TAGS_MAX, description="For every session of the key.")
    ] = {}


class KeyPath(Input):
    """Which key."""

    key_id: Id


class KeyPageParams(TenantPageParams):
    """Which page of the list of keys."""

    project: Annotated[Id | None, Field(description="Only of this project (its id).")] = None


class KeyRotation(Input):
    """How long the old key works beside the new one: so many seconds, or until an instant."""

    overlap_s: Annotated[
        int | None,
        Field(ge=0, le=int(OVERLAP_MAX.total_seconds()), description="A day if neither is given."),
    ] = None
    until: Annotated[Time | None, Field(description="From when on the old key is refused.")] = None
    expires_at: Annotated[
        Time | None,
        Field(
            description="From when on the new key is refused; else it lives as long as the old one was to."
        ),
    ] = None
    reason: Reason | None = None

    @model_validator(mode="after")
    def _ends_once(self) -> Self:
        if self.overlap_s is not None and self.until is not None:
            raise ValueError("the old key ends once: give overlap_s or until")
        return self


class KeyRotated(KeyMade):
    """A new API key in the place of another, and what it has of that one's."""

    old: KeyOut
    limits: list[str] = Field(description="The names of the limits that it was given.")
    models: list[str] = Field(description="What it was given rules about.")
    budgets: list[str] = Field(
        description="The ids of the budgets that it was given; they count from nothing."
    )


def list_keys(call: Call[KeyPageParams, Nothing]) -> Answer:
    """Answer with a page of keys, in the order they were made."""
    wanted = call.params
    return paged(
        call,
        lambda page: tenants.list_keys(call.connection, wanted.tenant, page, project_id=wanted.project),
        key=lambda one: (one.id,),
        kinds=(str,),
        show=KeyOut.model_validate,
    )


def show_key(call: Call[KeyPath, Nothing]) -> Answer:
    """Answer with one key."""
    return Answer(KeyOut.model_validate(tenants.find_key(call.connection, call.params.key_id, call.within)))


def create_key(call: Call[Nothing, KeyNew]) -> Answer:
    """Make a key."""
    wanted = call.body
    made, secret = tenants.create_key(
        call.connection,
        call.context.pepper(),
        tenant_name=call.tenant(wanted.tenant).id,
        project_name=wanted.project,
        name=wanted.name,
        expires_at=instant("body", "expires_at", wanted.expires_at, UTC),
        tags=wanted.tags,
        act=call.act(),
    )
    shown = KeyMade(**KeyOut.model_validate(made).model_dump(), secret=secret)
    return Answer(shown, 201, {"Location": f"/api/v1/keys/{made.id}"}, secret="secret")


def revoke_key(call: Call[KeyPath, Nothing]) -> Answer:
    """Revoke a key."""
    found = tenants.find_key(call.connection, call.params.key_id, call.within)
    return Answer(KeyOut.model_validate(tenants.revoke_key(call.connection, found.id, call.act())))


def rotate_key(call: Call[KeyPath, KeyRotation]) -> Answer:
    """Make a key in another's place."""
    found, wanted = tenants.find_key(call.connection, call.params.key_id, call.within), call.body
    until = instant("body", "until", wanted.until, UTC)
    if until is None:
        until = call.at + (OVERLAP if wanted.overlap_s is None else timedelta(seconds=wanted.overlap_s))
    done, secret = key_rotation.rotate_key(
        call.connection,
        call.context.pepper(),
        found.id,
        until=until,
        expires_at=instant("body", "expires_at", wanted.expires_at, UTC),
        act=call.act(),
    )
    shown = KeyRotated(
        **KeyOut.model_validate(done.new).model_dump(),
        secret=secret,
        old=KeyOut.model_validate(done.old),
        limits=list(done.limits),
        models=list(done.models),
        budgets=list(done.budgets),
    )
    return Answer(shown, 201, {"Location": f"/api/v1/keys/{done.new.id}"}, secret="secret")


ROUTES = (
    Route(
        method="GET",
        path="/keys",
        summary="List API keys",
        roles=READERS,
        handler=list_keys,
        params=KeyPageParams,
        result=Paged[KeyOut],
    ),
    Route(
        method="POST",
        path="/keys",
        summary="Create an API key; its secret is shown this once",
        roles=ADMINS,
        handler=create_key,
        body=KeyNew,
        result=KeyMade,
        status=201,
        creates=True,
    ),
    Route(
        method="GET",
        path="/keys/{key_id}",
        summary="Show an API key",
        roles=READERS,
        handler=show_key,
        params=KeyPath,
        result=KeyOut,
    ),
    Route(
        method="DELETE",
        path="/keys/{key_id}",
        summary="Revoke an API key for good; its live sessions end within two seconds",
        roles=ADMINS,
        handler=revoke_key,
        params=KeyPath,
        result=KeyOut,
        reasons=True,
    ),
    Route(
        method="POST",
        path="/keys/{key_id}/rotate",
        summary="Make a key in another's place; both work for a while, and its secret is shown this once",
        roles=ADMINS,
        handler=rotate_key,
        params=KeyPath,
        body=KeyRotation,
        result=KeyRotated,
        status=201,
        creates=True,
    ),
)

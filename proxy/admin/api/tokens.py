"""`/tokens`: who may use this API, and for what. For tokens that are not confined to tenants."""

from datetime import UTC
from typing import Annotated

from pydantic import Field

from proxy.admin.api.keys import SHOWN_ONCE
from proxy.admin.api.models import (
    At,
    Id,
    Input,
    Name,
    NameOrId,
    Nothing,
    Output,
    Paged,
    PageParams,
    Reason,
    Time,
)
from proxy.admin.api.pages import paged
from proxy.admin.api.periods import instant
from proxy.admin.api.routes import ADMINS, READERS, Answer, Call, Route
from proxy.store import tokens
from proxy.store.tokens import TENANTS_MAX, TokenRole


class TokenTenantOut(Output):
    """A tenant that a token is confined to."""

    id: str
    name: str


class TokenOut(Output):
    """An API token, without its secret."""

    id: str
    name: str
    role: str
    prefix: str = Field(description="How its secret begins.")
    tenants: list[TokenTenantOut] = Field(description="Those it is confined to; empty: it is not.")
    created_at: At
    expires_at: At | None
    last_used_at: At | None = Field(description="To the minute.")
    revoked_at: At | None


class TokenMade(TokenOut):
    """A new API token."""

    secret: str | None = Field(description="Shown this once; null in the answer to a repeated request.")
    secret_hint: str = SHOWN_ONCE


class TokenNew(Input):
    """A token to be made."""

    name: Annotated[Name, Field(description="Whose it is: the audit log names it. Never used twice.")]
    role: TokenRole
    tenants: Annotated[
        list[NameOrId], Field(max_length=TENANTS_MAX, description="Confine it to these (names or ids).")
    ] = []
    expires_at: Annotated[Time | None, Field(description="From when on it is refused.")] = None
    reason: Reason | None = None


class TokenPath(Input):
    """Which token."""

    token_id: Id


def list_tokens(call: Call[PageParams, Nothing]) -> Answer:
    """Answer with a page of tokens, in the order they were made."""
    return paged(
        call,
        lambda page: tokens.list_tokens(call.connection, page),
        key=lambda one: (one.id,),
        kinds=(str,),
        show=TokenOut.model_validate,
    )


def show_token(call: Call[TokenPath, Nothing]) -> Answer:
    """Answer with one token."""
    return Answer(TokenOut.model_validate(tokens.find_token(call.connection, call.params.token_id)))


def create_token(call: Call[Nothing, TokenNew]) -> Answer:
    """Make a token."""
    wanted = call.body
    made, secret = tokens.create_token(
        call.connection,
        call.context.pepper(),
        name=wanted.name,
        role=wanted.role,
        tenants=wanted.tenants,
        expires_at=instant("body", "expires_at", wanted.expires_at, UTC),
        act=call.act(),
    )
    shown = TokenMade(**TokenOut.model_validate(made).model_dump(), secret=secret)
    return Answer(shown, 201, {"Location": f"/api/v1/tokens/{made.id}"}, secret="secret")


def revoke_token(call: Call[TokenPath, Nothing]) -> Answer:
    """Revoke a token."""
    found = tokens.revoke_token(call.connection, call.params.token_id, call.act())
    return Answer(TokenOut.model_validate(found))


ROUTES = (
    Route(
        method="GET",
        path="/tokens",
        summary="List API tokens",
        roles=READERS,
        handler=list_tokens,
        params=PageParams,
        result=Paged[TokenOut],
        installation=True,
    ),
    Route(
        method="POST",
        path="/tokens",
        summary="Create an API token; its secret is shown this once",
        roles=ADMINS,
        handler=create_token,
        body=TokenNew,
        result=TokenMade,
        status=201,
        installation=True,
        creates=True,
    ),
    Route(
        method="GET",
        path="/tokens/{token_id}",
        summary="Show an API token",
        roles=READERS,
        handler=show_token,
        params=TokenPath,
        result=TokenOut,
        installation=True,
    ),
    Route(
        method="DELETE",
        path="/tokens/{token_id}",
        summary="Revoke an API token for good: its next request is refused",
        roles=ADMINS,
        handler=revoke_token,
        params=TokenPath,
        result=TokenOut,
        installation=True,
        reasons=True,
    ),
)

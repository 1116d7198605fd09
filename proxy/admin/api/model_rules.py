"""`/models`: which models a tenant or one of its keys may use."""

from typing import Annotated

from pydantic import Field

from proxy.admin.api.etags import check, etag
from proxy.admin.api.models import Id, Input, Model, Nothing, Output, OwnerPageParams, Paged, Reason
from proxy.admin.api.pages import paged
from proxy.admin.api.routes import ADMINS, FINANCE_READERS, Answer, Call, Route
from proxy.store import limits as store
from proxy.store.limits import ModelRow, Owner


class ModelRuleOut(Output):
    """A rule about a model, or about all that begin alike (`gpt-realtime*`)."""

    owner_id: str = Field(description="A tenant's id, or a key's.")
    tenant_id: str
    tenant: str
    api_key_id: str | None
    model: str
    allowed: bool


class ModelRulePath(Input):
    """Which rule of whom."""

    owner_id: Annotated[Id, Field(description="A tenant's id, or a key's.")]
    model: Annotated[Model, Field(description="A model, or the beginning of names and a `*`.")]


class ModelRuleValue(Input):
    """What the rule is to say."""

    allowed: bool
    reason: Reason | None = None


def list_models(call: Call[OwnerPageParams, Nothing]) -> Answer:
    """Answer with a page of rules, by their owner's id and the model."""
    return paged(
        call,
        lambda page: store.list_models(call.connection, call.params.tenant, page, call.params.owner),
        key=lambda one: (one.api_key_id or one.tenant_id, one.model),
        kinds=(str, str),
        show=_shown,
    )


def show_model(call: Call[ModelRulePath, Nothing]) -> Answer:
    """Answer with one rule."""
    return _answer(store.find_model(call.connection, _owner(call), call.params.model))


def set_model(call: Call[ModelRulePath, ModelRuleValue]) -> Answer:
    """Allow or deny a model. If-Match is needed where there is a rule about it already."""
    owner, model = _owner(call), call.params.model
    old = store.model_of(call.connection, owner, model)
    check(call.if_match, None if old is None else _etag(old))
    made = store.set_model(
        call.connection,
        owner.tenant_id,
        model,
        call.body.allowed,
        act=call.act(),
        key_id=owner.api_key_id,
    )
    return _answer(made)


def remove_model(call: Call[ModelRulePath, Nothing]) -> Answer:
    """Remove a rule; answer with what it was."""
    owner, model = _owner(call), call.params.model
    check(call.if_match, _etag(store.find_model(call.connection, owner, model)))
    removed = store.remove_model(
        call.connection, owner.tenant_id, model, act=call.act(), key_id=owner.api_key_id
    )
    return Answer(_shown(removed))


def _owner(call: Call[ModelRulePath, ModelRuleValue] | Call[ModelRulePath, Nothing]) -> Owner:
    return store.owner_of_id(call.connection, call.params.owner_id, call.within)


def _shown(one: ModelRow) -> ModelRuleOut:
    return ModelRuleOut(
        owner_id=one.api_key_id or one.tenant_id,
        tenant_id=one.tenant_id,
        tenant=one.tenant,
        api_key_id=one.api_key_id,
        model=one.model,
        allowed=one.allowed,
    )


def _answer(one: ModelRow) -> Answer:
    return Answer(_shown(one), 200, {"ETag": _etag(one)})


def _etag(one: ModelRow) -> str:
    return etag(one.tenant_id, one.api_key_id, one.model, one.allowed)


ROUTES = (
    Route(
        method="GET",
        path="/models",
        summary="List the rules about models",
        roles=FINANCE_READERS,
        handler=list_models,
        params=OwnerPageParams,
        result=Paged[ModelRuleOut],
    ),
    Route(
        method="GET",
        path="/models/{owner_id}/{model}",
        summary="Show a rule about a model, of a tenant or a key",
        roles=FINANCE_READERS,
        handler=show_model,
        params=ModelRulePath,
        result=ModelRuleOut,
    ),
    Route(
        method="PUT",
        path="/models/{owner_id}/{model}",
        summary="Allow or deny a model for a tenant or a key",
        roles=ADMINS,
        handler=set_model,
        params=ModelRulePath,
        body=ModelRuleValue,
        result=ModelRuleOut,
        edits=True,
    ),
    Route(
        method="DELETE",
        path="/models/{owner_id}/{model}",
        summary="Remove a rule about a model",
        roles=ADMINS,
        handler=remove_model,
        params=ModelRulePath,
        result=ModelRuleOut,
        edits=True,
        reasons=True,
    ),
)

"""`/line-items`: rules that say which model and meter the lines of the provider's bill are."""

from typing import Annotated

from pydantic import Field

from proxy.admin.api.models import At, Input, Model, Nothing, Output, Paged, PageParams, Reason, Text
from proxy.admin.api.pages import paged
from proxy.admin.api.routes import BOOKKEEPERS, FINANCE_READERS, Answer, Call, Route
from proxy.core.line_items import NAME_CHARS_MAX, Rule
from proxy.core.usage import Meter
from proxy.store.line_items import StoredRule, list_rules, remove_rule, set_rule

LineItem = Annotated[
    Text,
    Field(
        min_length=1,
        max_length=NAME_CHARS_MAX,
        description="A line's name; one * stands for the model.",
        examples=["*, audio input"],
    ),
]


class RuleOut(Output):
    """What lines of this name are. Without a meter they are not compared."""

    name: str
    model: str | None
    meter: str | None
    set_at: At


class RuleIn(Input):
    """What lines of this name are, in the place of what was said of it before."""

    name: LineItem
    model: Annotated[Model | None, Field(description="Where no * says which.")] = None
    meter: Annotated[Meter | None, Field(strict=False, description="Null: nothing of ours, not compared.")]
    reason: Reason | None = None


class RuleParams(Input):
    """Which rule."""

    name: LineItem


def list_all(call: Call[PageParams, Nothing]) -> Answer:
    """Answer with a page of rules, by their names."""
    return paged(
        call,
        lambda page: list_rules(call.connection, page),
        key=lambda one: (one.rule.name,),
        kinds=(str,),
        show=_shown,
    )


def set_one(call: Call[Nothing, RuleIn]) -> Answer:
    """Make a rule, or change it."""
    body = call.body
    return Answer(_shown(set_rule(call.connection, Rule(body.name, body.meter, body.model), call.act())))


def remove_one(call: Call[RuleParams, Nothing]) -> Answer:
    """Remove a rule; answer with what it was."""
    return Answer(_shown(remove_rule(call.connection, call.params.name, call.act())))


def _shown(one: StoredRule) -> RuleOut:
    return RuleOut.model_validate(one.as_json())


ROUTES = (
    Route(
        method="GET",
        path="/line-items",
        summary="List what the lines of the provider's bill mean",
        roles=FINANCE_READERS,
        handler=list_all,
        params=PageParams,
        result=Paged[RuleOut],
        installation=True,
    ),
    Route(
        method="PUT",
        path="/line-items",
        summary="Say what a line of the provider's bill means",
        roles=BOOKKEEPERS,
        handler=set_one,
        body=RuleIn,
        result=RuleOut,
        installation=True,
    ),
    Route(
        method="DELETE",
        path="/line-items",
        summary="Remove what is said of a line of the provider's bill",
        roles=BOOKKEEPERS,
        handler=remove_one,
        params=RuleParams,
        result=RuleOut,
        reasons=True,
        installation=True,
    ),
)

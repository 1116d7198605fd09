"""`/budgets`: how much may be spent by whom, and what happens then."""

from datetime import UTC
from typing import Annotated, Any

from pydantic import Field, model_validator

from proxy.admin.api.etags import check, etag
from proxy.admin.api.models import (
    At,
    Dollars,
    Id,
    Input,
    NameOrId,
    Nanousd,
    Nothing,
    Output,
    Paged,
    Reason,
    TenantPageParams,
    Text,
    Time,
    Usd,
    Zone,
)
from proxy.admin.api.pages import paged
from proxy.admin.api.periods import instant
from proxy.admin.api.problems import Problem, invalid
from proxy.admin.api.routes import ADMINS, FINANCE_READERS, Answer, Call, Route
from proxy.core.budgets import OnExhausted, OnStoreDown, Scope
from proxy.core.money import parse_usd
from proxy.core.windows import Window
from proxy.store import budgets as store
from proxy.store.budget_list import Listed, find_budget, list_budgets, terms_json
from proxy.store.budget_owners import USER_CHARS_MAX
from proxy.store.tenants import find_key

Percent = Annotated[int, Field(ge=1, le=store.THRESHOLD_PERCENT_MAX)]


class RaiseOut(Output):
    """An amount on top of a budget's for some time."""

    id: str
    amount_nanousd: Nanousd
    amount_usd: Dollars
    starts_at: At
    ends_at: At
    reason: str
    actor: str
    created_at: At


class BudgetOut(Output):
    """A budget as it stands at `at`. What is null in `spent` is counted for each user or session apart."""

    id: str
    scope: str
    tenant_id: str | None
    tenant: str | None
    project_id: str | None
    project: str | None
    api_key_id: str | None
    key: str | None
    end_user_id: str | None
    end_user: str | None
    window: str
    zone: str
    amount_nanousd: Nanousd | None
    amount_usd: Dollars | None
    on_exhausted: str
    on_store_down: str
    store_down_nanousd: Nanousd
    store_down_usd: Dollars
    thresholds: list[int]
    forecast_thresholds: list[int]
    at: At
    window_starts_at: At | None
    window_ends_at: At | None
    amount_now_nanousd: Nanousd | None = Field(description="With the raises that hold at `at`.")
    amount_now_usd: Dollars | None
    spent_nanousd: Nanousd | None
    spent_usd: Dollars | None
    held_nanousd: Nanousd | None = Field(description="Leased by instances and not spent: a part of `left`.")
    held_usd: Dollars | None
    left_nanousd: Nanousd | None
    left_usd: Dollars | None
    raises: list[RaiseOut]
    created_at: At
    deleted_at: At | None


class Terms(Input):
    """How a budget works besides its amount. What is left out stays, and is the default in a new one."""

    zone: Annotated[Zone | None, Field(description="Where windows begin and end.")] = None
    on_exhausted: OnExhausted | None = None
    on_store_down: OnStoreDown | None = None
    store_down_usd: Annotated[Usd | None, Field(description="What `continue` may spend.")] = None
    thresholds: Annotated[
        list[Percent] | None, Field(max_length=store.THRESHOLDS_MAX, description="Percents to announce.")
    ] = None
    forecast_thresholds: Annotated[
        list[Percent] | None,
        Field(
            max_length=store.THRESHOLDS_MAX,
            description="Percents to announce when a forecast reaches them; of a week, month or quarter.",
        ),
    ] = None
    reason: Reason | None = None

    def of_the_store(self) -> store.Terms:
        return store.Terms(
            zone=self.zone,
            on_exhausted=self.on_exhausted,
            on_store_down=self.on_store_down,
            store_down_nanousd=None if self.store_down_usd is None else parse_usd(self.store_down_usd),
            thresholds=None if self.thresholds is None else tuple(self.thresholds),
            forecast_thresholds=None if self.forecast_thresholds is None else tuple(self.forecast_thresholds),
        )


class BudgetNew(Terms):
    """A budget to be made."""

    scope: Scope
    tenant: Annotated[NameOrId | None, Field(description="Whose; not for the organisation's.")] = None
    project: Annotated[NameOrId | None, Field(description="For the scope `project`.")] = None
    key: Annotated[Id | None, Field(description="For the scope `key`: its id.")] = None
    end_user: Annotated[
        Text | None, Field(min_length=1, max_length=USER_CHARS_MAX, description="For the scope `end_user`.")
    ] = None
    window: Window
    amount_usd: Annotated[Usd | None, Field(description="0 blocks, null is unlimited.")]

    @model_validator(mode="after")
    def _goes_together(self) -> "BudgetNew":
        names = {Scope.PROJECT: "project", Scope.KEY: "key", Scope.END_USER: "end_user"}
        for scope, name in names.items():
            if (getattr(self, name) is not None) != (self.scope is scope):
                raise ValueError(f"`{name}` belongs to the scope `{scope}`, and only to that")
        if (self.tenant is not None) and self.scope is Scope.ORGANISATION:
            raise ValueError("the organisation's budget counts all tenants: leave `tenant` out")
        if self.tenant is None and self.scope not in (Scope.ORGANISATION, Scope.KEY):
            raise ValueError(f"a budget of the scope `{self.scope}` needs a `tenant`")
        return self

    @property
    def named(self) -> str | None:
        return self.project or self.key or self.end_user


class BudgetChange(Terms):
    """What to change of a budget."""

    amount_usd: Annotated[Usd | None, Field(description="0 blocks, null is unlimited.")] = None


class RaiseNew(Input):
    """An amount to put on top of a budget for some time."""

    amount_usd: Annotated[Usd, Field(description="Above 0.")]
    from_: Annotated[Time | None, Field(alias="from", description="Now if left out.")] = None
    until: Annotated[Time, Field(description="From when on it no longer counts.")]
    reason: Annotated[Reason, Field(min_length=1)]


class BudgetPath(Input):
    """Which budget."""

    budget_id: Id


def page_of_budgets(call: Call[TenantPageParams, Nothing]) -> Answer:
    """Answer with a page of budgets, by id."""
    tenant_id = call.tenant_id(call.params.tenant)
    return paged(
        call,
        lambda page: list_budgets(call.connection, call.at, tenant_id=tenant_id, page=page),
        key=lambda one: (one.rule.id,),
        kinds=(str,),
        show=lambda one: BudgetOut.model_validate(one.as_json(), strict=False),
    )


def show_budget(call: Call[BudgetPath, Nothing]) -> Answer:
    """Answer with one budget, also a deleted one."""
    return _answer(_budget(call))


def create_budget(call: Call[Nothing, BudgetNew]) -> Answer:
    """Make a budget."""
    wanted = call.body
    if wanted.scope is Scope.ORGANISATION and call.within is not None:
        raise Problem(
            "forbidden", "The organisation's budget is not for tokens that are confined to tenants."
        )
    tenant_id = call.tenant_id(wanted.tenant)
    if wanted.key is not None:
        find_key(call.connection, wanted.key, call.within)
    made = store.set_budget(
        call.connection,
        call.act(),
        scope=wanted.scope,
        window=wanted.window,
        amount_nanousd=_amount(wanted.amount_usd),
        tenant=tenant_id,
        name=wanted.named,
        terms=wanted.of_the_store(),
        only_new=True,
    )
    return _answer(made, 201)


def change_budget(call: Call[BudgetPath, BudgetChange]) -> Answer:
    """Change a budget. In another time zone its windows are others, and another budget takes its place."""
    found = _budget(call)
    check(call.if_match, _etag(found))
    if found.deleted_at is not None:
        raise Problem("conflict", f"Budget {found.rule.id} is deleted: make a new one instead.")
    rule, wanted = found.rule, call.body
    keeps = "amount_usd" not in wanted.model_fields_set
    changed = store.set_budget(
        call.connection,
        call.act(),
        scope=rule.scope,
        window=rule.window,
        amount_nanousd=rule.amount_nanousd if keeps else _amount(wanted.amount_usd),
        tenant=rule.tenant_id,
        name=_name(found),
        terms=wanted.of_the_store(),
    )
    return _answer(changed)


def delete_budget(call: Call[BudgetPath, Nothing]) -> Answer:
    """Delete a budget."""
    found = _budget(call)
    check(call.if_match, _etag(found))
    return _answer(store.delete_budget(call.connection, call.act(), found.rule.id))


def raise_budget(call: Call[BudgetPath, RaiseNew]) -> Answer:
    """Raise a budget for some time."""
    found, wanted = _budget(call), call.body
    ends_at = instant("body", "until", wanted.until, UTC)
    if ends_at is None:
        raise invalid("body", "until", "say from when on it no longer counts")
    raised = store.raise_budget(
        call.connection,
        call.act(),
        found.rule.id,
        amount_nanousd=parse_usd(wanted.amount_usd),
        starts_at=instant("body", "from", wanted.from_, UTC) or call.at,
        ends_at=ends_at,
    )
    return _answer(raised, 201)


def _budget(call: Call[BudgetPath, Any]) -> Listed:
    return find_budget(call.connection, call.params.budget_id, call.at, call.within)


def _amount(usd: str | None) -> int | None:
    return None if usd is None else parse_usd(usd)


def _name(one: Listed) -> str | None:
    """Return what an owner is named by when a budget of theirs is set."""
    rule = one.rule
    return rule.project_id or rule.api_key_id or (one.end_user if rule.end_user_id else None)


def _answer(one: Listed, status: int = 200) -> Answer:
    shown = BudgetOut.model_validate(one.as_json(), strict=False)
    return Answer(shown, status, {"ETag": _etag(one), "Location": f"/api/v1/budgets/{one.rule.id}"})


def _etag(one: Listed) -> str:
    return etag(one.rule.id, terms_json(one.rule), one.deleted_at, [raised.id for raised in one.raises])


ROUTES = (
    Route(
        method="GET",
        path="/budgets",
        summary="List budgets, with what is spent and left in the window that is now",
        roles=FINANCE_READERS,
        handler=page_of_budgets,
        params=TenantPageParams,
        result=Paged[BudgetOut],
    ),
    Route(
        method="POST",
        path="/budgets",
        summary="Create a budget",
        roles=ADMINS,
        handler=create_budget,
        body=BudgetNew,
        result=BudgetOut,
        status=201,
        creates=True,
    ),
    Route(
        method="GET",
        path="/budgets/{budget_id}",
        summary="Show a budget",
        roles=FINANCE_READERS,
        handler=show_budget,
        params=BudgetPath,
        result=BudgetOut,
    ),
    Route(
        method="PATCH",
        path="/budgets/{budget_id}",
        summary="Change a budget; what is left out stays. In another zone it gets another id",
        roles=ADMINS,
        handler=change_budget,
        params=BudgetPath,
        body=BudgetChange,
        result=BudgetOut,
        edits=True,
    ),
    Route(
        method="DELETE",
        path="/budgets/{budget_id}",
        summary="Delete a budget: it limits nothing any more",
        roles=ADMINS,
        handler=delete_budget,
        params=BudgetPath,
        result=BudgetOut,
        edits=True,
        reasons=True,
    ),
    Route(
        method="POST",
        path="/budgets/{budget_id}/raises",
        summary="Put an amount on top of a budget for some time",
        roles=ADMINS,
        handler=raise_budget,
        params=BudgetPath,
        body=RaiseNew,
        result=BudgetOut,
        status=201,
        creates=True,
    ),
)

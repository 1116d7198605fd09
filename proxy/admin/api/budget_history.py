"""`/budgets/history`: what an amount would have meant in the last 30 days."""

from dataclasses import asdict
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import Field

from proxy.admin.api.models import (
    At,
    Dollars,
    Id,
    Input,
    NameOrId,
    Nanousd,
    Nothing,
    Output,
    Text,
    Usd,
    Zone,
    with_usd,
)
from proxy.admin.api.problems import invalid
from proxy.admin.api.routes import FINANCE_READERS, Answer, Call, Route
from proxy.core.budgets import Budget, Scope
from proxy.core.money import parse_usd
from proxy.core.windows import Window
from proxy.store import StoreError
from proxy.store.budget_owners import USER_CHARS_MAX
from proxy.store.instants import parse_zone
from proxy.store.spend_history import owner_ids, spend_history
from proxy.store.tenants import Tenant, find_key

_NAMED = {Scope.PROJECT: "project", Scope.KEY: "key", Scope.END_USER: "end_user"}
_UTC = ZoneInfo("UTC")


class LargestOut(Output):
    """A window in which something was spent; in windows of sessions, a session."""

    starts_at: At | None
    ends_at: At | None
    end_user: str | None
    session_id: str | None
    spent_nanousd: Nanousd
    spent_usd: Dollars
    over: bool | None


class BudgetHistoryOut(Output):
    """How often an amount would have been spent; what is over is null where no amount was asked about."""

    scope: Scope
    tenant_id: str | None
    tenant: str | None
    window: Window
    zone: str
    from_: At = Field(serialization_alias="from", description="When the first window began.")
    to: At
    amount_nanousd: Nanousd | None
    amount_usd: Dollars | None
    windows: int = Field(
        description="Of the calendar; of each user or session, those in which something was spent."
    )
    windows_over: int | None
    sessions: int = Field(description="Sessions of the last 30 days.")
    sessions_over: int | None = Field(description="Those that spent more than the amount by themselves.")
    largest_session_id: str | None
    largest_session_nanousd: Nanousd | None
    largest_session_usd: Dollars | None
    entries_from: At | None = Field(
        description="Sessions, and windows of end users, are counted from here on only; null: all are."
    )
    data: list[LargestOut] = Field(description="The largest windows, ten at most.")


class BudgetHistoryParams(Input):
    """Which budget there would be."""

    scope: Annotated[
        Scope | None, Field(strict=False, description="By what is named, if left out; else `organisation`.")
    ] = None
    tenant: Annotated[NameOrId | None, Field(description="Whose (name or id).")] = None
    project: Annotated[NameOrId | None, Field(description="For the scope `project`.")] = None
    key: Annotated[Id | None, Field(description="For the scope `key`: its id.")] = None
    end_user: Annotated[
        Text | None, Field(min_length=1, max_length=USER_CHARS_MAX, description="For the scope `end_user`.")
    ] = None
    window: Annotated[Window, Field(strict=False)] = Window.DAY
    zone: Annotated[Zone | None, Field(description="Where windows begin and end; UTC if left out.")] = None
    amount_usd: Annotated[Usd | None, Field(description="What is to be exceeded.")] = None

    @property
    def named(self) -> str | None:
        return self.project or self.key or self.end_user


def show_history(call: Call[BudgetHistoryParams, Nothing]) -> Answer:
    """Answer with what an amount would have meant."""
    params, tenant = call.params, _tenant(call)
    amount = None if params.amount_usd is None else parse_usd(params.amount_usd)
    if amount is not None and amount < 0:
        raise invalid("query", "amount_usd", "an amount is 0 (nothing may be spent) or more")
    asked = Budget(
        id="",
        scope=_scope(params),
        window=params.window,
        amount_nanousd=amount,
        tenant_id=tenant and tenant.id,
        zone=_zone(params.zone),
        **owner_ids(call.connection, _scope(params), tenant, params.named),
    )
    found = spend_history(call.connection, asked, call.at, call.within)
    session_id, session = found.largest_session or (None, None)
    shown = with_usd(
        {
            "scope": asked.scope,
            "tenant_id": asked.tenant_id,
            "tenant": tenant and tenant.name,
            "window": asked.window,
            "zone": asked.zone.key,
            "from_": found.start,
            "to": call.at,
            "amount_nanousd": amount,
            "windows": found.windows,
            "windows_over": found.windows_over,
            "sessions": found.sessions,
            "sessions_over": found.sessions_over,
            "largest_session_id": session_id,
            "largest_session_nanousd": session,
            "entries_from": found.entries_from,
            "data": [
                {**asdict(one), "over": None if amount is None else one.spent_nanousd > amount}
                for one in found.largest
            ],
        }
    )
    return Answer(BudgetHistoryOut.model_validate(shown))


def _zone(name: str | None) -> ZoneInfo:
    try:
        return _UTC if name is None else parse_zone(name)
    except StoreError as error:
        raise invalid("query", "zone", str(error)) from None


def _scope(params: BudgetHistoryParams) -> Scope:
    if params.scope is not None:
        return params.scope
    named = [scope for scope, name in _NAMED.items() if getattr(params, name) is not None]
    return named[0] if named else Scope.TENANT if params.tenant is not None else Scope.ORGANISATION


def _tenant(call: Call[BudgetHistoryParams, Nothing]) -> Tenant | None:
    """Return whose budget is meant, None for all tenants; raises Problem where names do not go together."""
    params = call.params
    scope = _scope(params)
    for one, name in _NAMED.items():
        if (getattr(params, name) is not None) != (scope is one):
            raise invalid("query", name, f"it belongs to the scope `{one}`, and only to that")
    if scope is Scope.ORGANISATION and params.tenant is not None:
        raise invalid("query", "tenant", "the organisation's budget counts all tenants: leave it out")
    if params.tenant is not None:
        return call.tenant(params.tenant)
    if params.key is not None:
        return call.tenant(find_key(call.connection, params.key, call.within).tenant_id)
    if scope is not Scope.ORGANISATION:
        raise invalid("query", _NAMED.get(scope, "scope"), "say of which `tenant`")
    return None


ROUTES = (
    Route(
        method="GET",
        path="/budgets/history",
        summary="Tell how many windows and sessions of the last 30 days exceeded an amount",
        roles=FINANCE_READERS,
        handler=show_history,
        params=BudgetHistoryParams,
        result=BudgetHistoryOut,
    ),
)

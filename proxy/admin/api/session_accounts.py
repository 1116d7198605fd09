"""`/sessions/{session_id}/account`: what each response of a session cost, and why."""

from typing import Annotated

from pydantic import Field

from proxy.admin.api.models import At, Dollars, Flag, Nanousd, Nothing, Output
from proxy.admin.api.routes import EVERYONE, Answer, Call, Opens, Route
from proxy.admin.api.sessions import SessionPath
from proxy.core.session_account import Because, Part
from proxy.store.session_accounts import session_account
from proxy.store.tokens import TokenRole


class AmountOut(Output):
    """An amount."""

    amount_nanousd: Nanousd | None
    amount_usd: Dollars | None


class ShareOut(AmountOut):
    """One part of a thing: how much was used for it, and its amount."""

    quantity: int


class GrowthOut(AmountOut):
    """By how many tokens the input had grown since the response before, and what they cost."""

    tokens: int


class BreakOut(Output):
    """Tokens that the cache should have had, and what they cost beyond its price."""

    tokens: int
    extra_nanousd: Nanousd | None
    extra_usd: Dollars | None
    because: Because


class ThingOut(AmountOut):
    """A billed thing. Its parts sum to its amount; growth and a broken cache lie within them."""

    id: int
    occurred_at: At
    kind: str
    role: str
    subject_id: str
    model: str | None
    status: str
    estimated: bool
    rated: bool
    corrects: int | None
    corrected: bool = Field(description="A later entry takes it back.")
    parts: dict[Part, ShareOut]
    growth: GrowthOut | None
    cache_broke: BreakOut | None
    running_nanousd: Nanousd = Field(description="Up to and with this one.")
    running_usd: Dollars


class AccountTotal(AmountOut):
    """What the session comes to."""

    estimated_nanousd: Nanousd
    estimated_usd: Dollars
    unrated_entries: int
    parts: dict[Part, AmountOut]
    growth_tokens: int
    growth_nanousd: Nanousd
    growth_usd: Dollars
    broken_tokens: int
    extra_nanousd: Nanousd
    extra_usd: Dollars


class AccountOut(Output):
    """A session's account. `amounts` says whose: what it costs, or what the tenant is billed."""

    session_id: str
    amounts: str
    things: list[ThingOut]
    total: AccountTotal


class AccountParams(SessionPath):
    """Which session, and which amounts."""

    billed: Annotated[
        Flag, Field(description="What the tenant owes, not what it costs; a viewer sees only that.")
    ] = False


def show_account(call: Call[AccountParams, Nothing]) -> Answer:
    """Answer with a session's account."""
    is_billed = call.params.billed or call.caller.role is TokenRole.VIEWER
    found = session_account(call.context.engine, call.params.session_id, call.within, is_billed=is_billed)
    return Answer(AccountOut.model_validate(found.as_json()))


ROUTES = (
    Route(
        method="GET",
        path="/sessions/{session_id}/account",
        summary="Explain what each response of a session cost",
        roles=EVERYONE,
        handler=show_account,
        params=AccountParams,
        result=AccountOut,
        opens=Opens.NOTHING,
    ),
)

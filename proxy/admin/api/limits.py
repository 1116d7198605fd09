"""`/limits`: rules against runaway conversations, of a tenant or of one of its keys."""

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from proxy.admin.api.etags import check, etag
from proxy.admin.api.models import Id, Input, Nothing, Output, OwnerPageParams, Paged, Reason, Text
from proxy.admin.api.pages import paged
from proxy.admin.api.problems import invalid
from proxy.admin.api.routes import ADMINS, FINANCE_READERS, Answer, Call, Route
from proxy.core.limits import LimitName, Unit
from proxy.core.money import format_usd
from proxy.store import StoreError
from proxy.store import limits as store
from proxy.store.limits import LimitRow, Owner

VALUE_CHARS_MAX = 30
_UNITS = {Unit.MS: "seconds", Unit.NANOUSD: "usd", Unit.COUNT: "count"}


class LimitOut(Output):
    """A limit that is set."""

    owner_id: str = Field(description="A tenant's id, or a key's.")
    tenant_id: str
    tenant: str
    api_key_id: str | None
    name: str
    value: str = Field(description="Of `unit`, as a decimal number.")
    unit: str


class LimitPath(Input):
    """Which limit of whom."""

    owner_id: Annotated[Id, Field(description="A tenant's id, or a key's.")]
    name: Annotated[LimitName, Field(strict=False)]


class LimitValue(Input):
    """What a limit is to be."""

    value: Annotated[
        Text,
        Field(
            min_length=1,
            max_length=VALUE_CHARS_MAX,
            description="Dollars, seconds or a number.",
            examples=["0.50"],
        ),
    ]
    reason: Reason | None = None


def list_limits(call: Call[OwnerPageParams, Nothing]) -> Answer:
    """Answer with a page of limits, by their owner's id and their name."""
    return paged(
        call,
        lambda page: store.list_limits(call.connection, call.params.tenant, page, call.params.owner),
        key=lambda one: (one.api_key_id or one.tenant_id, one.name.value),
        kinds=(str, str),
        show=_shown,
    )


def show_limit(call: Call[LimitPath, Nothing]) -> Answer:
    """Answer with one limit."""
    return _answer(store.find_limit(call.connection, _owner(call), call.params.name))


def set_limit(call: Call[LimitPath, LimitValue]) -> Answer:
    """Set a limit. If-Match is needed where it is set already."""
    owner, name = _owner(call), call.params.name
    try:
        value = store.parse_value(name, call.body.value)
    except StoreError as error:
        raise invalid("body", "value", str(error)) from None
    old = store.limit_of(call.connection, owner, name)
    check(call.if_match, None if old is None else _etag(old))
    made = store.set_limit(
        call.connection, owner.tenant_id, name, value, act=call.act(), key_id=owner.api_key_id
    )
    return _answer(made)


def remove_limit(call: Call[LimitPath, Nothing]) -> Answer:
    """Remove a limit; answer with what it was."""
    owner, name = _owner(call), call.params.name
    check(call.if_match, _etag(store.find_limit(call.connection, owner, name)))
    removed = store.remove_limit(
        call.connection, owner.tenant_id, name, act=call.act(), key_id=owner.api_key_id
    )
    return Answer(_shown(removed))


def _owner(call: Call[LimitPath, LimitValue] | Call[LimitPath, Nothing]) -> Owner:
    return store.owner_of_id(call.connection, call.params.owner_id, call.within)


def _shown(one: LimitRow) -> LimitOut:
    return LimitOut(
        owner_id=one.api_key_id or one.tenant_id,
        tenant_id=one.tenant_id,
        tenant=one.tenant,
        api_key_id=one.api_key_id,
        name=one.name.value,
        value=_value(one),
        unit=_UNITS[one.unit],
    )


def _value(one: LimitRow) -> str:
    match one.unit:
        case Unit.NANOUSD:
            return format_usd(one.value)
        case Unit.MS:
            return f"{Decimal(one.value).scaleb(-3):f}"
        case Unit.COUNT:
            return str(one.value)


def _answer(one: LimitRow) -> Answer:
    return Answer(_shown(one), 200, {"ETag": _etag(one)})


def _etag(one: LimitRow) -> str:
    return etag(one.tenant_id, one.api_key_id, one.name.value, one.value)


ROUTES = (
    Route(
        method="GET",
        path="/limits",
        summary="List the limits that are set",
        roles=FINANCE_READERS,
        handler=list_limits,
        params=OwnerPageParams,
        result=Paged[LimitOut],
    ),
    Route(
        method="GET",
        path="/limits/{owner_id}/{name}",
        summary="Show a limit of a tenant or a key",
        roles=FINANCE_READERS,
        handler=show_limit,
        params=LimitPath,
        result=LimitOut,
    ),
    Route(
        method="PUT",
        path="/limits/{owner_id}/{name}",
        summary="Set a limit of a tenant or a key; it reaches live sessions within two seconds",
        roles=ADMINS,
        handler=set_limit,
        params=LimitPath,
        body=LimitValue,
        result=LimitOut,
        edits=True,
    ),
    Route(
        method="DELETE",
        path="/limits/{owner_id}/{name}",
        summary="Remove a limit",
        roles=ADMINS,
        handler=remove_limit,
        params=LimitPath,
        result=LimitOut,
        edits=True,
        reasons=True,
    ),
)

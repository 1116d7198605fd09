"""What the models of all resources are made of: strict, nothing extra, bounds on everything.

Input never has floats: amounts are dollars in strings. Output has each amount twice, as integer nano-dollars
and in dollars with nine decimals.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from proxy.core.money import format_usd, parse_usd
from proxy.core.periods import parse_period
from proxy.store.audit import REASON_CHARS_MAX
from proxy.store.instants import parse_instant
from proxy.store.tenants import NAME_CHARS_MAX

LIMIT_MAX = 1_000
LIMIT = 100
CURSOR_CHARS_MAX = 500
ENTRY_ID_MAX = 2**63 - 1
TIME_CHARS_MAX = 40
ZONE_CHARS_MAX = 60
USD_PATTERN = r"^-?[0-9]{1,10}(\.[0-9]{1,9})?$"
CURSOR_PATTERN = r"^[A-Za-z0-9_-]*$"
PRINTABLE = r"^[^\u0000-\u001f\u007f-\u009f]*$"
MONTH_PATTERN = r"^(1969|19[7-9][0-9]|[2-8][0-9]{3})-(0[1-9]|1[0-2])$"

T = TypeVar("T")


class Input(BaseModel):
    """A body, or the parameters of a path and a query."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, hide_input_in_errors=True, defer_build=True
    )


class Output(BaseModel):
    """A part of an answer, made from a dataclass of the store or from its JSON."""

    model_config = ConfigDict(from_attributes=True, frozen=True, hide_input_in_errors=True, defer_build=True)


class Nothing(Input):
    """No parameters, or no body."""


# --- Values that come in


def _encodable(text: str) -> str:
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise ValueError("it holds half a character (a lone surrogate)")
    return text


def _printable(text: str) -> str:
    if not re.fullmatch(PRINTABLE, text):
        raise ValueError("it holds a control character, such as a line break: leave that out")
    return text


def _cursor(text: str) -> str:
    if not re.fullmatch(CURSOR_PATTERN, text):
        raise ValueError("it should be `next` of an answer to this very list")
    return text


def _usd(text: str) -> str:
    parse_usd(text)
    if not re.fullmatch(USD_PATTERN, text):  # a Decimal takes more: 1e3, 1_000, other digits
        raise ValueError(
            f"{text!r} is not plain: it should be dollars with up to nine decimals, such as 12.50"
        )
    return text


def _time(text: str) -> str:
    parse_instant(text)
    return text


def _whole(value: object) -> object:
    """Return the number in a query; in the body of a request it is one already."""
    if isinstance(value, str):
        if not re.fullmatch(r"-?[0-9]{1,19}", value):
            raise ValueError("it should be a whole number")
        return int(value)
    return value


def _flag(value: object) -> object:
    if isinstance(value, str):
        if value not in ("true", "false"):
            raise ValueError("it should be true or false")
        return value == "true"
    return value


def described(pattern: str) -> Any:
    """Return a pattern for the API's description; a function checks it, and says what to do."""
    return Field(json_schema_extra={"pattern": pattern})


Text = Annotated[str, described(PRINTABLE), AfterValidator(_printable), AfterValidator(_encodable)]
Cursor = Annotated[
    str, Field(max_length=CURSOR_CHARS_MAX), described(CURSOR_PATTERN), AfterValidator(_cursor)
]
Month = Annotated[Text, described(MONTH_PATTERN), AfterValidator(parse_period)]
Name = Annotated[Text, Field(min_length=1, max_length=NAME_CHARS_MAX, description="A name.")]
NameOrId = Annotated[Text, Field(min_length=1, max_length=NAME_CHARS_MAX, description="A name or an id.")]
Id = Annotated[Text, Field(min_length=1, max_length=NAME_CHARS_MAX, description="An id.")]
Model = Annotated[Text, Field(min_length=1, max_length=256, description="A model's name.")]
Reason = Annotated[Text, Field(max_length=REASON_CHARS_MAX, description="Why: kept in the audit log.")]
Usd = Annotated[
    str,
    StringConstraints(max_length=21),
    described(USD_PATTERN),
    AfterValidator(_usd),
    Field(description="Dollars with up to nine decimals, in a string.", examples=["12.50"]),
]
Time = Annotated[
    str,
    StringConstraints(min_length=1, max_length=TIME_CHARS_MAX),
    AfterValidator(_time),
    Field(
        description="A day or an instant; a day is its first moment.",
        examples=["2026-12-01", "2026-12-01T08:30:00Z"],
    ),
]
Zone = Annotated[Text, Field(min_length=1, max_length=ZONE_CHARS_MAX, examples=["Europe/Berlin"])]
Whole = Annotated[int, BeforeValidator(_whole)]
Flag = Annotated[bool, BeforeValidator(_flag)]
EntryId = Annotated[Whole, Field(ge=1, le=ENTRY_ID_MAX)]


class PageParams(Input):
    """Which page of a list."""

    limit: Annotated[Whole, Field(ge=1, le=LIMIT_MAX, description="How many rows at most.")] = LIMIT
    after: Annotated[Cursor | None, Field(description="`next` of the page before.")] = None


class TenantPageParams(PageParams):
    """Which page of a list, of one tenant or of all that the token may see."""

    tenant: Annotated[NameOrId | None, Field(description="Only of this tenant (name or id).")] = None


class OwnerPageParams(TenantPageParams):
    """Which page of a list of rules."""

    owner: Annotated[Id | None, Field(description="Only of this tenant or key (its id).")] = None


class PeriodParams(Input):
    """Between which instants."""

    from_: Annotated[Time | None, Field(alias="from", description="A day or an instant; inside.")] = None
    to: Annotated[Time | None, Field(description="A day or an instant; no longer inside.")] = None


# --- Answers


class Paged(Output, Generic[T]):
    """A page of a list."""

    data: list[T]
    next: str | None = Field(description="What to give as `after` for the next page; null on the last one.")


Nanousd = Annotated[int, Field(description="Nano-dollars: a billionth of a dollar.")]
Dollars = Annotated[str, Field(description="The same in dollars, with nine decimals.")]
At = Annotated[datetime, Field(description="An instant, UTC.")]


def with_usd(value: Any) -> Any:
    """Return JSON in which each `…_nanousd` has a `…_usd` beside it."""
    if isinstance(value, list | tuple):
        return [with_usd(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    shown = {name: with_usd(item) for name, item in value.items()}
    for name, amount in value.items():
        if name.endswith("_nanousd"):
            dollars = None if amount is None else format_usd(amount)
            shown.setdefault(f"{name.removesuffix('_nanousd')}_usd", dollars)
    return shown


def fields_of(row: object) -> dict[str, Any]:
    """Return a dataclass of the store with dollars beside its nano-dollars."""
    names: Mapping[str, Any] = row.__dataclass_fields__  # type: ignore[attr-defined]
    shown: dict[str, Any] = with_usd({name: getattr(row, name) for name in names})
    return shown

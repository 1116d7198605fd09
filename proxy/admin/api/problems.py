"""Problems: what the API answers when it does not do what was asked (RFC 9457)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from aiohttp import web
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from proxy.store import Conflict, Forbidden, NotFound, StoreError
from proxy.store.answers import KeyUsed

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

CONTENT_TYPE = "application/problem+json"
ERRORS_SHOWN_MAX = 50
VALUE_ERROR = "Value error, "
BUSY_S = 2  # after which to ask again

# What each kind of problem is called: `urn:talkmeter:KIND` is its type.
TITLES: Mapping[str, tuple[int, str]] = {
    "malformed": (400, "The request cannot be read"),
    "unauthorized": (401, "A valid token is needed"),
    "forbidden": (403, "This token may not do that"),
    "not-found": (404, "There is no such thing"),
    "method-not-allowed": (405, "This path has no such method"),
    "too-slow": (408, "The request did not arrive in time"),
    "conflict": (409, "This does not go together with what is there"),
    "stale": (412, "It was changed since you read it"),
    "too-large": (413, "The request is too large"),
    "unsupported-media-type": (415, "The body has the wrong type"),
    "invalid": (422, "A value cannot be used"),
    "key-used": (422, "This Idempotency-Key was used for another request"),
    "precondition-required": (428, "Say which state you have read"),
    "too-many": (429, "Too many attempts"),
    "internal": (500, "This failed"),
    "unavailable": (503, "This cannot be answered now"),
}

# What pydantic says of these tells nobody what to do.
_INSTEAD: Mapping[str, str] = {
    "extra_forbidden": "it is unknown here: leave it out; /openapi.json lists what there is",
    "missing": "it is missing: give it",
}

_OF_TEXT = "Value should have at"  # least or most so many

Where = Literal["path", "query", "body", "header"]


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one value: where it stands, as a JSON pointer, and what it should be."""

    where: Where
    pointer: str
    detail: str

    def as_json(self) -> dict[str, str]:
        return {"in": self.where, "pointer": self.pointer, "detail": self.detail}


@dataclass(slots=True)
class Problem(Exception):
    """Raised wherever a request comes to its end; `detail` says what to do."""

    kind: str
    detail: str
    errors: Sequence[FieldError] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def status(self) -> int:
        return TITLES[self.kind][0]

    def as_json(self) -> dict[str, Any]:
        status, title = TITLES[self.kind]
        shown = {
            "type": f"urn:talkmeter:{self.kind}",
            "title": title,
            "status": status,
            "detail": self.detail,
        }
        errors = [error.as_json() for error in self.errors[:ERRORS_SHOWN_MAX]]
        return {**shown, "errors": errors} if errors else shown

    def response(self) -> web.Response:
        return web.Response(
            status=self.status,
            body=msgspec.json.encode(self.as_json()),
            content_type=CONTENT_TYPE,
            headers=dict(self.headers),
        )


def invalid(where: Where, name: str, detail: str) -> Problem:
    """Return the problem of one value that cannot be used."""
    return Problem("invalid", f"{name}: {detail}", [FieldError(where, f"#/{name}", detail)])


def of_validation(where: Where, error: "ValidationError") -> Problem:
    """Return the problem of what pydantic did not accept. It quotes no value: some are secrets."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if where == "body" and found[0]["type"] == "json_invalid":
        return Problem("malformed", f"The body is not JSON: {found[0]['msg']}.")
    errors = [FieldError(where, _pointer(one["loc"]), _said(one)) for one in found]
    first = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return Problem("invalid", f"{where} {first.pointer}: {first.detail}{more}", errors)


def _pointer(loc: Sequence[str | int]) -> str:
    parts = (str(part).replace("~", "~0").replace("/", "~1") for part in loc if part != "[key]")
    return "#" + "".join(f"/{part}" for part in parts)


def _said(error: "ErrorDetails") -> str:
    message = _INSTEAD.get(error["type"], error["msg"])
    if message.startswith(_OF_TEXT):  # lists and objects are called so
        message = re.sub(r"items? after validation", "characters", message)
    return message.removeprefix(VALUE_ERROR).encode("utf-8", "replace").decode()


def of_store(error: StoreError) -> Problem:
    """Return the problem of something that the person who asked can put right."""
    kinds: dict[type[StoreError], str] = {
        NotFound: "not-found",
        Forbidden: "forbidden",
        Conflict: "conflict",
        KeyUsed: "key-used",
    }
    kind = next((kind for known, kind in kinds.items() if isinstance(error, known)), "invalid")
    return Problem(kind, str(error).encode("utf-8", "replace").decode())


def of_database(error: DBAPIError | PoolTimeoutError) -> Problem | None:
    """Return the problem of a database that is away, or that two changed at once; None for a bug of ours."""
    if isinstance(error, IntegrityError):
        return Problem("conflict", "Something else was changed at the same moment: look again, and repeat.")
    if isinstance(error, OperationalError | InterfaceError | PoolTimeoutError):
        return unavailable("The database does not answer: repeat the request later.")
    return None


def unavailable(detail: str) -> Problem:
    """Return the problem of a moment."""
    return Problem("unavailable", detail, headers={"Retry-After": str(BUSY_S)})


def of_http(error: web.HTTPException) -> Problem:
    """Return the problem of what aiohttp refused: an unknown path, a method that a path has not."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return Problem(
            "method-not-allowed",
            f"{error.method[:20]} is not among {allowed}: /openapi.json lists what there is.",
            headers={"Allow": allowed},
        )
    if error.status == HTTPStatus.NOT_FOUND:
        return Problem("not-found", "There is no such path: /openapi.json lists those that there are.")
    kind = "malformed" if error.status < HTTPStatus.INTERNAL_SERVER_ERROR else "internal"
    return Problem(kind, f"The server refused it ({error.status}).")

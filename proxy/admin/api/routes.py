"""A route: what a path and a method want, who may ask, and what does it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from proxy.admin.api.calls import (
    ADMINS,
    BOOKKEEPERS,
    EVERYONE,
    FINANCE_READERS,
    READERS,
    Answer,
    Call,
    Check,
    Download,
    File,
    Opens,
)
from proxy.admin.api.models import Input, Nothing
from proxy.store.tokens import TokenRole

__all__ = [
    "ADMINS",
    "BOOKKEEPERS",
    "EVERYONE",
    "FINANCE_READERS",
    "READERS",
    "Answer",
    "AnyRoute",
    "Call",
    "Check",
    "Download",
    "File",
    "Opens",
    "Route",
]

BODY_BYTES_MAX = 65_536
READ_ONLY = ("GET",)

P = TypeVar("P", bound=Input)
B = TypeVar("B", bound=Input)


@dataclass(frozen=True, kw_only=True)
class Route(Generic[P, B]):
    """One method of one path.

    `media` are the types of a download. `installation` is for tokens that are not confined to tenants;
    `named` is not for TALKMETER_ADMIN_TOKEN; `creates` takes an Idempotency-Key; `edits` wants If-Match;
    `reasons` takes a reason in a header. `asked` is answered, with 202, where a second person has to approve
    it.
    """

    method: str
    path: str  # below /api/v1, with {names} of path parameters
    summary: str
    roles: frozenset[TokenRole]
    handler: Callable[[Call[P, B]], Answer | Download | File]
    result: type[BaseModel]
    params: type[P] = Nothing  # type: ignore[assignment]
    body: type[B] = Nothing  # type: ignore[assignment]
    status: int = 200
    media: tuple[str, ...] = ()
    also: tuple[int, ...] = ()  # statuses that not every route may answer with
    opens: Opens | None = None
    asked: type[BaseModel] | None = None
    installation: bool = False
    named: bool = False
    creates: bool = False
    edits: bool = False
    reasons: bool = False
    body_bytes_max: int = BODY_BYTES_MAX

    @property
    def transaction(self) -> Opens:
        if self.opens is not None:
            return self.opens
        return Opens.READING if self.method in READ_ONLY else Opens.WRITING

    @property
    def has_body(self) -> bool:
        return self.body is not Nothing

    @property
    def path_names(self) -> tuple[str, ...]:
        """Return the names of the path's parameters."""
        parts = (part for part in self.path.split("/") if part.startswith("{"))
        return tuple(part[1:-1] for part in parts)

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


AnyRoute = Route[Any, Any]

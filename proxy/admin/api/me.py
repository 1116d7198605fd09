"""`/me`: what the token that asks may see and do."""

from datetime import datetime

from proxy.admin.api.models import Nothing, Output
from proxy.admin.api.routes import EVERYONE, Answer, Call, Opens, Route


class MyTenant(Output):
    """A tenant that the token is confined to."""

    id: str
    name: str


class Me(Output):
    """Who asks. Without tenants the token is not confined."""

    id: str
    name: str
    role: str
    tenants: list[MyTenant]
    expires_at: datetime | None


def show_me(call: Call[Nothing, Nothing]) -> Answer:
    """Answer with the caller."""
    caller = call.caller
    return Answer(
        Me(
            id=caller.id,
            name=caller.name,
            role=caller.role,
            tenants=[MyTenant.model_validate(one) for one in caller.tenants],
            expires_at=caller.expires_at,
        )
    )


ROUTES = (
    Route(
        method="GET",
        path="/me",
        summary="What this token may see and do",
        roles=EVERYONE,
        handler=show_me,
        result=Me,
        opens=Opens.NOTHING,
    ),
)

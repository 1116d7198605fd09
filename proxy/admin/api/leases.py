"""`/leases`: what instances hold of budgets."""

from datetime import datetime

from proxy.admin.api.models import (
    At,
    Dollars,
    Nanousd,
    Nothing,
    Output,
    Paged,
    PageParams,
    fields_of,
)
from proxy.admin.api.pages import paged
from proxy.admin.api.routes import READERS, Answer, Call, Route
from proxy.store import leases as store


class LeaseOut(Output):
    """What an instance still holds of one budget's window."""

    instance_id: str
    seen_at: At | None
    budget_id: str
    subject: str
    starts_at: At
    reserved_nanousd: Nanousd
    reserved_usd: Dollars


def list_leases(call: Call[PageParams, Nothing]) -> Answer:
    """Answer with a page of leases, by instance and budget."""
    return paged(
        call,
        lambda page: store.list_leases(call.connection, page),
        key=lambda one: (one.instance_id, one.budget_id, one.subject, one.starts_at),
        kinds=(str, str, str, datetime),
        show=lambda one: LeaseOut.model_validate(fields_of(one)),
    )


ROUTES = (
    Route(
        method="GET",
        path="/leases",
        summary="List what instances hold of budgets",
        roles=READERS,
        handler=list_leases,
        params=PageParams,
        result=Paged[LeaseOut],
        installation=True,
    ),
)

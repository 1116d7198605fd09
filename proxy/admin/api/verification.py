"""`/ledger/verify`: recompute the ledger, from its entries to its sums. One at a time: it reads all."""

import threading
from typing import Annotated

from pydantic import AfterValidator, Field

from proxy.admin.api.models import Input, Nothing, Output, Text
from proxy.admin.api.problems import Problem
from proxy.admin.api.routes import FINANCE_READERS, Answer, Call, Opens, Route
from proxy.store.chain import parse_seal
from proxy.store.verify import verify

DIGEST_CHARS_MAX = 100
AGAIN_S = 30
_alone = threading.Lock()


class VerdictOut(Output):
    """What verifying came to: `ok`, or the first thing that is wrong."""

    ok: bool
    entries: int = Field(description="That add up; where something is wrong, those before it.")
    fault: str | None
    digest: str | None = Field(description="To keep elsewhere. Null where something is wrong.")
    compared: bool = Field(
        description="Whether a digest was given. Without one, nobody can tell a ledger that was cut off at"
        " its end, or written anew as a whole, from a good one."
    )
    archived: list[str] = Field(
        description="Months whose lines are in files: of them what is left was checked against its seal."
    )


class VerifyParams(Input):
    """What the ledger has to begin with."""

    digest: Annotated[
        Text | None,
        Field(max_length=DIGEST_CHARS_MAX, description="What an earlier answer had as `digest`."),
        AfterValidator(lambda text: text if text is None else parse_seal(text)),
    ] = None


def verify_ledger(call: Call[VerifyParams, Nothing]) -> Answer:
    """Answer with what is wrong first, if anything is."""
    if not _alone.acquire(blocking=False):
        raise Problem(
            "unavailable",
            "The ledger is being verified already: repeat the request later.",
            headers={"Retry-After": str(AGAIN_S)},
        )
    try:
        kept = call.params.digest
        verdict = verify(call.context.engine, call.context.zone, kept=kept)
    finally:
        _alone.release()
    return Answer(
        VerdictOut(
            ok=verdict.fault is None,
            entries=verdict.entries,
            fault=verdict.fault,
            digest=verdict.seal,
            compared=kept is not None,
            archived=list(verdict.sealed),
        )
    )


ROUTES = (
    Route(
        method="GET",
        path="/ledger/verify",
        summary="Recompute the ledger; answer with the first thing that is wrong, or with a digest to keep",
        roles=FINANCE_READERS,
        handler=verify_ledger,
        params=VerifyParams,
        result=VerdictOut,
        opens=Opens.NOTHING,
        installation=True,
    ),
)

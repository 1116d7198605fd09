"""`/ledger/verify`: recompute the ledger, from its entries to its sums. One at a time: it reads all."""

from typing import Annotated

from pydantic import AfterValidator, Field

from proxy.admin.api.models import At, Input, Nothing, Output, Text
from proxy.admin.api.problems import Problem
from proxy.admin.api.routes import FINANCE_READERS, Answer, Call, Opens, Route
from proxy.admin.verifying import Busy, Verification
from proxy.store.chain import parse_seal
from proxy.store.verify import Verdict

DIGEST_CHARS_MAX = 100
AGAIN_S = 30
Digest = Annotated[
    Text,
    Field(max_length=DIGEST_CHARS_MAX, description="What an earlier answer had as `digest`."),
    AfterValidator(parse_seal),
]


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


class VerificationOut(Output):
    """Verifying in the background, as far as it is."""

    begun_by: str
    begun_at: At
    compared: bool = Field(description="Whether a digest was given.")
    done: int = Field(description="Entries.")
    total: int = Field(description="Entries; 0 until the first ones are done. Sums are checked behind them.")
    ended_at: At | None = Field(description="Null while it runs.")
    verdict: VerdictOut | None
    failed: str | None = Field(description="Why there is no verdict.")


class ProgressOut(Output):
    """The last one in the background; null where none was begun since the control plane was started."""

    last: VerificationOut | None


class VerifyParams(Input):
    """What the ledger has to begin with."""

    digest: Digest | None = None


class VerifyBody(Input):
    """What the ledger has to begin with."""

    digest: Digest | None = None


def verify_ledger(call: Call[VerifyParams, Nothing]) -> Answer:
    """Answer with what is wrong first, if anything is."""
    kept = call.params.digest
    try:
        verdict = call.context.verifier.run(kept)
    except Busy:
        raise Problem(
            "unavailable",
            "The ledger is being verified already: repeat the request later.",
            headers={"Retry-After": str(AGAIN_S)},
        ) from None
    return Answer(_shown(verdict, compared=kept is not None))


def begin(call: Call[Nothing, VerifyBody]) -> Answer:
    """Verify in the background; answer at once."""
    try:
        begun = call.context.verifier.begin(call.body.digest, call.caller.actor)
    except Busy:
        raise Problem("conflict", "The ledger is being verified already: see how far that is.") from None
    return Answer(_as_far(begun), 202, {"Location": "/api/v1/ledger/verify/progress"})


def show_progress(call: Call[Nothing, Nothing]) -> Answer:
    """Answer with how far it is, or what it came to."""
    last = call.context.verifier.last
    return Answer(ProgressOut(last=_as_far(last) if last else None))


def _as_far(one: Verification) -> VerificationOut:
    return VerificationOut(
        begun_by=one.begun_by,
        begun_at=one.begun_at,
        compared=one.compared,
        done=one.done,
        total=one.total,
        ended_at=one.ended_at,
        verdict=_shown(one.verdict, compared=one.compared) if one.verdict else None,
        failed=one.failed,
    )


def _shown(verdict: Verdict, *, compared: bool) -> VerdictOut:
    return VerdictOut(
        ok=verdict.fault is None,
        entries=verdict.entries,
        fault=verdict.fault,
        digest=verdict.seal,
        compared=compared,
        archived=list(verdict.sealed),
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
    Route(
        method="POST",
        path="/ledger/verify",
        summary="Recompute the ledger in the background",
        roles=FINANCE_READERS,
        handler=begin,
        body=VerifyBody,
        result=VerificationOut,
        status=202,
        also=(409,),
        opens=Opens.NOTHING,
        installation=True,
    ),
    Route(
        method="GET",
        path="/ledger/verify/progress",
        summary="Show how far that is, or what it came to",
        roles=FINANCE_READERS,
        handler=show_progress,
        result=ProgressOut,
        opens=Opens.NOTHING,
        installation=True,
    ),
)

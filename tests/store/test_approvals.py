"""Requests: asked once, decided once, and never changed."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from proxy.store import Conflict, NotFound, StoreError, approvals
from proxy.store.approvals import (
    APPROVED,
    LASTS,
    REJECTED,
    Approval,
    State,
    Wanted,
    ask,
    decide,
    find_approval,
    lock_pending,
    page_of_approvals,
)
from proxy.store.audit import Act, list_audit
from proxy.store.database import reading, writing
from proxy.store.pages import EVERYTHING, Page
from tests.ledgers import NOW

ANN = Act("api:ann", NOW, "it is over")
BOB = Act("api:bob", NOW + timedelta(hours=1), "so it is")
CLOSE = Wanted("period.close", "2026-10", None, {"overrides": {}})
CREDIT = Wanted("ledger.credit", "k1", "ten_a", {"billed_nanousd": -5})


def asked(engine: Engine, wanted: Wanted = CLOSE, act: Act = ANN) -> Approval:
    with writing(engine) as connection:
        return ask(connection, wanted, act)


def decided(engine: Engine, id: str, decision: str, act: Act = BOB) -> Approval:
    with writing(engine) as connection:
        return decide(connection, lock_pending(connection, id, act.at), decision, act, {"done": True})


def test_a_request_and_its_decision_are_kept(database: Engine) -> None:
    made = asked(database)
    assert (made.state, made.asked_by, made.reason, made.expires_at) == (
        "pending",
        "api:ann",
        "it is over",
        NOW + LASTS,
    )
    done = decided(database, made.id, APPROVED)
    assert (done.state, done.decided_by, done.decision_reason, done.result) == (
        "approved",
        "api:bob",
        "so it is",
        {"done": True},
    )
    with reading(database) as connection:
        noted = [(one.actor, one.action, one.object, one.reason) for one in list_audit(connection)]
    assert noted == [
        ("api:ann", "approval.ask", made.id, "it is over"),
        ("api:bob", "approval.approve", made.id, "so it is"),
    ]


def test_what_is_decided_is_final(database: Engine) -> None:
    for decision in (APPROVED, REJECTED):
        made = asked(database)
        decided(database, made.id, decision)
        with pytest.raises(Conflict, match=f"This was {decision} by api:bob at 2026-11-23T13:00:00Z"):
            decided(database, made.id, APPROVED)


def test_the_same_asked_twice_is_one_request(database: Engine) -> None:
    made = asked(database)
    assert asked(database, act=replace(ANN, actor="cli:ann@desk")) == made
    other = replace(CLOSE, what={"overrides": {"unrated": "so what"}})
    for wanted, act in ((other, ANN), (CLOSE, replace(ANN, reason="another"))):
        with pytest.raises(Conflict, match=f"about 2026-10 already, {made.id} of api:ann"):
            asked(database, wanted, act)
    decided(database, made.id, REJECTED)
    assert asked(database, other).id != made.id


def test_a_request_expires(database: Engine) -> None:
    made = asked(database)
    late = Act("api:bob", NOW + LASTS)
    with pytest.raises(Conflict, match="has expired at 2026-11-30T12:00:00Z: ask for it again"):
        decided(database, made.id, APPROVED, late)
    with reading(database) as connection:
        assert find_approval(connection, made.id, late.at).state == State.EXPIRED
    assert asked(database, act=late).id != made.id


def test_lists_are_by_state_and_by_tenant(database: Engine) -> None:
    first, second, third = (
        asked(database),
        asked(database, CREDIT),
        asked(database, replace(CREDIT, object="k2")),
    )
    decided(database, second.id, REJECTED)
    with reading(database) as connection:

        def ids(page: Page = EVERYTHING, days: int = 0, **more: State) -> list[str]:
            at = NOW + timedelta(days=days)
            return [one.id for one in page_of_approvals(connection, page, at, **more)]

        assert ids() == [first.id, second.id, third.id]
        assert ids(state=State.PENDING) == ids(days=7, state=State.EXPIRED) == [first.id, third.id]
        assert ids(state=State.REJECTED) == [second.id]
        assert ids(state=State.APPROVED) == ids(days=7, state=State.PENDING) == []
        assert ids(Page(frozenset(["ten_a"]), newest_first=True, limit=1)) == [third.id]
        assert ids(Page(frozenset(["ten_b"]))) == []
        for id, within in (
            ("apr_x", None),
            (second.id, frozenset(["ten_b"])),
            (first.id, frozenset(["ten_a"])),
        ):
            with pytest.raises(NotFound, match="the list of requests"):
                find_approval(connection, id, NOW, within)


def test_there_is_an_end_to_what_waits(database: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approvals, "PENDING_MAX", 1)
    asked(database)
    with pytest.raises(StoreError, match="1 requests wait for approval"):
        asked(database, CREDIT)
    asked(database, CREDIT, replace(ANN, at=NOW + LASTS))

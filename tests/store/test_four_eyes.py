"""Four eyes: another person approves, it is done once, and by the rules of then."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, func, select

from proxy.core.records import Kind
from proxy.core.usage import Meter
from proxy.store import Conflict, Forbidden, NotFound, StoreError
from proxy.store.adjustments import Adjustment, Booking, book
from proxy.store.approvals import Approval, find_approval
from proxy.store.audit import Act, list_audit
from proxy.store.close import Closed
from proxy.store.database import reading, writing
from proxy.store.four_eyes import Approver, FourEyes, approve, book_or_ask, close_or_ask, reject
from proxy.store.ledger import find_entry
from proxy.store.pages import Within
from proxy.store.periods import load_closes
from proxy.store.schema import approval_decision, ledger_entry
from proxy.store.tokens import TokenRole, create_token
from proxy.store.verify import verify
from tests.closing import LATER, ZONE, close_month
from tests.ledgers import ACT, PEPPER, Books

OCTOBER = datetime(2026, 10, 5, tzinfo=UTC)
ASKED = Act("api:ann", LATER, "outage 7")
BY_BOB = Act("api:bob", LATER + timedelta(hours=1))
ON = FourEyes(on=True, above_nanousd=1_000)
LARGE = Adjustment("k1", Kind.CREDIT, "acme", 0, -1_001, occurred_at=OCTOBER)
UNRATED = {"unrated": "no price yet"}
NEW = "gpt-realtime-9"


@pytest.fixture
def books(database: Engine) -> Books:
    """October, with an entry that has no price."""
    books = Books(database)
    books.open("s1", "acme", "web", at=OCTOBER)
    books.bill("s1", "r1", {Meter.TEXT_IN: 10}, at=OCTOBER)
    books.bill("s1", "r2", {Meter.TEXT_IN: 7}, model=NEW, at=OCTOBER)
    books.close("s1")
    return books


def approver(engine: Engine, name: str = "bob", at: datetime = ACT.at, within: Within = None) -> Approver:
    with writing(engine) as connection:
        act = Act("test", at)
        token, _ = create_token(connection, PEPPER, name=name, role=TokenRole.FINANCE, act=act)
    return Approver(token.created_at, within)


def ask_close(engine: Engine, rule: FourEyes = ON, overrides: dict[str, str] = UNRATED) -> Any:
    with writing(engine) as connection:
        return close_or_ask(connection, "2026-10", ASKED, rule=rule, zone=ZONE, overrides=overrides)


def ask_credit(engine: Engine, wanted: Adjustment = LARGE, rule: FourEyes = ON) -> Any:
    with writing(engine) as connection:
        return book_or_ask(connection, wanted, ASKED, ZONE, rule)


def approved(engine: Engine, id: str, who: Approver, act: Act = BY_BOB) -> Approval:
    with writing(engine) as connection:
        return approve(connection, id, who, act, zone=ZONE, issuer="Voice Ltd")


def state(engine: Engine, id: str) -> str:
    with reading(engine) as connection:
        return find_approval(connection, id, BY_BOB.at).state


def entries(engine: Engine) -> int:
    with reading(engine) as connection:
        return connection.execute(select(func.count()).select_from(ledger_entry)).scalar_one()


def closed(engine: Engine) -> list[str]:
    with reading(engine) as connection:
        return [one.period for one in load_closes(connection)]


# --- What needs a second person


def test_nothing_does_unless_it_is_set(books: Books) -> None:
    assert isinstance(ask_credit(books.engine, rule=FourEyes()), Booking)
    assert isinstance(ask_close(books.engine, rule=FourEyes()), Closed)


@pytest.mark.parametrize(
    ("cost", "billed", "concerned"),
    [(0, -1_001, True), (-1_001, 0, True), (1_001, 5, True), (1_000, -1_000, False)],
)
def test_an_amount_is_large_either_way(cost: int, billed: int, concerned: bool) -> None:
    wanted = replace(LARGE, kind=Kind.ADJUSTMENT, cost_nanousd=cost, billed_nanousd=billed)
    assert ON.concern(wanted) is concerned
    assert not FourEyes(False, 0).concern(wanted)


def test_what_cannot_be_is_not_even_asked_for(books: Books) -> None:
    with pytest.raises(StoreError, match="2026-10 cannot be closed yet"):
        ask_close(books.engine, overrides={})
    for wrong in (replace(LARGE, tenant="nobody"), replace(LARGE, corrects=99), replace(LARGE, key=" ")):
        with pytest.raises(StoreError):
            ask_credit(books.engine, wrong)


def test_what_was_booked_before_needs_nobody(books: Books) -> None:
    first = ask_credit(books.engine, rule=FourEyes())
    assert ask_credit(books.engine) == replace(first, new=False)


# --- Approving does it


def test_a_close_is_approved(books: Books) -> None:
    who, asked = approver(books.engine), ask_close(books.engine)
    assert (closed(books.engine), asked.state, asked.object) == ([], "pending", "2026-10")
    done = approved(books.engine, asked.id, who)
    with reading(books.engine) as connection:
        (made,) = load_closes(connection)
        actions = [(one.actor, one.action) for one in list_audit(connection)][-3:]
    assert (made.closed_by, made.overridden[0]["reason"]) == (
        "api:ann, approved by api:bob",
        "no price yet",
    )
    assert done.result == {"period": "2026-10", "statements": 1, "seal": made.seal}
    assert actions == [
        ("api:ann", "approval.ask"),
        ("api:ann, approved by api:bob", "period.close"),
        ("api:bob", "approval.approve"),
    ]
    assert verify(books.engine, UTC).fault is None


def test_a_credit_is_approved_as_it_was_asked_for(books: Books) -> None:
    """Its instant too: now, where none was given, was when it was asked for."""
    who = approver(books.engine)
    asked = ask_credit(books.engine, replace(LARGE, project="web", occurred_at=None))
    assert entries(books.engine) == 2
    done = approved(books.engine, asked.id, who)
    assert done.result == {"entry_id": 3, "period": "2027-03"}
    with reading(books.engine) as connection:
        entry = find_entry(connection, 3)
    assert (entry.occurred_at, entry.billed_nanousd, entry.status_reason, entry.project) == (
        ASKED.at,
        -1_001,
        "outage 7",
        "web",
    )
    assert verify(books.engine, UTC).fault is None


def test_rejected_it_is_not_done_and_can_be_asked_for_again(books: Books) -> None:
    who, asked = approver(books.engine), ask_credit(books.engine)
    with writing(books.engine) as connection:
        with pytest.raises(StoreError, match="Say why this is rejected"):
            reject(connection, asked.id, who, BY_BOB)
        done = reject(connection, asked.id, who, replace(BY_BOB, reason="twice too much"))
    assert (done.state, done.decision_reason, entries(books.engine)) == ("rejected", "twice too much", 2)
    assert ask_credit(books.engine).id != asked.id


def test_who_has_asked_can_take_it_back(books: Books) -> None:
    ann, asked = approver(books.engine, "ann"), ask_credit(books.engine)
    with writing(books.engine) as connection:
        reject(connection, asked.id, ann, replace(ASKED, reason="a mistake"))
    assert state(books.engine, asked.id) == "rejected"


# --- Who may


def test_nobody_approves_what_they_have_asked_for(books: Books) -> None:
    ann, asked = approver(books.engine, "ann"), ask_credit(books.engine)
    with pytest.raises(Forbidden, match="You have asked for this yourself"):
        approved(books.engine, asked.id, ann, replace(BY_BOB, actor="api:ann"))


@pytest.mark.parametrize("actor", ["api:admin-token", "cli:bob@desk", "user:local-admin"])
def test_who_has_no_name_decides_nothing(books: Books, actor: str) -> None:
    asked, act = ask_credit(books.engine), replace(BY_BOB, actor=actor, reason="why not")
    with pytest.raises(Forbidden, match="a name of your own"):
        approved(books.engine, asked.id, Approver(None), act)
    with (
        pytest.raises(Forbidden, match="a name of your own"),
        writing(books.engine) as connection,
    ):
        reject(connection, asked.id, Approver(None), act)


@pytest.mark.parametrize("asker", ["cli:bob@desk", "cli:Bob@desk", "api:BOB", "user:bob"])
def test_who_asks_elsewhere_by_the_same_name_is_the_same_person(books: Books, asker: str) -> None:
    with writing(books.engine) as connection:
        asked = book_or_ask(connection, LARGE, replace(ASKED, actor=asker), ZONE, ON)
    assert isinstance(asked, Approval)
    with pytest.raises(Forbidden, match="asked for this yourself"):
        approved(books.engine, asked.id, approver(books.engine))
    ann = approver(books.engine, "ann")
    assert approved(books.engine, asked.id, ann, replace(BY_BOB, actor="api:ann")).state == "approved"


def test_a_first_close_fixes_the_time_zone_that_was_asked_for(books: Books) -> None:
    """The command line and `serve` may be set to different ones."""
    berlin = ZoneInfo("Europe/Berlin")
    with writing(books.engine) as connection:
        asked = close_or_ask(connection, "2026-10", ASKED, rule=ON, zone=berlin, overrides=UNRATED)
    assert isinstance(asked, Approval) and asked.wanted["zone"] == "Europe/Berlin"
    with pytest.raises(Conflict, match="asked for in Europe/Berlin, and would be done in UTC"):
        approved(books.engine, asked.id, approver(books.engine))
    assert state(books.engine, asked.id) == "pending"


def test_a_token_that_is_made_to_approve_does_not(books: Books) -> None:
    asked = ask_credit(books.engine)
    with pytest.raises(Conflict, match="older than the request"):
        approved(books.engine, asked.id, approver(books.engine, at=ASKED.at))


def test_what_is_not_theirs_to_see_is_unknown(books: Books) -> None:
    credit, close = ask_credit(books.engine), ask_close(books.engine)
    acme, globex = books.key("acme").tenant_id, books.key("globex").tenant_id
    for id, tenant in ((credit.id, globex), (close.id, acme)):
        with pytest.raises(NotFound):
            approved(books.engine, id, approver(books.engine, tenant, within=frozenset([tenant])))


# --- By the rules of then


def test_more_in_the_way_than_was_known(books: Books) -> None:
    who, asked = approver(books.engine), ask_close(books.engine)
    books.bill("s1", "r3", {Meter.TEXT_IN: 1}, model=NEW, at=OCTOBER)
    with pytest.raises(Conflict, match="unrated was 1 and is 2"):
        approved(books.engine, asked.id, who)
    assert (closed(books.engine), state(books.engine, asked.id)) == ([], "pending")


def test_something_else_in_the_way(books: Books) -> None:
    who, asked = approver(books.engine), ask_close(books.engine)
    books.open("s2", "acme", at=OCTOBER)
    with pytest.raises(Conflict, match="journals"):
        approved(books.engine, asked.id, who)
    assert (closed(books.engine), state(books.engine, asked.id)) == ([], "pending")
    books.close("s2")
    approved(books.engine, asked.id, who)
    assert closed(books.engine) == ["2026-10"]


def test_what_was_done_meanwhile_is_not_done_again(books: Books) -> None:
    who, credit, close = approver(books.engine), ask_credit(books.engine), ask_close(books.engine)
    with writing(books.engine) as connection:
        book(connection, LARGE, ASKED, ZONE)
    with pytest.raises(Conflict, match="booked meanwhile, as entry 3"):
        approved(books.engine, credit.id, who)
    close_month(books.engine, "2026-10", UNRATED)
    with pytest.raises(Conflict, match="2026-10 is closed"):
        approved(books.engine, close.id, who)
    assert (entries(books.engine), len(closed(books.engine))) == (3, 1)


def test_a_month_that_was_closed_meanwhile(books: Books) -> None:
    """It would have become a correction of another month than the one that was asked for."""
    who, asked = approver(books.engine), ask_credit(books.engine)
    close_month(books.engine, "2026-10", UNRATED)
    with pytest.raises(Conflict, match="2026-10 was closed meanwhile, and this would be booked to 2026-11"):
        approved(books.engine, asked.id, who)
    assert (entries(books.engine), state(books.engine, asked.id)) == (2, "pending")


# --- At once


def at_once(*acts: Any) -> list[BaseException | None]:
    """Do all of these in threads of their own; return what each raised."""
    raised: list[BaseException | None] = [None] * len(acts)
    barrier = threading.Barrier(len(acts))

    def run(number: int) -> None:
        barrier.wait()
        try:
            acts[number]()
        except StoreError as error:
            raised[number] = error

    threads = [threading.Thread(target=run, args=[number]) for number in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_of_two_who_approve_at_once_one_does_it(books: Books) -> None:
    whos = [(name, approver(books.engine, name)) for name in ("bob", "cy", "di")]
    for asked in (ask_credit(books.engine), ask_close(books.engine)):
        acts = [
            lambda name=name, who=who, id=asked.id: approved(
                books.engine, id, who, replace(BY_BOB, actor=f"api:{name}")
            )
            for name, who in whos
        ]
        raised = [error for error in at_once(*acts) if error is not None]
        assert len(raised) == 2 and all("This was approved by api:" in str(error) for error in raised)
    assert (entries(books.engine), closed(books.engine)) == (3, ["2026-10"])
    assert verify(books.engine, UTC).fault is None


def test_approved_and_rejected_at_once_it_is_one_of_them(books: Books) -> None:
    bob, cy = approver(books.engine), approver(books.engine, "cy")
    asked = ask_credit(books.engine)

    def rejecting() -> None:
        with writing(books.engine) as connection:
            reject(connection, asked.id, cy, Act("api:cy", BY_BOB.at, "no"))

    raised = at_once(lambda: approved(books.engine, asked.id, bob), rejecting)
    assert len([error for error in raised if error is not None]) == 1
    assert entries(books.engine) == (3 if state(books.engine, asked.id) == "approved" else 2)


def test_asked_for_at_once_it_is_one_request(books: Books) -> None:
    found: list[str] = []
    raised = at_once(*[lambda: found.append(ask_close(books.engine).id)] * 4)
    assert raised == [None] * 4 and len(set(found)) == 1


def test_usage_posted_while_it_is_approved_takes_its_turn(books: Books) -> None:
    who, asked = approver(books.engine), ask_close(books.engine)
    late = [lambda n=n: books.bill("s1", f"t{n}", {Meter.TEXT_IN: n + 1}, at=OCTOBER) for n in range(3)]
    assert at_once(*late, lambda: approved(books.engine, asked.id, who)) == [None] * 4
    with reading(books.engine) as connection:
        assert connection.execute(select(func.count()).select_from(approval_decision)).scalar_one() == 1
    assert verify(books.engine, UTC).fault is None

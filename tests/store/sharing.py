"""Many instances on one budget, simulated: the real accounts, leases and postings on a real database.

One `Run` is driven by its seed over a time of its own. Instances start responses, settle them, post and
exchange; they are killed, are cut off, lose answers. What `LeaseKeeper` does on an event loop is done here
in three steps (`send`, `carry`, `receive`), so that anything can come between them. An `Oracle` adds up for
itself what each response has cost and what was held for it; what contradicts it is raised as `Unsound`.
"""

import random
from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from sqlalchemy import Connection, Engine, select, update

from proxy.core.allowance import Allowance, Need
from proxy.core.budgets import BudgetBook, Payer, Pot, Scope
from proxy.core.rating import Amounts
from proxy.core.records import Record
from proxy.store.accounts import Accounts, Wish
from proxy.store.budget_cache import BudgetCache
from proxy.store.budget_list import load_book
from proxy.store.changes import bump, current
from proxy.store.database import reading, writing
from proxy.store.lease_keeper import REFUSED_S
from proxy.store.leases import Answer, Order, empty_leases, exchange, wanted_pots
from proxy.store.posting import Posting, post
from proxy.store.schema import budget, budget_window, lease
from tests.store import made
from tests.store.budgeting import add_budget, priced

STEPS = 60
ROUNDS = 2  # in which others are asked to give back, before a no counts
DAY = timedelta(days=1)
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
DAYS_OF_A_RUN = 3  # so that a budget of the organisation counts nothing of other runs


class Unsound(AssertionError):
    """What a run has shown that must not be."""


class _Broken(Exception):
    """The connection broke before the commit was carried out."""


class Fate(Enum):
    """How a transaction ends."""

    ANSWERED = "answered"
    REFUSED = "broken before its commit was asked for"
    BROKEN = "broken before its commit was carried out, and nobody knows"
    LOST = "committed, and nobody hears of it"


# --- What is true


@dataclass(eq=False)
class Response:
    """One thing that costs money."""

    id: str
    session_id: str
    opened_at: datetime
    pots: tuple[Pot, ...]
    estimate: int  # what the journal has of it
    held: Counter[Pot] = field(default_factory=Counter)  # the organisation's may be more than others'

    @property
    def hold(self) -> int:
        return min(self.held[pot] for pot in self.pots)


@dataclass
class Oracle:
    """Plain sums per pot, of what the simulated upstream has billed and what was held for it."""

    amounts: dict[str, int]  # of the budgets, now
    lowered: set[str] = field(default_factory=set)
    cost: Counter[Pot] = field(default_factory=Counter)
    excess: Counter[Pot] = field(default_factory=Counter)  # Σ max(0, cost − hold)
    booked: Counter[Pot] = field(default_factory=Counter)
    held: Counter[tuple[str, Pot]] = field(default_factory=Counter)  # by instance
    owed: Counter[tuple[str, Pot]] = field(default_factory=Counter)  # settled, and not booked
    bills: dict[str, tuple[str, tuple[Pot, ...], int]] = field(default_factory=dict)  # not booked

    def hold(self, instance_id: str, response: Response, amounts: Mapping[Pot, int]) -> None:
        response.held.update(amounts)
        for pot, amount in amounts.items():
            self.held[instance_id, pot] += amount
        self.check(response.pots)

    def settle(self, instance_id: str, response: Response, cost: int, entry_key: str) -> None:
        for pot in response.pots:
            self.held[instance_id, pot] -= response.held[pot]
            self.owed[instance_id, pot] += cost
            self.cost[pot] += cost
            self.excess[pot] += max(0, cost - response.held[pot])
        self.bills[entry_key] = (instance_id, response.pots, cost)
        self.check(response.pots)

    def book(self, entry_keys: Collection[str]) -> None:
        for key in entry_keys:
            instance_id, pots, cost = self.bills.pop(key, ("", (), 0))
            for pot in pots:
                self.owed[instance_id, pot] -= cost
                self.booked[pot] += cost

    def used(self, instance_id: str, pot: Pot) -> int:
        """Return what an instance has held and not booked."""
        return self.held[instance_id, pot] + self.owed[instance_id, pot]

    def check(self, pots: Collection[Pot]) -> None:
        """What was spent and what is promised is never more than there is, bills above their hold aside."""
        for pot in pots:
            promised = self.cost[pot] + sum(held for (_, of), held in self.held.items() if of == pot)
            most = self.amounts[pot.budget_id] + self.excess[pot]
            if pot.budget_id not in self.lowered and promised > most:
                raise Unsound(f"{promised} spent or held of {most} in {pot}")

    @property
    def overshoot(self) -> int:
        """Return by how much the worst window is overspent."""
        kept = [pot for pot in self.cost if pot.budget_id not in self.lowered]
        return max((self.cost[pot] - self.amounts[pot.budget_id] for pot in kept), default=0)


# --- One instance


@dataclass(eq=False)
class Session:
    id: str
    allowance: Allowance
    responses: list[Response] = field(default_factory=list)


@dataclass(eq=False)
class Flight:
    """An exchange between its orders and its answers."""

    orders: Sequence[Order]
    is_carried: bool = False
    is_void: bool = False  # it is known that it was not carried out
    answers: Mapping[Pot, Answer] | None = None  # None: not known
    wanted: Sequence[Pot] = ()


class Instance:
    """Its memory, which a kill takes away, and its journal, which stays."""

    def __init__(self, run: "Run", name: str) -> None:
        self.run, self.id = run, name
        self.journal: list[Record] = []
        self.lost: list[Response] = []  # opened in the journal, by a process that died
        self.is_cut_off = False
        self.seen_s = 0.0  # by others, before it died or was cut off
        self._begin()

    def _begin(self) -> None:
        self.is_alive = True
        self.accounts = Accounts()
        self.book = self.run.book
        self.followed = self.book.version
        self.sessions: list[Session] = []
        self.posted = 0
        self.flight: Flight | None = None
        self.unheard: deque[Posting] = deque()
        self.is_down = False  # as far as is known here, of the database
        self.wanted = False  # by others, as last heard
        self.noes: dict[Pot, int] = {}  # the last amount that the database did not have

    @property
    def is_reachable(self) -> bool:
        return self.is_alive and not self.is_cut_off

    @contextmanager
    def transaction(self, fate: Fate) -> Iterator[Connection]:
        with writing(self.run.engine) as connection:
            yield connection
            if fate in (Fate.REFUSED, Fate.BROKEN):
                raise _Broken

    # Exchanges

    def send(self, wishes: Mapping[Pot, Wish] | None = None) -> bool:
        """Decide what to exchange, if anything."""
        if self.book.version != self.followed:
            self.followed = self.book.version
            self.accounts.follow(self.book)
        gives = not self.is_down
        orders = self.accounts.orders(wishes or {}, self.run.now, self.run.now_s, gives=gives)
        if orders or self.accounts.have_spare or self.is_down:
            self.flight = Flight(orders)
        return self.flight is not None

    def carry(self, fate: Fate) -> None:
        """Let the database carry out what was sent."""
        flight = self.flight
        if flight is None or flight.is_carried:
            return
        flight.is_carried = True
        flight.is_void = self.is_cut_off or fate is Fate.REFUSED
        if self.is_cut_off:
            return
        try:
            with self.transaction(fate) as connection:
                run = self.run
                answers = run.exchange(connection, self.id, flight.orders)
                wanted = wanted_pots(connection, self.id)
        except _Broken:
            return
        if fate is Fate.ANSWERED:
            flight.answers, flight.wanted = answers, wanted

    def receive(self) -> Mapping[Pot, bool] | None:
        """Take the answers over; return which pots had too little and whether others have some, if known."""
        flight, self.flight = self.flight, None
        if flight is None:
            return {}
        self.is_down = flight.answers is None
        if flight.is_void:
            self.accounts.undo(flight.orders)
            return None
        if flight.answers is None:
            self.accounts.failed(flight.orders)
            return None
        self.accounts.instances = len(self.run.instances)
        refused = {
            order.pot: flight.answers[order.pot].contended
            for order in flight.orders
            if self.accounts.take_over(order, flight.answers[order.pot]) < order.need_nanousd
        }
        self.accounts.want(flight.wanted)
        self.wanted = bool(flight.wanted)
        return refused

    def beat(self, wishes: Mapping[Pot, Wish] | None = None) -> Mapping[Pot, bool] | None:
        """Exchange what there is to exchange, in one go, after what is under way."""
        if self.flight is not None:
            self.carry(self.run.fate())
            self.receive()
        self.hear()
        self.wanted = False
        if not self.send(wishes):
            return {}
        self.carry(self.run.fate())
        return self.receive()

    def give_back(self) -> bool:
        """Do as others want; tell whether all of it came off."""
        done = self.beat() is not None
        return done and (not self.wanted or self.beat() is not None)

    # Asking for money, as the keeper of leases does

    def ask(self, needs: Sequence[Need], *, partly: bool) -> None:
        """Get so much free, if the database has it."""
        wishes = {need.account.pot: Wish(need.nanousd, partly) for need in needs}
        has_heard, clean_rounds = False, 0
        for _ in range(3 * ROUNDS):
            refused = self.beat(wishes)
            short = [need for need in needs if need.account.free_nanousd < need.nanousd]
            if not short or (partly and all(need.account.free_nanousd > 0 for need in needs)):
                return
            if refused is None:
                continue
            has_heard = True
            others_have_some = all(refused.get(need.account.pot, True) for need in short)
            if not others_have_some or clean_rounds >= ROUNDS:
                self._check_no(short, partly=partly)
                break
            clean_rounds += self.run.let_others_give_back(self)
        if not has_heard:
            for need in needs:
                self.accounts.borrow(need)
            return
        for need in needs:
            if need.missing_nanousd > 0:
                missing = 1 if partly else need.missing_nanousd
                need.account.refuse(missing, self.run.now + timedelta(seconds=REFUSED_S))
                self.noes[need.account.pot] = missing

    def _check_no(self, short: Sequence[Need], *, partly: bool) -> None:
        """Raise unless the database and those who were asked had too little, for one of the needs."""
        found = {need.account.pot: self.run.available(self, need.account.pot) for need in short}
        if all(found[need.account.pot] >= (1 if partly else need.nanousd) for need in short):
            raise Unsound(f"{self.id} was refused {[need.nanousd for need in short]}, there was {found}")

    def _check_remembered_no(self, needs: Sequence[Need]) -> None:
        """Raise unless at least as much was asked for a moment ago, in vain."""
        known = [need for need in needs if not need.may_ask(self.run.now)]
        if all(need.missing_nanousd < self.noes.get(need.account.pot, 0) for need in known):
            raise Unsound(f"{self.id} refused {[need.nanousd for need in known]} unasked: {self.noes}")

    # Sessions and responses

    def open_session(self) -> None:
        run = self.run
        name, key = run.new_name("s"), run.dice.choice(run.keys)
        allowance = Allowance(payer=Payer(name, run.tenant, None, key), unposted=self.accounts.unposted)
        self.sessions.append(Session(name, allowance))
        self.journal.append(made.opened(name, tenant_id=run.tenant, api_key_id=key, opened_at=run.now))
        self._refresh(allowance)

    def _refresh(self, allowance: Allowance) -> None:
        if allowance.version != self.book.version or self.run.now >= allowance.until:
            self.accounts.enclose(allowance, self.book, self.run.now, self.run.now_s)

    def start(self, session: Session, amount: int) -> None:
        """Start a response, if so much can be held for it."""
        run, allowance = self.run, session.allowance
        self._refresh(allowance)
        if needs := allowance.needs(Amounts.same(amount)):
            if all(need.may_ask(run.now) for need in needs):
                self.ask(needs, partly=False)
            else:
                self._check_remembered_no(needs)
        name = run.new_name("r")
        if allowance.hold(name, Amounts.same(amount)) is not None:
            run.refusals += 1
            return
        pots = run.pots(allowance, run.now)
        response = Response(name, session.id, run.now, pots, run.dice.randint(1, amount))
        session.responses.append(response)
        run.oracle.hold(self.id, response, dict.fromkeys(pots, amount))

    def grow(self, session: Session, response: Response, amount: int) -> None:
        """Hold more for a response; what there is too little for cuts it."""
        allowance, run = session.allowance, self.run
        missing = amount - self._grow(allowance, response, amount)
        needs = allowance.lacks(response.id, Amounts.same(missing), Amounts.same(1))
        if missing and needs and all(need.may_ask(run.now) for need in needs):
            self.ask(needs, partly=True)
            missing -= self._grow(allowance, response, missing)
        response.estimate = run.dice.randint(response.estimate, max(response.estimate, response.hold))
        if missing and run.dice.random() < 0.5:
            self.settle(session, response)

    def _grow(self, allowance: Allowance, response: Response, amount: int) -> int:
        got = allowance.grow(response.id, Amounts.same(amount))
        by_pot = {one.pot: got[one.basis] for one in allowance.holds[response.id].accounts}
        self.run.oracle.hold(self.id, response, by_pot)
        return min(by_pot.values())

    def settle(self, session: Session, response: Response) -> None:
        session.responses.remove(response)
        cost = self.run.cost_of(response)
        key = self._bill(response, cost, is_lost=False)
        session.allowance.settle(response.id, Amounts.same(cost), key)

    def _bill(self, response: Response, cost: int, *, is_lost: bool) -> str:
        entry = priced(
            response.id,
            cost,
            response.session_id,
            occurred_at=response.opened_at,
            status="lost" if is_lost else "completed",
            estimated=is_lost,
        )
        self.journal.append(entry)
        self.run.oracle.settle(self.id, response, cost, entry.entry_key)
        return entry.entry_key

    def close_session(self, session: Session) -> None:
        for response in list(session.responses):
            self.settle(session, response)
        self.sessions.remove(session)
        self.accounts.release(session.allowance.accounts)
        session.allowance.accounts = ()
        self.journal.append(made.closed(session.id, closed_at=self.run.now))

    # Postings

    def post(self, upto: int, fate: Fate) -> None:
        """Post the journal up to a row; what that has counted is heard of later."""
        rows = self.journal[self.posted : upto]
        if not rows or self.is_cut_off:
            return
        try:
            with self.transaction(fate) as connection:
                posting = post(
                    connection,
                    rows,
                    instance_id=self.id,
                    upto=upto,
                    zone=UTC,
                    now=self.run.now,
                    budgets=self.run.cache,
                )
        except _Broken:
            return
        self.run.oracle.book(posting.handled)
        if fate is Fate.ANSWERED:
            self.posted = upto
            self.unheard.append(posting)

    def unheard_of(self, pot: Pot) -> int:
        """Return what is booked of a pot and counts here as unposted still."""
        settled = [one for found in self.accounts.unposted.values() for one in found]
        unposted = sum(
            charged.billed_nanousd for accounts, charged in settled if pot in [one.pot for one in accounts]
        )
        return max(0, unposted - self.run.oracle.owed[self.id, pot])

    def hear(self) -> None:
        """Hear of all postings so far, in their order."""
        while self.unheard:
            self.accounts.take_off(self.unheard.popleft())

    # Dying and coming back

    def kill(self, fate: Fate) -> None:
        """kill -9; what is under way at the database may still be carried out."""
        self.carry(fate)
        for session in self.sessions:
            self.lost += session.responses
            self.journal.append(made.closed(session.id, closed_at=self.run.now, reason="crash"))
        self.is_alive = False

    def restart(self, fate: Fate) -> None:
        """Come back: bill what was lost, post the whole journal, give back the old leases, go on.

        A session may come before that is done.
        """
        if self.is_cut_off:
            return
        for response in self.lost:
            self._bill(response, response.estimate, is_lost=True)
        self.lost = []
        self._begin()
        if self.run.dice.random() < 0.5:
            self.open_session()
        self.post(len(self.journal), fate)
        if self.posted < len(self.journal):
            self.kill(Fate.ANSWERED)
            return
        with self.transaction(Fate.ANSWERED) as connection:
            empty_leases(connection, self.id)


# --- One run


class Run:
    """One seed's story. `number` is another one for each run on a database."""

    def __init__(self, engine: Engine, seed: int, number: int) -> None:
        self.engine, self.seed = engine, seed
        self.dice = random.Random(seed)
        self.cache = BudgetCache()
        self._name = f"{number}"
        self._names = 0
        self.tenant = f"t_{number}"
        self.keys = [f"k_{number}_1", f"k_{number}_2"]
        self.refusals = 0
        self.has_faults = self.dice.random() < 0.85
        self.may_change = self.dice.random() < 0.25
        rolls = self.dice.random() < 0.25
        day = FIRST_DAY + number * DAYS_OF_A_RUN * DAY
        self._began = day + DAY - timedelta(seconds=self.dice.uniform(5, 40)) if rolls else day + DAY / 2
        self.now_s = 0.0
        self.oracle = Oracle(self._budgets())
        self.book = self._load()
        self.instances: list[Instance] = []
        count = self.dice.choices(range(2, 9), (8, 6, 4, 2, 1, 1, 1))[0]
        self.instances = [Instance(self, f"i_{number}_{which}") for which in range(count)]

    @property
    def now(self) -> datetime:
        return self._began + timedelta(seconds=self.now_s)

    def new_name(self, kind: str) -> str:
        self._names += 1
        return f"{kind}_{self._name}_{self._names}"

    def fate(self) -> Fate:
        if not self.has_faults:
            return Fate.ANSWERED
        return self.dice.choices(list(Fate), (88, 3, 3, 6))[0]

    # Budgets

    def _budgets(self) -> dict[str, int]:
        """Make a budget of the tenant; in some runs also of the organisation and of one key."""
        amount = self.dice.randint(300, 3_000)
        made_here = {f"b_{self._name}_t": amount}
        add_budget(self.engine, f"b_{self._name}_t", amount_nanousd=amount, tenant_id=self.tenant)
        if self.dice.random() < 0.3:
            name, amount = f"b_{self._name}_o", amount + self.dice.randint(-200, 200)
            add_budget(self.engine, name, Scope.ORGANISATION, amount_nanousd=amount)
            made_here[name] = amount
        if self.dice.random() < 0.3:
            name, amount = f"b_{self._name}_k", amount // 2
            owner: dict[str, Any] = {"tenant_id": self.tenant, "api_key_id": self.keys[0]}
            add_budget(self.engine, name, Scope.KEY, amount_nanousd=amount, **owner)
            made_here[name] = amount
        return made_here

    def _load(self) -> BudgetBook:
        with reading(self.engine) as connection:
            return load_book(connection, current(connection))

    def _change(self) -> None:
        """Raise or lower a budget; each instance hears of it when it next looks."""
        name = self.dice.choice(sorted(self.oracle.amounts))
        before = self.oracle.amounts[name]
        after = self.dice.choice((before + self.dice.randint(1, 500), before * self.dice.randint(3, 9) // 10))
        if after < before:
            self.oracle.lowered.add(name)
        self._write(budget.c.id == name, amount_nanousd=after)
        self.oracle.amounts[name] = after
        self.book = self._load()

    def _write(self, which: object, **values: object) -> None:
        with writing(self.engine) as connection:
            connection.execute(update(budget).where(which).values(**values))  # type: ignore[arg-type]
            bump(connection)

    def pots(self, allowance: Allowance, at: datetime) -> tuple[Pot, ...]:
        """Return what a response of this session spends from."""
        assert allowance.payer is not None
        of_key = allowance.payer.api_key_id == self.keys[0]
        day = at.replace(hour=0, minute=0, second=0, microsecond=0)
        return tuple(Pot(one, "", day) for one in self.oracle.amounts if of_key or not one.endswith("_k"))

    # The database, as everybody reaches it

    def exchange(
        self, connection: Connection, instance_id: str, orders: Sequence[Order]
    ) -> Mapping[Pot, Answer]:
        return exchange(connection, instance_id, orders, now=self.now, live_instances=len(self.instances))

    def available(self, asker: Instance, pot: Pot) -> int:
        """Return what `asker` could have of a pot: what is free there, nobody's, or with others that hear.

        What was booked by a posting that its instance has not heard of yet is unposted there still.
        """
        with reading(self.engine) as connection:
            here = lease.c.budget_id == pot.budget_id, lease.c.starts_at == pot.starts_at
            rows = connection.execute(select(lease).where(*here)).all()
        open_of: dict[str, int] = {row.instance_id: row.granted_nanousd - row.taken_nanousd for row in rows}
        amount = asker.book.budgets[pot.budget_id].amount_nanousd or 0
        left = amount - self.oracle.booked[pot] - sum(open_of.values())

        def free(one: Instance) -> int:
            return open_of.get(one.id, 0) - self.oracle.used(one.id, pot) - one.unheard_of(pot)

        others = [one for one in self.instances if one is not asker and one.is_reachable]
        return left + free(asker) + sum(max(0, free(one)) for one in others)

    def let_others_give_back(self, asker: Instance) -> bool:
        """Let a moment pass for those who can be reached; tell whether all of them did as they were asked."""
        others = [one for one in self.instances if one is not asker and one.is_reachable]
        self.dice.shuffle(others)
        return [one.give_back() for one in others].count(False) == 0

    # The story

    def tell(self) -> None:
        """Let it all happen, then see what it has come to. Raises `Unsound`."""
        try:
            for _ in range(STEPS):
                self._step()
            self._end()
        finally:
            self._write(budget.c.id.in_(list(self.oracle.amounts)), deleted_at=self.now)

    def _step(self) -> None:
        self.now_s += self.dice.choices((0.02, 0.2, 1.0, 6.0, 20.0), (40, 30, 20, 7, 3))[0]
        if self.may_change and self.dice.random() < 0.06:
            self._change()
        one = self.dice.choice(self.instances)
        if not one.is_alive:
            if self.dice.random() < 0.25:
                one.restart(self.fate())
            return
        if self.has_faults and self.dice.random() < 0.05:
            self._harm(one)
            return
        if not one.is_cut_off:
            one.book = self.book
        elif self.dice.random() < 0.15:
            one.is_cut_off = False
        self._act(one)

    def _harm(self, one: Instance) -> None:
        one.seen_s = self.now_s
        if self.dice.random() < 0.5:
            one.kill(self.fate())
        else:
            one.is_cut_off = not one.is_cut_off

    def _act(self, one: Instance) -> None:
        dice = self.dice
        running = [(session, response) for session in one.sessions for response in session.responses]
        what = dice.choices(
            ("start", "grow", "settle", "post", "beat", "hear", "end"), (32, 12, 20, 10, 16, 6, 4)
        )[0]
        if what == "start" or not one.sessions:
            if not one.sessions or dice.random() < 0.1:
                one.open_session()
            one.start(dice.choice(one.sessions), dice.randint(10, 150))
        elif what in ("grow", "settle") and running:
            session, response = dice.choice(running)
            if what == "grow":
                one.grow(session, response, dice.randint(5, 80))
            else:
                one.settle(session, response)
        elif what == "post":
            one.post(len(one.journal) - dice.choice((0, 0, 0, 1, 2)), self.fate())
        elif what == "hear":
            one.hear()
        elif what == "beat":
            self._beat(one)
        elif what == "end":
            one.close_session(dice.choice(one.sessions))

    def _beat(self, one: Instance) -> None:
        """Move an exchange on by a step, so that others come in between; or do it in one go."""
        if one.flight is None and self.dice.random() < 0.6:
            one.beat()
        elif one.flight is None:
            one.send()
        elif one.flight.is_carried:
            one.receive()
        else:
            one.carry(self.fate())

    def cost_of(self, response: Response) -> int:
        """Return what the upstream bills: mostly less than was held, sometimes a lot more."""
        share = self.dice.choices((0.3, 0.9, 1.0, 1.3, 4.0), (25, 40, 20, 10, 5))[0]
        return max(1, int(response.hold * share))

    # The end

    def _end(self) -> None:
        """Let everybody come back, settle, post and give back."""
        self.has_faults = False
        for one in self.instances:
            one.is_cut_off, one.book = False, self.book
            if not one.is_alive:
                one.restart(Fate.ANSWERED)
            for session in list(one.sessions):
                one.close_session(session)
            one.post(len(one.journal), Fate.ANSWERED)
        self.now_s += 10.0
        for one in self.instances:
            for _ in range(3):
                one.beat()
        with reading(self.engine) as connection:
            self._check_counters(connection)
        self._check_rest()

    def _check_counters(self, connection: Connection) -> None:
        ours = list(self.oracle.amounts)
        rows = connection.execute(select(budget_window).where(budget_window.c.budget_id.in_(ours))).all()
        spent = {Pot(row.budget_id, row.subject, row.starts_at): row.spent_nanousd for row in rows}
        if +Counter(spent) != +self.oracle.cost:
            raise Unsound(f"the counters say {spent}, it was {self.oracle.cost}")
        left = connection.execute(
            select(lease).where(lease.c.budget_id.in_(ours), lease.c.granted_nanousd != lease.c.taken_nanousd)
        ).all()
        if left:
            raise Unsound(f"leased by nobody who knows of it: {left}")

    def _check_rest(self) -> None:
        """See that a new instance gets exactly what is left, and not more."""
        try:
            with writing(self.engine) as connection:
                for pot in sorted(self.oracle.cost):
                    rule = self.book.budgets[pot.budget_id]
                    left = max(0, self.oracle.amounts[pot.budget_id] - self.oracle.cost[pot])
                    for need, given in ((left + 1, 0), (left, left)):
                        answer = exchange(
                            connection,
                            "i_new",
                            [Order(pot, rule, need_nanousd=need)],
                            now=self.now,
                            live_instances=1,
                        )[pot]
                        if (answer.granted_nanousd, answer.contended) != (given, False):
                            raise Unsound(f"{need} of {left} in {pot}: {answer}")
                raise _Broken  # it was only to see
        except _Broken:
            return

"""Keeps this instance's leases: gets money into the accounts that its sessions spend from.

Everything but SQL happens on the event loop. There is one exchange with the database at a time, in a
thread: what all sessions need is asked for together, and what nobody needs goes back with it. So a hold is
decided without the database as long as there is money at hand, and only the database says no.

`ask` waits at most `ASK_S`. If the database has not answered by then, the budget's `on_store_down`
decides. If it has, and what is missing is leased by other instances, they were asked to give back what they
do not hold. A request that nothing has been spent on yet waits longer for that: `GIVEN_BACK_S`. Under `retry`
it also waits longer for the database, and so does an admission: `RETRY_S`.

While the database is known to be away nothing is given back, and what an exchange wanted to give back is here
again if that was not carried out. Where nobody knows it is not spent, until the next exchange tells.

A start first waits until everything in the journal is posted, then gives back what its last run has left in
its leases: nobody else may, since only this journal knows what was spent of them.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from proxy.core.allowance import Account, Allowance, Need
from proxy.core.budgets import BudgetBook, Payer, Pot
from proxy.core.commands import Ask
from proxy.core.events import ResponseAsked
from proxy.core.rating import Amounts
from proxy.core.records import SessionOpened
from proxy.core.refusal import DATABASE_DOWN, Refusal
from proxy.store.accounts import Accounts
from proxy.store.database import writing
from proxy.store.end_users import end_user_ids
from proxy.store.lease_asking import Asking, unanswered_s, wishes_of
from proxy.store.lease_exchange import CalledOff, Exchange
from proxy.store.lease_users import EndUsers, User, unnamed
from proxy.store.leases import drop_leases, empty_leases
from proxy.store.posting import Posting

BEAT_S = 0.5
WATCH_S = 0.1  # between looks for what other instances want
AGAIN_S = 0.03  # before money is asked for again that other instances are about to give back
ASK_S = 0.25
ADMIT_S = 2.0
GIVEN_BACK_S = 2.0  # in all, for what other instances may give back
REFUSED_S = 0.5  # for so long a no of the database is remembered

T = TypeVar("T")

logger = logging.getLogger(__name__)


class LeaseKeeper:
    """See the module. `run` it on the loop for as long as the instance lives, then `stop` it."""

    def __init__(
        self,
        engine: Engine,
        instance_id: str,
        clock: Callable[[], datetime],
        *,
        told: Callable[[str, float], None] = lambda answer, seconds: None,
    ) -> None:
        """`told` hears how an `ask` has ended (granted, refused, unknown), and after how many seconds."""
        self.book: Callable[[], BudgetBook] = BudgetBook  # of budgets, as the catalogue has it now
        self._engine = engine
        self._instance_id = instance_id
        self._clock = clock
        self._told = told
        self._accounts = Accounts()
        self._asking: list[Asking] = []
        self._users = EndUsers()
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="leases")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._version = -1
        self._heard_s = float("-inf")  # when the last exchange that came off began
        self._is_down = False
        self._under_way: Exchange | None = None

    # What the relay asks for

    async def admit(self, facts: SessionOpened, need: Amounts) -> Allowance | Refusal:
        """Return a session's allowance with so much free in each account, or why there is none."""
        payer = await self._payer(facts)
        if isinstance(payer, Refusal):
            return payer
        allowance = Allowance(payer=payer, end_user=facts.end_user, unposted=self._accounts.unposted)
        self._enclose(allowance)
        try:
            short = await self._short(allowance, need)
        except BaseException:
            self.leave(allowance)
            raise
        if short is None:
            self._users.enter(allowance)
            return allowance
        self.leave(allowance)
        return short.refusal

    def ask(self, ask: Ask, done: Callable[[bool], None]) -> None:
        """Get more into accounts, if there is any; call `done` with whether there was (see the module)."""
        if isinstance(ask.again, ResponseAsked):  # the upstream waits too: nothing is generated meanwhile
            given_back_s, unanswered = GIVEN_BACK_S, unanswered_s(ask.needs, ASK_S)
        else:
            given_back_s = unanswered = ASK_S
        self._put(Asking(ask.needs, done, self._expired, given_back_s, unanswered), ASK_S)

    def refresh(self, allowance: Allowance, now: datetime) -> bool:
        """Let the budgets enclose a session as they are now; tell whether anything is another way."""
        lowered = sum(one.lowered for one in allowance.accounts)
        if (allowance.version, allowance.lowered) == (self.book().version, lowered) and now < allowance.until:
            return False
        allowance.lowered = lowered
        self._users.name(allowance)
        self._enclose(allowance)
        return True

    def leave(self, allowance: Allowance) -> None:
        """Take back the allowance of a session that is over."""
        for key in list(allowance.holds):
            allowance.void(key)
        self._accounts.release(allowance.accounts)
        allowance.accounts = ()
        self._users.leave(allowance)

    def posted(self, posting: Posting) -> None:
        """Take off what a posting has counted; called in the poster's thread."""
        if posting.handled or posting.charged:
            self._on_loop(self._accounts.take_off, posting)

    def look(self) -> None:
        """Look at the book now, and not at the next beat: it is another one. Called in any thread."""
        self._on_loop(self._wake.set)

    def _on_loop(self, call: Callable[..., None], *arguments: object) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and the accounts with it
                self._loop.call_soon_threadsafe(call, *arguments)

    # Who pays, and from which accounts

    async def _payer(self, facts: SessionOpened) -> Payer | Refusal:
        payer = Payer(facts.session_id, facts.tenant_id, facts.project_id, facts.api_key_id)
        if facts.end_user is None or not self.book().asks_for_user(facts.tenant_id):
            return payer
        user = (facts.tenant_id, facts.end_user)
        if self._users.id_of(user) is None:
            goes_on = self.book().goes_on_without_user(facts.tenant_id)
            if self._is_down and goes_on:
                return payer
            try:
                async with asyncio.timeout(ADMIT_S):
                    self._users.remember(await asyncio.to_thread(self._find_users, [user]))
            except (SQLAlchemyError, TimeoutError) as error:
                self._note(error)
                return payer if goes_on else DATABASE_DOWN
        return replace(payer, end_user_id=self._users.id_of(user))

    def _find_users(self, users: Iterable[User]) -> Mapping[User, str]:
        with writing(self._engine) as connection:
            return end_user_ids(connection, set(users))

    def _enclose(self, allowance: Allowance) -> None:
        self._accounts.enclose(allowance, self.book(), self._clock(), time.monotonic())
        user = unnamed(allowance)
        if user is not None and self.book().asks_for_user(user[0]):
            self._users.want(user)
            self._wake.set()
            allowance.version = -1  # looked at again, until the user is known

    # Asking

    async def _short(self, allowance: Allowance, amounts: Amounts) -> Account | None:
        """Get so much into every account; return one that there is not enough for."""
        needs = tuple(n for n in allowance.needs(amounts) if n.may_ask(self._clock()))
        if not needs:
            return _first_short(allowance, amounts)
        answered: asyncio.Future[Account | None] = asyncio.get_running_loop().create_future()

        def done(granted: bool) -> None:  # nothing is held yet, and what is free may go back in a moment
            if not answered.done():
                answered.set_result(_first_short(allowance, amounts))

        asking = Asking(needs, done, self._expired, ADMIT_S, unanswered_s(needs, ADMIT_S))
        self._put(asking, ADMIT_S)
        try:
            return await answered
        finally:
            self._remove(asking)

    def _put(self, asking: Asking, wait_s: float) -> None:
        asking.wait(wait_s)
        self._asking.append(asking)
        self._wake.set()

    def _remove(self, asking: Asking) -> None:
        asking.stop()
        if asking in self._asking:
            self._asking.remove(asking)

    def _finish(self, asking: Asking, answer: str) -> None:
        self._remove(asking)
        self._told(answer, asking.waited_s)
        asking.done(answer == "granted")

    def _expired(self, asking: Asking) -> None:
        """Decide without the database, or with its last word, unless this one may wait longer."""
        is_heard = self._heard_s >= asking.since_s
        if not is_heard and self._is_back(asking.needs):
            self._finish(asking, "granted")
        elif (more_s := asking.more_s(is_heard=is_heard)) > 0:
            asking.wait(more_s)
        elif is_heard:
            self._refuse(asking)
        else:
            for need in asking.needs:
                self._accounts.borrow(need)
            self._finish(asking, "unknown")

    def _is_back(self, needs: Sequence[Need]) -> bool:
        """Call off what is under way if it gives back what is needed here; tell whether that is enough."""
        under_way = self._under_way
        if under_way is not None and not under_way.is_called_off:
            needed_here = any(under_way.gives(need.account.pot) for need in needs)
            if needed_here and under_way.call_off():
                self._accounts.undo(under_way.orders)
        return all(need.is_bearable for need in needs)

    def _refuse(self, asking: Asking) -> None:
        until = self._clock() + timedelta(seconds=REFUSED_S)
        for need in asking.needs:
            if need.missing_nanousd > 0:
                need.account.refuse(1 if need.is_partial else need.missing_nanousd, until)
        self._finish(asking, "refused")

    def _answer(self, refused: Mapping[Pot, bool], began_s: float) -> None:
        """Tell those who wait, the first one first: each takes what it needs before the next is looked at.

        `refused` are the pots that had less than was needed, and whether others have some of it unspent.
        Who came after the exchange began waits for the next: less may suffice, or it was not asked for.
        """
        for asking in list(self._asking):
            short = [need.account for need in asking.needs if not need.is_met]
            if not short:
                self._finish(asking, "granted")
            elif asking.since_s > began_s or not any(one.pot in refused for one in short):
                continue
            elif all(need.is_bearable for need in asking.needs):
                self._finish(asking, "granted")
            elif any(not refused[one.pot] for one in short if one.pot in refused):
                self._refuse(asking)
            elif not asking.is_contended:
                asking.contend(ASK_S)

    # The exchange

    async def run(self, ready: Callable[[], Awaitable[None]]) -> None:
        """Keep the leases until cancelled. `ready` returns when what the last run left is posted."""
        self._loop = asyncio.get_running_loop()
        await self._start(ready)
        while True:
            await self.beat()
            await self._rest()

    async def beat(self) -> None:
        """Exchange what there is to exchange, once."""
        if self.book().version != self._version:  # amounts at hand may be too much now
            self._version = self.book().version
            self._accounts.follow(self.book())
            self._users.look(self.book())
        wishes, now, gives = wishes_of(self._asking), self._clock(), not self._is_down
        orders = self._accounts.orders(wishes, now, time.monotonic(), gives=gives)
        users = self._users.wanted
        if orders or users or self._must_watch or self._is_down:
            await self._exchange(Exchange(orders, users))

    async def _start(self, ready: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await ready()
                await self._in_thread(self._end_leases, empty_leases)
                return
            except SQLAlchemyError as error:
                self._note(error)
                await asyncio.sleep(BEAT_S)

    def _end_leases(self, end: Callable[[Connection, str], int]) -> None:
        with writing(self._engine) as connection:
            end(connection, self._instance_id)

    @property
    def _must_watch(self) -> bool:
        """Tell whether other instances may want what is free here."""
        return self._accounts.instances > 1 and self._accounts.have_spare

    async def _rest(self) -> None:
        """Wait for somebody who asks, or for the next beat."""
        wait_s = WATCH_S if self._must_watch else BEAT_S
        if self._asking:  # others are about to give something back, or the database is away
            wait_s = WATCH_S if self._is_down else AGAIN_S
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._wake.wait()
        self._wake.clear()

    async def _exchange(self, under_way: Exchange) -> None:
        self._under_way = under_way
        try:
            heard = await self._in_thread(under_way.carry_out, self._engine, self._instance_id, self._clock)
        except CalledOff:
            return
        except SQLAlchemyError as error:
            self._note(error)
            self._failed(under_way)
            return
        finally:
            self._under_way = None
        self._note(None)
        self._heard_s, self._accounts.instances = under_way.began_s, heard.instances
        self._users.remember(heard.users)
        refused = {
            order.pot: heard.answers[order.pot].contended
            for order in under_way.orders
            if self._accounts.take_over(order, heard.answers[order.pot]) < order.need_nanousd
        }
        self._accounts.want(heard.wanted)
        if heard.wanted or self._users.wanted:
            self._wake.set()
        self._answer(refused, under_way.began_s)

    def _failed(self, under_way: Exchange) -> None:
        """Have back what was to be given back, unless it may be gone."""
        if under_way.is_called_off:
            return
        if under_way.call_off():
            self._accounts.undo(under_way.orders)
            self._answer({}, under_way.began_s)  # it may be what they wait for
        else:
            self._accounts.failed(under_way.orders)

    async def _in_thread(self, call: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *args)

    def _note(self, error: Exception | None) -> None:
        """Say when the database is lost and when it is back, not each time in between."""
        if error is not None and not self._is_down:
            logger.warning(
                "budgets cannot be leased: what is at hand is spent first", extra={"error": type(error)}
            )
        if error is None and self._is_down:
            logger.info("budgets can be leased again")
        self._is_down = error is not None

    async def stop(self, *, all_posted: bool) -> None:
        """End; give everything back, if everything that was spent of it is posted."""
        if all_posted:
            try:
                await self._in_thread(self._end_leases, drop_leases)
            except SQLAlchemyError as error:
                self._note(error)
        self._thread.shutdown(wait=False)


def _first_short(allowance: Allowance, amounts: Amounts) -> Account | None:
    return next((one for one in allowance.accounts if not one.can_hold(amounts[one.basis])), None)

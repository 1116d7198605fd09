"""One exchange of this instance with the database about its leases.

It is made on the event loop, carried out in a thread, and until its commit it can be called off. So what it
wanted to give back is known to be here still, unless the commit itself was lost.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine

from proxy.core.budgets import Pot
from proxy.store.database import writing
from proxy.store.end_users import end_user_ids
from proxy.store.lease_users import User
from proxy.store.leases import Answer, Order, exchange, live_instances, wanted_pots


@dataclass(frozen=True, slots=True)
class Heard:
    """What an exchange has brought."""

    answers: Mapping[Pot, Answer]
    wanted: Sequence[Pot]
    instances: int
    users: Mapping[User, str]


class CalledOff(Exception):
    """The loop has called the exchange off before its commit: it was not carried out."""


class Exchange:
    """Orders on their way. Who comes first decides: the thread before its commit, or who calls it off."""

    def __init__(self, orders: Sequence[Order], users: Sequence[User]) -> None:
        self.orders, self.users = orders, users
        self.began_s = time.monotonic()
        self.is_called_off = False
        self._decided = threading.Lock()  # taken once, and never released

    def call_off(self) -> bool:
        """Tell whether this is never carried out. If not, it is, or it ends without anybody knowing."""
        if not self.is_called_off:
            self.is_called_off = self._decided.acquire(blocking=False)
        return self.is_called_off

    def gives(self, pot: Pot) -> bool:
        """Tell whether something of `pot` is on its way back."""
        return any(order.give_nanousd for order in self.orders if order.pot == pot)

    def carry_out(self, engine: Engine, instance_id: str, clock: Callable[[], datetime]) -> Heard:
        """In the thread: one transaction. If it fails and cannot be called off then, its end is not known.

        Raises:
            CalledOff: see there.
            SQLAlchemyError: the database does not answer, or not so.
        """
        with writing(engine) as connection:
            now = clock()
            instances = live_instances(connection, now)
            answers = exchange(connection, instance_id, self.orders, now=now, live_instances=instances)
            wanted = wanted_pots(connection, instance_id) if instances > 1 else []
            heard = Heard(answers, wanted, instances, end_user_ids(connection, self.users))
            if not self._decided.acquire(blocking=False):
                raise CalledOff
        return heard

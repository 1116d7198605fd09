"""End users of live sessions: an app names them, and budgets of theirs need the id that stands for a name.

No I/O here: what the database is to be asked for, and what it has said.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice

from proxy.core.allowance import Allowance
from proxy.core.budgets import BudgetBook

USERS_MAX = 10_000
USERS_AT_ONCE_MAX = 500  # in one exchange, which others wait for

User = tuple[str, str]  # a tenant's id, and the user's name there


class EndUsers:
    """What is known of them, and who is not known yet though a budget wants to know."""

    def __init__(self) -> None:
        self._ids: OrderedDict[User, str] = OrderedDict()
        self._wanted: set[User] = set()
        self._unnamed: dict[str, Allowance] = {}  # of live sessions whose end user is not known, by session

    # Sessions

    def enter(self, allowance: Allowance) -> None:
        """Keep an eye on a live session until its end user is known."""
        if allowance.payer is not None and unnamed(allowance):
            self._unnamed[allowance.payer.session_id] = allowance

    def leave(self, allowance: Allowance) -> None:
        if allowance.payer is not None:
            self._unnamed.pop(allowance.payer.session_id, None)

    def name(self, allowance: Allowance) -> None:
        """Let a session be its end user's, if that is known by now."""
        user = unnamed(allowance)
        if user is not None and user in self._ids and allowance.payer is not None:
            allowance.payer = replace(allowance.payer, end_user_id=self._ids[user])
            self.leave(allowance)

    # What is known

    @property
    def wanted(self) -> Sequence[User]:
        """Return whom to ask the database for next; there may be more."""
        return tuple(islice(self._wanted, USERS_AT_ONCE_MAX))

    def look(self, book: BudgetBook) -> None:
        """Want to know the end users of live sessions that budgets of `book` are about."""
        users = {user for one in self._unnamed.values() if (user := unnamed(one))}
        asking = {tenant for tenant, _ in users if book.asks_for_user(tenant)}
        self._wanted |= {user for user in users if user[0] in asking}

    def want(self, user: User) -> None:
        self._wanted.add(user)

    def remember(self, ids: Mapping[User, str]) -> None:
        """Take over what the database has said, into live sessions too."""
        self._wanted -= ids.keys()
        self._ids.update(ids)
        if ids:
            for allowance in list(self._unnamed.values()):
                self.name(allowance)
        while len(self._ids) > USERS_MAX:
            self._ids.popitem(last=False)

    def id_of(self, user: User) -> str | None:
        return self._ids.get(user)


def unnamed(allowance: Allowance) -> User | None:
    """Return the end user of a session that began before any budget wanted to know who that is."""
    payer, name = allowance.payer, allowance.end_user
    if payer is None or name is None or payer.end_user_id is not None:
        return None
    return payer.tenant_id, name

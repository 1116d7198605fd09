"""End users of live sessions: an app names them, and budgets of theirs need the id that stands for a name.

No I/O here: what the database is to be asked for, and what it has said.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from proxy.core.allowance import Allowance

USERS_MAX = 10_000

User = tuple[str, str]  # a tenant's id, and the user's name there


class EndUsers:
    """What is known of them, and who is not known yet though a budget wants to know."""

    def __init__(self) -> None:
        self._ids: OrderedDict[User, str] = OrderedDict()
        self._wanted: set[User] = set()

    @property
    def wanted(self) -> Sequence[User]:
        """Return whom to ask the database for."""
        return tuple(self._wanted)

    def want(self, user: User) -> None:
        self._wanted.add(user)

    def remember(self, ids: Mapping[User, str]) -> None:
        self._wanted -= ids.keys()
        self._ids.update(ids)
        while len(self._ids) > USERS_MAX:
            self._ids.popitem(last=False)

    def id_of(self, user: User) -> str | None:
        return self._ids.get(user)

    def name(self, allowance: Allowance) -> None:
        """Let a session be its end user's, if that is known by now."""
        user = unnamed(allowance)
        if user is not None and user in self._ids and allowance.payer is not None:
            allowance.payer = replace(allowance.payer, end_user_id=self._ids[user])


def unnamed(allowance: Allowance) -> User | None:
    """Return the end user of a session that began before any budget wanted to know who that is."""
    payer, name = allowance.payer, allowance.end_user
    if payer is None or name is None or payer.end_user_id is not None:
        return None
    return payer.tenant_id, name

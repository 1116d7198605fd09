"""The budgets as postings see them, loaded again when the change counter has moved."""

from sqlalchemy import Connection

from proxy.core.budgets import BudgetBook
from proxy.store import changes
from proxy.store.budget_list import load_book


class BudgetCache:
    """The budgets, loaded again when the change counter says so. Used by one thread."""

    def __init__(self) -> None:
        self._book = BudgetBook()

    def read(self, connection: Connection) -> BudgetBook:
        """Return the budgets as `connection`'s transaction sees them.

        The counter is read first: a change in between is loaded now and loaded again the next time.
        """
        version = changes.current(connection)
        if version != self._book.version:
            self._book = load_book(connection, version)
        return self._book

"""What is kept: the catalogue of tenants and prices, the ledger, and the journal it is posted from.

Plain SQLAlchemy Core on SQLite or PostgreSQL. `schema` names the tables, `database` opens them;
`catalog`, `prices`, `live`, `ledger` and `reports` are functions over a connection or an engine.
"""


class StoreError(Exception):
    """Something that the person who asked can put right.

    The text is one line (a few for a list of faults) that says what is wrong and what to do about
    it. It never holds a password or a key, so it can be shown and logged as it is.
    """


class NotFound(StoreError):
    """What is named does not exist, or is not there for whoever asks."""


class Forbidden(StoreError):
    """Whoever asks for this may not do it; somebody else may."""


class Conflict(StoreError):
    """What is asked for does not go together with what is there already."""

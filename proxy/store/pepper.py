"""The pepper of an installation: what the secrets in its database are hashed with."""

from sqlalchemy import Engine

from proxy.store.database import reading, sqlite_path
from proxy.store.keys import load_pepper
from proxy.store.tenants import keys_exist


def pepper_for(engine: Engine, configured: str | None) -> bytes:
    """Return what `load_pepper` does, for this database.

    Raises:
        StoreError: there is none and none can be made.
    """
    with reading(engine) as connection:
        exist = keys_exist(connection)
    return load_pepper(configured, sqlite_path(engine), keys_exist=exist)

"""The head of the ledger's chain: whoever books anything locks it before everything else."""

from sqlalchemy import Connection, select

from proxy.store.schema import chain_head


def lock_chain(connection: Connection) -> int:
    """Return how many entries there are; nobody else books any until this transaction is over."""
    head = connection.execute(select(chain_head.c.entries).where(chain_head.c.id == 1).with_for_update())
    return int(head.scalar_one())

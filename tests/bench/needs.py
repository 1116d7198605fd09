"""What so many conversations at a time need, from what a few were measured to need.

Pure: nothing is measured here.
"""

import math
from dataclasses import dataclass

DAYS_A_MONTH = 30.4
_DAY_S = 86_400


@dataclass(frozen=True)
class Figures:
    """What was measured on one machine: of an instance, of a conversation, of a response."""

    # of an instance
    instance_bytes: float  # its memory without sessions, control plane included
    instance_transactions: float  # a second, while people talk
    instance_connections: float  # to PostgreSQL, control plane included
    control_cpu: float  # cores
    # of a conversation, for each second of it
    data_cpu: float  # cores of the data plane
    postgres_cpu: float  # cores of PostgreSQL
    rows: float  # inserted, updated or deleted
    wal_bytes: float
    journal_bytes: float
    session_bytes: float  # of memory, as long as it lasts
    # of a conversation that begins and ends without a word
    opened_data_cpu_s: float
    opened_postgres_cpu_s: float
    opened_transactions: float
    opened_wal_bytes: float
    counted_s: float  # of PostgreSQL, each second and for each instance, where a limit counts sessions
    # of a response
    entry_bytes: float  # on the database's disk: its entry, lines, sums, indexes
    # of one database, where postings take place one after the other
    posting_s: float  # the shortest one, of one entry
    entries_max: float  # a second, in long ones


@dataclass(frozen=True)
class Traffic:
    """What is assumed of conversations and of those who run instances."""

    response_s: float = 15.0  # from one response to the next
    session_s: float = 300.0
    busy_max: float = 0.6  # of a core, of PostgreSQL's cores, and of what postings can do
    month_share: float = 0.25  # of the most conversations at a time, what there are on average, day and night
    sessions_max: int = 10_000  # TALKMETER_SESSIONS_MAX


@dataclass(frozen=True)
class Needs:
    """What `sessions` conversations at a time need."""

    sessions: int
    instances: int  # each a core for its data plane
    data_cores: float  # in use
    control_cores: float
    postgres_cores: float
    counting_cores: float  # of PostgreSQL besides, where a limit counts sessions
    memory_bytes: float  # of all instances
    transactions: float  # a second, on PostgreSQL
    rows: float  # a second
    wal_bytes: float  # a second
    journal_bytes: float  # a second, of all instances
    entries: float  # a second
    connections: float  # to PostgreSQL
    databases: int  # that can post so many entries
    lag_s: float  # between two postings of one instance
    month_entries: float
    month_bytes: float


def per_instance(figures: Figures, traffic: Traffic) -> int:
    """Return how many conversations one instance, on one core, holds."""
    opened = figures.opened_data_cpu_s / traffic.session_s
    return max(1, min(traffic.sessions_max, int(traffic.busy_max / (figures.data_cpu + opened))))


def needs(figures: Figures, sessions: int, traffic: Traffic | None = None) -> Needs:
    """Multiply: everything grows with conversations, or with the instances that these take."""
    traffic = traffic or Traffic()
    opened = sessions / traffic.session_s
    entries = sessions / traffic.response_s
    instances = math.ceil(sessions / per_instance(figures, traffic))
    databases = math.ceil(entries / (traffic.busy_max * figures.entries_max))
    # In the time between two postings of one instance all others post once, and all entries of it are booked.
    busy = entries / databases / figures.entries_max
    lag_s = instances / databases * figures.posting_s / (1 - busy)
    month_entries = entries * traffic.month_share * DAYS_A_MONTH * _DAY_S
    return Needs(
        sessions=sessions,
        instances=instances,
        data_cores=sessions * figures.data_cpu + opened * figures.opened_data_cpu_s,
        control_cores=instances * figures.control_cpu,
        postgres_cores=sessions * figures.postgres_cpu + opened * figures.opened_postgres_cpu_s,
        counting_cores=sessions * instances / databases * figures.counted_s,
        memory_bytes=instances * figures.instance_bytes + sessions * figures.session_bytes,
        transactions=instances * figures.instance_transactions + opened * figures.opened_transactions,
        rows=sessions * figures.rows,
        wal_bytes=sessions * figures.wal_bytes + opened * figures.opened_wal_bytes,
        journal_bytes=sessions * figures.journal_bytes,
        entries=entries,
        connections=instances * figures.instance_connections,
        databases=databases,
        lag_s=lag_s,
        month_entries=month_entries,
        month_bytes=month_entries * figures.entry_bytes,
    )

"""Why sessions end."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a session ended: the first of these that came true."""

    CLIENT_CLOSED = "client_closed"
    CLIENT_LOST = "client_lost"
    CLIENT_STALLED = "client_stalled"
    CLIENT_IDLE = "client_idle"
    CLIENT_VIOLATION = "client_violation"
    UPSTREAM_CLOSED = "upstream_closed"
    UPSTREAM_LOST = "upstream_lost"
    UPSTREAM_STALLED = "upstream_stalled"
    UPSTREAM_VIOLATION = "upstream_violation"
    REFUSED = "refused"
    STOPPED = "stopped"
    DRAINED = "drained"
    ABORTED = "aborted"
    FAILED = "failed"  # a bug of ours

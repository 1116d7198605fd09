"""How long a side has been silent, or has taken nothing: looked at now and then, never timed singly."""

from proxy.relay.half import Half


class Clocks:
    """The clocks of one side. Times are the loop's, in seconds, as exact as looks are frequent."""

    __slots__ = ("_heard", "_heard_at", "_taken", "_took_at")

    def __init__(self, now_s: float) -> None:
        self._heard_at = self._took_at = now_s
        self._taken = self._heard = 0

    def silent_s(self, half: Half, now_s: float) -> float:
        """Return how long it has said nothing. While it is not read, that is not its fault."""
        heard = half.bytes_heard
        if heard != self._heard or half.is_held:
            self._heard, self._heard_at = heard, now_s
        return now_s - self._heard_at

    def stalled_s(self, half: Half, now_s: float) -> float:
        """Return how long it has taken nothing of what waits for it."""
        if not half.is_full:
            self._took_at = now_s
            return 0.0
        taken = half.bytes_taken
        if taken != self._taken:
            self._taken, self._took_at = taken, now_s
        return now_s - self._took_at

"""What was asked for and has not started: responses, which keep a hold too, and transcriptions."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from proxy.core.usage import Meter

ASKED_MAX = 64
ASKED_S_MAX = timedelta(seconds=10)
BUSY = "conversation_already_has_active_response"  # the upstream's code: it speaks one at a time


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, by the key of its hold and by the event id that the client gave it, if any."""

    key: str
    event_id: str | None
    at: datetime
    brought: Mapping[Meter, int] = field(default_factory=dict)  # input of its response only
    out_of_band: bool = False


@dataclass(slots=True)
class AskedQueue:
    """The requests in the order they were made; a response that starts answers the oldest of its kind."""

    _queue: deque[Asked] = field(default_factory=deque)
    _commits: deque[datetime] = field(default_factory=lambda: deque(maxlen=ASKED_MAX))
    expected_at: datetime | None = None  # turn detection is about to start a response by itself

    def __bool__(self) -> bool:
        return bool(self._queue or self._commits) or self.expected_at is not None

    @property
    def is_due(self) -> bool:
        """Say whether a response is about to start: a request waits for it, or it comes by itself."""
        return bool(self._queue) or self.expected_at is not None

    def commit(self, now: datetime) -> None:
        """Note that the client commits audio which will be transcribed: that will be billed."""
        self._commits.append(now)

    def committed(self) -> None:
        """Note that the upstream has committed, asked or not."""
        if self._commits:
            self._commits.popleft()

    def put(self, asked: Asked) -> Iterator[Asked]:
        """Add a request; yield the oldest if there are too many."""
        self._queue.append(asked)
        if len(self._queue) > ASKED_MAX:
            yield self._queue.popleft()

    def next(self, *, out_of_band: bool = False) -> Asked | None:
        """Return the request that a response of that kind answers if it starts now.

        The oldest of all, if there is none of its kind: not every upstream tells it. But what turn detection
        is about to start is in the conversation, and no answer to what was asked for outside of it.
        """
        same = next((one for one in self._queue if one.out_of_band is out_of_band), None)
        if same is not None or not self._queue or (self.expected_at is not None and not out_of_band):
            return same
        return self._queue[0]

    def answer(self, *, out_of_band: bool = False) -> Asked | None:
        """Return the request that a response which has just started answers, no longer in the queue."""
        answered = self.next(out_of_band=out_of_band)
        if answered is not None:
            self._queue.remove(answered)
        if not out_of_band:
            self.expected_at = None
        return answered

    def refuse(self, caused_by: str | None, code: str | None) -> Asked | None:
        """Return the request that an upstream error refuses, no longer in the queue."""
        for asked in self._queue:
            if caused_by and asked.event_id == caused_by:
                self._queue.remove(asked)
                return asked
        if code == "input_audio_buffer_commit_empty":
            self.committed()
        if code == BUSY and self._queue:
            return self._queue.pop()  # the client gave its request no id: the latest is meant
        return None

    def expire(self, now: datetime) -> Iterator[Asked]:
        """Yield the requests that have waited too long to be answered still."""
        while self._queue and now - self._queue[0].at >= ASKED_S_MAX:
            yield self._queue.popleft()
        while self._commits and now - self._commits[0] >= ASKED_S_MAX:
            self._commits.popleft()
        if self.expected_at and now - self.expected_at >= ASKED_S_MAX:
            self.expected_at = None

    def clear(self) -> Iterator[Asked]:
        """Yield all requests: nothing will be answered any more."""
        self._commits.clear()
        self.expected_at = None
        while self._queue:
            yield self._queue.popleft()

"""What is open in a session: started and not settled, so that something will be billed for it."""

from dataclasses import dataclass, field

from proxy.core.subjects import Response, State, Transcription

OPEN_MAX = 1_024  # of each kind; the oldest is estimated beyond it


@dataclass(slots=True)
class Opened:
    """The open responses by their ids, and the open transcriptions by their items, oldest first."""

    responses: dict[str, Response] = field(default_factory=dict)
    transcriptions: dict[str, Transcription] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.responses or self.transcriptions)

    @property
    def running(self) -> list[Response]:
        """Return the responses that were not cancelled by us."""
        return [response for response in self.responses.values() if response.state is State.RUNNING]

    @property
    def every(self) -> list[Response | Transcription]:
        return [*self.responses.values(), *self.transcriptions.values()]

    @property
    def moved(self) -> list[Response]:
        """Return the responses that have produced something since this was last asked."""
        moved = [r for r in self.responses.values() if r.passed_chars != r.reported_chars]
        for response in moved:
            response.reported_chars = response.passed_chars
        return moved

    def find(self, response_id: str | None) -> Response | None:
        """Return the open response that is meant; without an id, the only one there is."""
        if response_id is not None:
            return self.responses.get(response_id)
        return next(iter(self.responses.values())) if len(self.responses) == 1 else None

    @property
    def only_item(self) -> str | None:
        """Return the item that is being transcribed, if there is just one."""
        return next(iter(self.transcriptions)) if len(self.transcriptions) == 1 else None

    def add(self, opened: Response | Transcription) -> list[Response | Transcription]:
        """Add one; return what has to leave for it: memory has a limit."""
        if isinstance(opened, Response):
            self.responses[opened.id] = opened
            return [self.responses.pop(next(iter(self.responses)))] if len(self.responses) > OPEN_MAX else []
        self.transcriptions[opened.item_id] = opened
        too_many = len(self.transcriptions) > OPEN_MAX
        return [self.transcriptions.pop(next(iter(self.transcriptions)))] if too_many else []

    def clear(self) -> list[Response | Transcription]:
        """Return all of them, open no longer."""
        lost = self.every
        self.responses.clear()
        self.transcriptions.clear()
        return lost

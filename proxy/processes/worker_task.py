"""What a worker is told by its parent, and what it says to it. Apart: the parent loads none of the relay."""

import base64
import pickle
from dataclasses import dataclass

from proxy.settings import Settings

TASK_BYTES_MAX = 262_144
STOP = b"stop"  # to a worker: drain; the second time: hurry
READY = "ready"  # from it: it serves
PROBLEM = "problem "  # from it: why it cannot start, a line each


class WorkerFailed(Exception):
    """A worker could not start, or did not end well. The text is for people."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A data plane that shares the apps' port with others, and a control plane too."""

    number: int
    private: str  # where the control plane asks it: a path


@dataclass(frozen=True, slots=True)
class Task:
    """All that a worker has to know. Holds secrets: never log it."""

    settings: Settings  # with the ports that the parent has taken, and the worker's own journal
    worker: Worker

    def __repr__(self) -> str:
        return f"Task({self.worker!r})"

    def packed(self) -> bytes:
        """Return it as one line."""
        return base64.b64encode(pickle.dumps(self))


def unpacked(line: bytes) -> Task:
    """Return what `packed` has made, for a child of whoever did."""
    task = pickle.loads(base64.b64decode(line))
    assert isinstance(task, Task)
    return task

"""Requests that may be repeated: with the same Idempotency-Key a thing is made once, and answered twice."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from aiohttp import web
from sqlalchemy import Connection

from proxy.admin.api.calls import Answer
from proxy.admin.api.problems import Problem
from proxy.store.answers import Kept, claim, keep

REPLAYED = "Idempotency-Replayed"


@dataclass(frozen=True, slots=True)
class Sent:
    """An answer on its way: status, JSON and headers."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> web.Response:
        return web.Response(
            status=self.status,
            body=self.body,
            content_type="application/json",
            charset="utf-8",
            headers=dict(self.headers),
        )


def sent(answer: Answer) -> Sent:
    """Return the answer as it is sent."""
    return Sent(answer.status, _json(answer), answer.headers)


def _json(answer: Answer) -> bytes:
    return answer.body.model_dump_json(by_alias=True, serialize_as_any=True).encode()


@dataclass(frozen=True, slots=True)
class Repeat:
    """A request that may come again: whose it is, its key, and a hash of all of it."""

    caller: str
    key: str
    fingerprint: str

    @classmethod
    def of(cls, caller: str, key: str, method: str, path: str, body: bytes) -> "Repeat":
        """Return a request by its key."""
        head = f"{method} {path}\n".encode("utf-8", "surrogateescape")
        return cls(caller, key, hashlib.sha256(head + body).hexdigest())

    def perform(self, connection: Connection, now: datetime, handle: Callable[[], Answer]) -> Sent:
        """Answer as before, or `handle` and keep the answer, in the one transaction.

        Raises:
            KeyUsed: the key was used for another request.
        """
        kept = claim(connection, self.caller, self.key, self.fingerprint, now)
        if kept is not None:
            headers = {**kept.answer["headers"], REPLAYED: "true"}
            return Sent(kept.status, json.dumps(kept.answer["body"]).encode(), headers)
        answer = handle()
        body = json.loads(_json(answer))
        if answer.secret is not None:
            body[answer.secret] = None
        keep(
            connection,
            self.caller,
            self.key,
            Kept(answer.status, {"headers": dict(answer.headers), "body": body}),
        )
        return sent(answer)


class Repeats:
    """The requests with a key that are under way in this process."""

    def __init__(self) -> None:
        self._under_way: set[tuple[str, str]] = set()

    @contextlib.contextmanager
    def alone(self, repeat: Repeat) -> Iterator[None]:
        """Handle a request while no other with its key is; raises Problem if one is."""
        mark = (repeat.caller, repeat.key)
        if mark in self._under_way:
            raise Problem(
                "conflict", "A request with this Idempotency-Key is under way: wait for its answer."
            )
        self._under_way.add(mark)
        try:
            yield
        finally:
            self._under_way.discard(mark)

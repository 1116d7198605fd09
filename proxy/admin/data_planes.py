"""The data planes that share a control plane, asked over their private sockets: one, or all workers."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Self

import aiohttp

from proxy.admin.expositions import joined

TIMEOUT_S = 5


class Silent(Exception):
    """A data plane does not answer. The text says which one, and how."""


class DataPlanes:
    """Asks them. A context: its connections are closed with it."""

    def __init__(self, sockets: Sequence[str]) -> None:
        many = len(sockets) > 1
        self._sockets = {str(n) if many else "": path for n, path in enumerate(sockets, 1)}
        self._clients: dict[str, aiohttp.ClientSession] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        for worker, path in self._sockets.items():
            client = aiohttp.ClientSession(connector=aiohttp.UnixConnector(path), timeout=timeout)
            self._clients[worker] = await self._stack.enter_async_context(client)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    @property
    def workers(self) -> Sequence[str]:
        """Return the workers' numbers; none where there is but one data plane."""
        return [worker for worker in self._sockets if worker]

    async def problems(self) -> list[str]:
        """Return which do not answer, and why."""
        asked = (self._problem(worker) for worker in self._sockets)
        return [problem for problem in await asyncio.gather(*asked) if problem]

    async def _problem(self, worker: str) -> str | None:
        try:
            await self._get(worker, "healthz", "")
        except Silent as silence:
            return str(silence)
        return None

    async def metrics(self, accept: str) -> tuple[bytes, Mapping[str, bool]]:
        """Return the metrics of all, as `accept` wants them and without an end; and which workers answered.

        Raises:
            Silent: there is but one data plane, and it does not answer.
        """
        if not self.workers:
            return await self._get("", "metrics", accept), {}
        answers = await asyncio.gather(*(self._metrics_of(worker, accept) for worker in self.workers))
        found = dict(zip(self.workers, answers, strict=True))
        bodies = {worker: body for worker, body in found.items() if body is not None}
        up = {worker: body is not None for worker, body in found.items()}
        return await asyncio.to_thread(joined, bodies), up

    async def _metrics_of(self, worker: str, accept: str) -> bytes | None:
        try:
            return await self._get(worker, "metrics", accept)
        except Silent:
            return None

    async def _get(self, worker: str, path: str, accept: str) -> bytes:
        who = f"worker {worker}" if worker else "the data plane"
        try:
            async with self._clients[worker].get(
                f"http://data-plane/{path}", headers={"Accept": accept}
            ) as answer:
                body = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Silent(f"{who} does not answer: {type(error).__name__}") from error
        if answer.status != 200:
            raise Silent(f"{who} answered {answer.status}")
        return body

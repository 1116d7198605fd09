"""Answers that are sent while they are made: a thread writes, the event loop sends, and neither runs ahead.

A client that has left, or reads nothing for long, ends the thread's work at its next write. What fails before
the first bytes is a problem like any other; later the connection is cut, so that nobody takes a part for the
whole.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web

from proxy.admin.api.problems import unavailable

STREAMS_MAX = 2
CHUNK_BYTES = 65_536
CHUNKS_MAX = 4  # that wait to be sent
STALL_S = 60.0  # for a client to take a chunk
LOOK_S = 1.0  # after which to see whether a client is still there

logger = logging.getLogger(__name__)


class ClientLeft(Exception):
    """Raised in the thread that writes: nobody reads any more."""


class Pipe:
    """Bytes on their way from a thread to the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._room = threading.Semaphore(CHUNKS_MAX)
        self._has_left = False
        self._buffer = bytearray()

    def write(self, data: bytes, /) -> None:
        """In the thread: take `data`; wait while too much is on its way. Raises ClientLeft."""
        self._buffer += data
        if len(self._buffer) >= CHUNK_BYTES:
            self._flush()

    def check(self) -> None:
        """In the thread: raises ClientLeft when nobody reads any more."""
        if self._has_left:
            raise ClientLeft

    def run(self, work: Callable[["Pipe"], object]) -> None:
        """In the thread: let `work` write, then say that this was all."""
        try:
            work(self)
            self._flush()
        except ClientLeft:
            logger.info("an answer was no longer wanted by its client")
        finally:
            self._put(None)

    def _flush(self) -> None:
        if self._buffer:
            self._room.acquire()
            self.check()
            self._put(bytes(self._buffer))
            self._buffer.clear()

    def _put(self, chunk: bytes | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._chunks.put_nowait, chunk)

    async def read(self) -> bytes | None:
        """Return the next chunk, None behind the last."""
        chunk = await self._chunks.get()
        self._room.release()
        return chunk

    def leave(self) -> None:
        """Read no more: the thread ends at its next write."""
        self._has_left = True
        self._room.release()


class Streams:
    """The answers under way, each with a thread."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(STREAMS_MAX, thread_name_prefix="stream")
        self._running = 0

    def shut_down(self) -> None:
        """Start nothing more. What runs ends with its handler."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def send(
        self, request: web.Request, headers: Mapping[str, str], work: Callable[[Pipe], object]
    ) -> web.StreamResponse:
        """Send what `work` writes.

        Raises:
            Problem: too many are under way. And whatever `work` raises before there is something to send.
        """
        if self._running >= STREAMS_MAX:
            raise unavailable(f"{STREAMS_MAX} exports are under way, and no more at a time: repeat it later.")
        loop = asyncio.get_running_loop()
        pipe = Pipe(loop)
        self._running += 1
        done = loop.run_in_executor(self._threads, pipe.run, work)
        done.add_done_callback(self._ended)
        try:
            first = await _next(request, pipe)
            if first is None:
                await done
            response = web.StreamResponse(headers=dict(headers))
            await response.prepare(request)
            await _carry(request, response, pipe, first, done)
            return response
        finally:
            pipe.leave()

    def _ended(self, _done: object) -> None:
        self._running -= 1


async def _next(request: web.Request, pipe: Pipe) -> bytes | None:
    """Return the next chunk; raises ConnectionError when the client has left meanwhile."""
    while True:
        try:
            async with asyncio.timeout(LOOK_S):
                return await pipe.read()
        except TimeoutError:
            if request.transport is None or request.transport.is_closing():
                raise ConnectionResetError("the client has left") from None


async def _carry(
    request: web.Request,
    response: web.StreamResponse,
    pipe: Pipe,
    chunk: bytes | None,
    done: "asyncio.Future[None]",
) -> None:
    """Send all chunks; cut the connection where that fails."""
    try:
        while chunk is not None:
            async with asyncio.timeout(STALL_S):
                await response.write(chunk)
            chunk = await _next(request, pipe)
        await done
        await response.write_eof()
    except (ConnectionError, TimeoutError):
        _cut(request)
    except Exception:
        logger.exception("an answer broke off", extra={"path": request.path})
        _cut(request)


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()

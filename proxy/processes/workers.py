"""`talkmeter serve --workers N`: a parent that looks after N data planes and one control plane.

The parent relays nothing and loads none of that. It takes both ports, and:

* starts the workers. Each is an instance of its own, with journal `JOURNAL_PATH.n`, and listens on the apps'
  port beside the others; the system spreads new connections over those that listen (`SO_REUSEPORT`);
* starts a worker that has died again, on its own journal. What that holds is settled before the worker
  listens, and what it leases of budgets is given back after that;
* tells all of them to stop when it is told so itself, and ends when all have ended.

If no worker can start, since something is set wrongly, all ends with the words of the first. If only some
can, they serve, and the others are tried again and again: one damaged journal must not end all conversations.
"""

import asyncio
import contextlib
import logging
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterator, Sequence
from pathlib import Path

from proxy import __version__, children
from proxy.admin.child import supervise
from proxy.admin.config import ControlConfig
from proxy.observe import logs
from proxy.processes.addresses import Addresses, address_of, private_folder, reserved, taken
from proxy.processes.control_config import control_config
from proxy.processes.journals import journals, warn_of_left_over
from proxy.processes.stopping import Stop
from proxy.processes.worker_task import PROBLEM, READY, STOP, Task, Worker, WorkerFailed
from proxy.settings import Settings

END_S = (
    30.0  # for a worker that is to end at once, its last records and what they wait for; then it is killed
)

logger = logging.getLogger(__name__)


class _Child:
    """One worker, over all its processes."""

    def __init__(self, task: Task, stop: Stop) -> None:
        self.number = task.worker.number
        self.is_ready = False  # it has served
        self.has_tried = asyncio.Event()  # to start: it is ready, or it failed and waits for …
        self.may_go_on = asyncio.Event()  # … this: others serve, or all are to stop
        self.bad_end: int | None = None  # how its last process ended, if not well
        self._task = task
        self._stop = stop
        self._process: Process | None = None
        self._problems: list[str] = []
        self._lost = 0  # how often it was killed before it served, or could not even be started

    async def run(self) -> None:
        """Keep it running until it is told to stop."""
        await children.keep_running(self._live)

    def tell_to_stop(self) -> bool:
        """Ask it to drain, the second time to hurry; return False if there is no process to be told."""
        if self._process is None or self._process.stdin is None:
            return False
        if not self._process.stdin.is_closing():
            self._process.stdin.write(STOP + b"\n")
        return True

    @property
    def problem(self) -> str:
        """Return why its last process ended, in its own words if it had some."""
        return (
            "\n".join(self._problems) or f"worker {self.number} ended with {self.bad_end}: its log says why"
        )

    def hurry(self) -> None:
        """Ask it to end at once, and kill it if it has not within `END_S`: it hangs, and would keep us."""
        if self.tell_to_stop() and self._process is not None:
            asyncio.get_running_loop().call_later(END_S, self._kill, self._process)

    def _kill(self, process: Process) -> None:
        if process.returncode is None:
            logger.warning(
                "a worker does not end: it is killed", extra={"worker": self.number, "child_pid": process.pid}
            )
            process.kill()

    async def _live(self) -> bool:
        """Start its process and see it to its end; return whether to start another one."""
        self._problems.clear()
        try:
            process = await children.start("proxy.processes.worker_process", stdout=PIPE)
        except OSError as error:
            logger.error("a worker cannot be started", extra={"worker": self.number, "error": str(error)})
            self._problems.append(f"worker {self.number} cannot be started: {error}")
            self._lose()
            return True
        self._process = process
        logger.info("worker started", extra={"worker": self.number, "child_pid": process.pid})
        try:
            await children.tell(process, self._task.packed())
            await self._hear(process)
            return await self._ended(process.pid, await process.wait())
        finally:
            await children.end(process, f"worker {self.number}", END_S)
            self._process = None

    async def _hear(self, process: Process) -> None:
        """Take down what it says until it ends."""
        assert process.stdout is not None
        async for line in process.stdout:
            text = line.decode(errors="replace").rstrip("\n")
            if text == READY:
                self.is_ready, self.bad_end = True, None
                self.has_tried.set()
            elif text.startswith(PROBLEM):
                self._problems.append(text.removeprefix(PROBLEM))

    async def _ended(self, pid: int, code: int) -> bool:
        facts = {"worker": self.number, "child_pid": pid, "code": code}
        self.bad_end = code or None
        if code > 0 and not self.is_ready:  # it was not killed: it may be that nobody can start
            self.has_tried.set()
            await self.may_go_on.wait()
        elif not self.is_ready:
            self._lose()
        if self._stop.asked.is_set():
            return False
        logger.error("worker ended: it is started again", extra=facts | {"why": "; ".join(self._problems)})
        return True

    def _lose(self) -> None:
        """Once may be chance. From the second time on it keeps the others waiting no longer."""
        self._lost += 1
        if self._lost > 1:
            self.has_tried.set()


async def run(settings: Settings, warnings: Sequence[str] = ()) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal drops the sessions that are left.

    Raises:
        SettingsError, ListenError, WorkerFailed: it cannot start, or a worker did not end well.
    """
    settings.need_upstream_key()
    settings.need_shared_database()
    logs.configure(settings.log_format, settings.log_level)
    for warning in warnings:
        logger.warning(warning)
    await asyncio.to_thread(warn_of_left_over, settings)
    stop = Stop()
    stop.listen()
    with contextlib.ExitStack() as stack:
        kept = stack.enter_context(await reserved(settings.listen, "TALKMETER_LISTEN"))
        admin = stack.enter_context(await taken(settings.admin_listen, "TALKMETER_ADMIN_LISTEN"))
        folder = stack.enter_context(private_folder())
        places = Addresses(address_of(kept), address_of(admin), settings.tls_cert is not None)
        tasks = list(_tasks(settings, places, folder))
        control = control_config(settings, admin.fileno(), [task.worker.private for task in tasks])
        workers = [_Child(task, stop) for task in tasks]
        problem: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as group:
                await _serve(group, workers, control, stop, places)
        except* WorkerFailed as failures:
            problem = failures.exceptions[0]
    if problem is not None:
        raise problem
    _check_ends(workers)
    logger.info("stopped")


def _tasks(settings: Settings, places: Addresses, folder: Path) -> Iterator[Task]:
    """Yield the tasks of all workers, from the first one on."""
    for number, journal in enumerate(journals(settings), 1):
        own = {"listen": places.listen, "admin_listen": places.admin_listen, "journal_path": journal}
        yield Task(
            settings.model_copy(update=own | {"workers": 1}), Worker(number, str(folder / str(number)))
        )


async def _serve(
    group: asyncio.TaskGroup,
    workers: Sequence[_Child],
    control: ControlConfig,
    stop: Stop,
    places: Addresses,
) -> None:
    """Start all, say that they serve, and see them to their end once `stop` is asked for.

    Raises:
        WorkerFailed: none of them can start.
    """
    stop.hurry = lambda: _hurry(workers)
    running = {worker: group.create_task(worker.run()) for worker in workers}
    starting = group.create_task(_all_tried(workers))
    asked = group.create_task(stop.asked.wait())
    await asyncio.wait([starting, asked], return_when=asyncio.FIRST_COMPLETED)
    if starting.done() and not any(worker.is_ready for worker in workers):
        raise WorkerFailed(workers[0].problem)
    for worker in workers:
        worker.may_go_on.set()
    supervising = None
    if starting.done():
        supervising = group.create_task(supervise(control))
        logger.info(
            "serving", extra={"version": __version__, "workers": len(workers), "listen": places.listen}
        )
        print(places.greeting, flush=True)
    await asked
    starting.cancel()
    for worker, task in running.items():
        if not worker.tell_to_stop():
            task.cancel()  # it waits to be started again
    await asyncio.wait(running.values())
    if supervising is not None:
        supervising.cancel()


def _hurry(workers: Sequence[_Child]) -> None:
    for worker in workers:
        worker.hurry()


async def _all_tried(workers: Sequence[_Child]) -> None:
    for worker in workers:
        await worker.has_tried.wait()


def _check_ends(workers: Sequence[_Child]) -> None:
    """Raises WorkerFailed: the last process of a worker did not end well."""
    for worker in workers:
        if worker.bad_end is not None:
            raise WorkerFailed(
                f"worker {worker.number} ended with {worker.bad_end}: what its journal holds is posted at the"
                " next start"
            )

"""The control plane's process, seen from whoever starts it: watched, and started again when it dies.

The child has its own port's listening socket from us, so the port stays taken while a dead child is
replaced.
"""

import itertools
import logging
from collections.abc import Callable, Iterator

import msgspec

from proxy import children
from proxy.admin.config import ControlConfig

logger = logging.getLogger(__name__)


async def supervise(config: ControlConfig, on_start: Callable[[int], None] | None = None) -> None:
    """Keep a control plane running until this is cancelled; `on_start` hears every child's pid."""
    starts = itertools.count(1)
    await children.keep_running(lambda: _live(config, starts, on_start))


async def _live(config: ControlConfig, starts: Iterator[int], on_start: Callable[[int], None] | None) -> bool:
    """Start one child and wait until it ends, or end it when cancelled."""
    try:
        process = await children.start("proxy.processes.control_process", pass_fds=(config.listen_fd,))
    except OSError as error:
        logger.error("the control plane cannot be started", extra={"error": str(error)})
        return True
    try:
        if on_start is not None:
            on_start(process.pid)
        logger.info("control plane started", extra={"child_pid": process.pid})
        told = msgspec.structs.replace(config, starts=next(starts))
        await children.tell(process, msgspec.json.encode(told))
        code = await process.wait()
        logger.error(
            "control plane ended: it is started again", extra={"child_pid": process.pid, "code": code}
        )
        return True
    finally:
        await children.end(process, "control plane")

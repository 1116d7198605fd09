"""Being asked to stop, and to hurry."""

import os
import signal

from proxy.processes.stopping import Stop
from tests.relay.peers import until


async def test_the_first_time_to_stop_and_then_to_hurry() -> None:
    stop, hurried = Stop(), []
    stop.listen()
    stop.hurry = lambda: hurried.append(1)
    os.kill(os.getpid(), signal.SIGTERM)
    await stop.asked.wait()
    assert hurried == []
    os.kill(os.getpid(), signal.SIGINT)
    await until(lambda: hurried == [1])


async def test_who_has_nothing_to_hurry_just_stops() -> None:
    stop = Stop()
    stop.heard()
    stop.heard()
    assert stop.asked.is_set()

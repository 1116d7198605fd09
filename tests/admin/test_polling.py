"""Looking again and again: a database that is away is said once, and a stop waits for no pause."""

import asyncio
import logging

import pytest

from proxy.admin.polling import Polling
from proxy.store import StoreError


async def test_what_is_away_is_said_once_and_once_more_when_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "proxy.admin.polling")
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1
        if looks in (2, 3, 4):
            raise StoreError("gone")
        if looks == 6:
            polling.stop()

    polling = Polling(look, every_s=0.001, lost="lost", back="back")
    await polling.run()
    assert [record.message for record in caplog.records] == ["lost", "back"]
    assert (looks, polling.is_stopped) == (6, True)


async def test_a_stop_waits_for_no_pause() -> None:
    looked = asyncio.Event()
    loop = asyncio.get_running_loop()
    polling = Polling(lambda: loop.call_soon_threadsafe(looked.set), every_s=3_600, lost="lost", back="back")
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(polling.run())
        await looked.wait()
        polling.stop()


async def test_what_is_no_matter_of_the_database_is_a_bug() -> None:
    def look() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Polling(look, every_s=0.001, lost="lost", back="back").run()

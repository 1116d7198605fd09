"""The running estimate is good: at the end of a response it is within a few percent of the bill."""

from statistics import median
from typing import Any

import pytest

from proxy.store.schema import ledger_entry
from tests.e2e.place import Home
from tests.e2e.test_budgets import rows

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

TURNS = ("said", "written", "said", "read", "apart", "said", "written")


async def turn(client: Any, kind: str, number: int) -> None:
    """Have one turn: the user speaks or writes, the model speaks, or writes, or answers out of band."""
    words = f"Please give me {15 + 9 * number} words"
    if kind == "said":
        await client.speak(900 + 400 * number)
        await client.send("input_audio_buffer.commit")
        await client.respond()
    elif kind == "apart":
        await client.respond(conversation="none", instructions=words)
    else:
        await client.say(words)
        await client.respond(output_modalities=["text" if kind == "read" else "audio"])


async def test_the_median_error_at_the_end_of_a_response_is_under_five_percent(home: Home) -> None:
    async with home.open() as place:
        for start in range(len(TURNS)):
            async with place.connected() as client:
                await client.configure(instructions="Be brief and kind. " * (1 + 4 * start))
                for number, kind in enumerate(TURNS[start:] + TURNS[:start]):
                    await turn(client, kind, number)
        booked = await place.over()
        text = await place.metrics()
    entries = [entry for entry in rows(home, ledger_entry) if entry["kind"] == "response"]
    errors = [abs(entry["estimate_nanousd"] / entry["cost_nanousd"] - 1) for entry in entries]
    print(f"\n{len(errors)} responses: median error {median(errors):.2%}, largest {max(errors):.2%}")
    assert len(errors) == len(booked) == len(TURNS) ** 2
    assert median(errors) < 0.05
    assert sum(entry.lines.get("audio_in_cached", 0) > 0 for entry in booked) > len(TURNS)
    (count,) = [line for line in text.splitlines() if line.startswith("talkmeter_estimate_error_ratio_count")]
    assert float(count.split()[-1]) == len(errors)

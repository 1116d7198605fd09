"""The demo as a person sees it: every turn with its cost as it is spoken, a report, and what to try."""

import asyncio
import logging
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from proxy.core.money import NANOUSD_PER_USD
from proxy.core.usage import INPUT_METERS, Meter
from proxy.demo.caller import Caller, Json
from proxy.demo.scenes import SCENES, Scene, Turn
from proxy.demo.stage import Stage, set_up
from proxy.settings import PLAIN_UPSTREAM_KEY
from proxy.store.filters import Filters
from proxy.store.reports import CostQuery, Report
from proxy.store.reports import run as run_report

CACHED = (Meter.TEXT_IN_CACHED, Meter.AUDIO_IN_CACHED, Meter.IMAGE_IN_CACHED)
OUTPUT = (Meter.TEXT_OUT, Meter.AUDIO_OUT)
COLUMNS = (
    ("", 3),
    ("the caller", 23),
    ("hears", 8),
    ("input", 8),
    ("cached", 8),
    ("output", 8),
    ("cost", 11),
)
REPORT_GROUPS = ("tenant", "tag:app", "model")
REPORT_FIGURES = ("sessions", "responses", "cost_usd")

EXAMPLE = """\
    import asyncio
    from openai import AsyncOpenAI

    client = AsyncOpenAI(
        websocket_base_url="{url}",
        api_key="{key}",
    )

    words = [{{"type": "input_text", "text": "Say hello!"}}]

    async def main():
        async with client.realtime.connect(model="gpt-realtime-2.1") as call:
            await call.session.update(
                session={{"type": "realtime", "output_modalities": ["text"]}})
            await call.conversation.item.create(
                item={{"type": "message", "role": "user", "content": words}})
            await call.response.create()
            async for event in call:
                print(event.type)
                if event.type == "response.done":
                    break

    asyncio.run(main())
"""


async def run(*, once: bool) -> None:
    """Play the demo; then stay up until Ctrl-C, unless `once`."""
    console = Console(highlight=False, soft_wrap=True)
    _only_log_errors()
    tenants = sorted({scene.tenant for scene in SCENES})
    budgets = {scene.tenant: scene.budget_usd for scene in SCENES if scene.budget_usd}
    async with set_up(tenants, budgets) as stage:
        _say_hello(console, tenants)
        for number, scene in enumerate(SCENES, start=1):
            await _play(console, stage, number, scene)
        await stage.app.poster.posted_up_to_now()
        today = CostQuery(REPORT_GROUPS, Filters(start=stage.day))
        report = await asyncio.to_thread(run_report, stage.app.stores.engine, today)
        _show_report(console, report, stage.day)
        if not once:
            interrupted = _interrupted()  # before the words that tell how
            _show_what_to_try(console, stage, tenants[0])
            await _show_the_console(console, stage)
            await interrupted.wait()
            console.print("\nStopped. The demo's files were in a temporary folder and are gone.")


def _only_log_errors() -> None:
    """Keep warnings, such as of the budget that is spent on purpose, out of what is shown."""
    errors = logging.StreamHandler()
    errors.setLevel(logging.ERROR)
    logging.getLogger("proxy").addHandler(errors)


def _say_hello(console: Console, tenants: Sequence[str]) -> None:
    console.print(
        "\n[bold]Talkmeter demo[/]\n"
        "A proxy that knows what a voice conversation costs while it is being spoken.\n"
        f"{len(SCENES)} conversations of {len(tenants)} tenants follow, with a simulated voice API at the\n"
        "prices of gpt-realtime-2.1. Nothing leaves this machine, and nothing is charged.\n"
        "Input, cached (a part of it) and output are tokens."
    )


async def _play(console: Console, stage: Stage, number: int, scene: Scene) -> None:
    console.print(f"\n[bold]{number}  {scene.tenant}[/]  {scene.title}")
    console.print(Text(_row([name for name, _ in COLUMNS]), style="dim"))
    told: Json = {}
    url, secret = stage.app.url, stage.secrets[scene.tenant]
    async with Caller.calling(url, secret, scene.tags, scene.settings) as caller:
        turns = 0
        async for turn in scene.play(caller):
            turns += 1
            told = await caller.bill(turn.response["id"] if turn.response else None)
            console.print(_turn(turns, turn, told))
            if turn.refusal:
                console.print(Text(f"   the client is told: {turn.refusal}", style="yellow"))
    what = "with transcription" if any(one["kind"] == "transcription" for one in told["turns"]) else "in all"
    console.print(_row(["", what, "", "", "", "", _dollars(told["cost_nanousd"])]))


def _turn(number: int, turn: Turn, told: Json) -> Text:
    """Return the line of one turn: what was exchanged, and what Talkmeter has booked for it."""
    booked = _booked(turn, told)
    meters: dict[str, int] = booked["meters"]
    tokens = [sum(meters.get(meter, 0) for meter in group) for group in (INPUT_METERS, CACHED, OUTPUT)]
    heard, cost = f"{turn.heard_s:.1f} s", _dollars(booked["cost_nanousd"])
    line = Text(_row([str(number), turn.said, heard, *map(str, tokens), cost]))
    note = "estimated" if booked["estimated"] else booked["status"]
    if note != "completed":
        line.append(f"  {note}", style="yellow")
    return line


def _booked(turn: Turn, told: Json) -> Json:
    responses: list[Json] = [entry for entry in told["turns"] if entry["kind"] == "response"]
    if turn.response is None:
        return responses[-1]
    return next(entry for entry in responses if entry["subject_id"] == turn.response["id"])


def _row(cells: Sequence[str]) -> str:
    """Return cells in the columns of a conversation: text to the left, figures to the right."""
    padded = [
        cell.ljust(width) if name in ("", "the caller") else cell.rjust(width)
        for cell, (name, width) in zip(cells, COLUMNS, strict=True)
    ]
    return "".join(padded).rstrip()


def _dollars(nanousd: int | None) -> str:
    return "unrated" if nanousd is None else f"${Decimal(nanousd) / NANOUSD_PER_USD:.6f}"


def _show_report(console: Console, report: Report, day: datetime) -> None:
    """Show what the finance team would see: the ledger's sums, not the demo's."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in REPORT_GROUPS:
        table.add_column(name.removeprefix("tag:"), overflow="fold")
    for name in ("sessions", "responses", "cost in USD"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in report.rows:
        table.add_row(*_cells([row[name] for name in (*REPORT_GROUPS, *REPORT_FIGURES)]))
    figures = _cells([report.total[name] for name in REPORT_FIGURES])
    table.add_section()
    table.add_row("total", "", "", *figures, style="bold")
    asked = f"--from {day:%Y-%m-%d} --group-by {','.join(REPORT_GROUPS)}"
    console.print(f"\n[bold]The cost report[/]  report {asked}")
    console.print(table, soft_wrap=False)


def _cells(values: Sequence[object]) -> list[str]:
    return ["" if value is None else str(value) for value in values]


def _show_what_to_try(console: Console, stage: Stage, tenant: str) -> None:
    """Say where it runs, and what a newcomer can paste."""
    app, key = stage.app, stage.secrets[tenant]
    example = EXAMPLE.format(url=app.url.replace("http", "ws", 1), key=key)
    console.print("[bold]Try it[/]  with the openai package (pip install openai), as it is:\n")
    console.print(Text(example, style="cyan"))
    console.print(f"  for apps    {app.url}")
    console.print(f"  key         {key} (tenant {tenant})")
    console.print(f"  health      {app.admin_url}/readyz")
    console.print(f"  metrics     {app.admin_url}/metrics")
    console.print("\n[bold]The ledger[/]  in another terminal, for as long as this runs:\n")
    console.print(f"TALKMETER_DATABASE_URL={app.settings.database_url} \\\n{_command()} ledger list")
    console.print(f"\n{_real_api_hint()}")


async def _show_the_console(console: Console, stage: Stage) -> None:
    link = await asyncio.to_thread(stage.sign_in_link)
    console.print("\n[bold]The console[/]  with nine weeks of made-up calls too; the link works once:\n")
    console.print(link)
    console.print("\nCtrl-C stops the demo.")


def _real_api_hint() -> str:
    name = _command()
    words = ("tenant create acme", "key create --tenant acme", "serve")
    steps = "\n".join(f"  {name} {word}" for word in words)
    if os.environ.get(PLAIN_UPSTREAM_KEY):
        return f"{PLAIN_UPSTREAM_KEY} is set. To meter the real API with it:\n{steps}"
    return f"To meter the real API, set {PLAIN_UPSTREAM_KEY}; then\n{steps}"


def _command() -> str:
    """Return what to type for `talkmeter`: in a checkout it is not on the PATH."""
    beside = Path(sys.executable).with_name("talkmeter")
    if shutil.which("talkmeter") or not beside.is_file():
        return "talkmeter"
    return str(beside.relative_to(Path.cwd()) if beside.is_relative_to(Path.cwd()) else beside)


def _interrupted() -> asyncio.Event:
    """Return an event that Ctrl-C sets."""
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted.set)
    return interrupted

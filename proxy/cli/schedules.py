"""`talkmeter schedule`: reports that are sent by themselves."""

from dataclasses import fields
from functools import partial
from typing import Annotated, Any

import typer

from proxy.admin.reconciling import Reconciler
from proxy.cli import query
from proxy.cli.output import (
    ID,
    NUMBER,
    JsonOption,
    ReasonOption,
    act,
    database,
    note,
    print_json,
    print_table,
    settings,
)
from proxy.cli.payers import AnyTenantOption
from proxy.cli.root import app
from proxy.core.announced import Channel
from proxy.core.timetable import Every, Timetable, parse_on, parse_time
from proxy.processes.control_config import bill_config
from proxy.settings import PREFIX
from proxy.store import schedules
from proxy.store.database import reading, writing
from proxy.store.occurrences import make_now
from proxy.store.receivers import SHAPE, parse_targets
from proxy.store.schedule_log import list_log
from proxy.store.schedules import Content, Schedule, Wanted

schedule = typer.Typer(no_args_is_help=True, help="Reports that are sent by themselves.")
app.add_typer(schedule, name="schedule")

LOG_ROWS_MAX = 1_000
AT = "08:00"
NameArgument = Annotated[str, typer.Argument(help="The schedule's name or id.")]
OfTenantOption = Annotated[str | None, typer.Option("--tenant", help="The one that this tenant has.")]


@schedule.command("set")
def set_schedule(
    name: str,
    to: Annotated[list[str], typer.Option(help=f"{SHAPE}; repeatable.")],
    report: Annotated[str | None, typer.Option(help="Send this saved report (name or id).")] = None,
    digest: Annotated[bool, typer.Option("--digest", help="Send how the day, week or month went.")] = False,
    anomaly: Annotated[
        bool, typer.Option("--anomaly", help="Send unusual hours: at once, or a list of them with --every.")
    ] = False,
    reconciliation: Annotated[
        bool, typer.Option("--reconciliation", help="Compare the days before with the provider's bill.")
    ] = False,
    every: Annotated[Every | None, typer.Option(help="How often.")] = None,
    at: Annotated[str, typer.Option(help="HH:MM on the wall of --tz.")] = AT,
    on: Annotated[
        str | None, typer.Option(help="A weekday's name; or a day of the month, 31 being its last one.")
    ] = None,
    tz: query.ZoneOption = None,
    tenant: Annotated[
        str | None, typer.Option(help="About this tenant (name or id), in what it owes.")
    ] = None,
    reason: ReasonOption = None,
    json: JsonOption = False,
) -> None:
    """Set what is sent when and to whom, in the place of what is set by that name."""
    if every is None and on is not None:
        raise typer.BadParameter("it needs --every week or month", param_hint="--on")
    given = settings()
    content = _content(report, digest, anomaly, reconciliation)
    table = None if every is None else _timetable(every, at, on, tz or given.period_timezone)
    with database(given) as engine, writing(engine) as connection:
        wanted = Wanted(name, content, table, parse_targets(to), report)
        made = schedules.set_schedule(connection, wanted, act(reason), tenant=tenant)
    if given.smtp_url is None and any(one.channel == Channel.EMAIL for one in made.to):
        note(f"{PREFIX}SMTP_URL is not set here: `talkmeter serve` needs it to send e-mail.")
    if json:
        print_json(_as_json(made))
        return
    typer.echo(f"Schedule {made.name} is set: {_when(made)}, to {', '.join(one.to for one in made.to)}.")


@schedule.command("list")
def list_schedules(tenant: AnyTenantOption = None, json: JsonOption = False) -> None:
    """List schedules, with when each is due next."""
    with database() as engine, reading(engine) as connection:
        found = schedules.list_schedules(connection, tenant)
    if json:
        print_json([_as_json(one) for one in found])
        return
    rows = [
        (
            one.name,
            one.tenant or "all",
            one.report or one.content.value,
            _when(one),
            ", ".join(receiver.to for receiver in one.to) or "nobody",
            one.next_at,
            one.id,
        )
        for one in found
    ]
    titles = ("Name", "Tenant", "Sends", "When", "To", "Next", ("Id", ID))
    print_table(titles, rows, spare=("Id", "To"))


@schedule.command("run")
def run_schedule(
    name: NameArgument, tenant: OfTenantOption = None, reason: ReasonOption = None, json: JsonOption = False
) -> None:
    """Send what would be due now, to try it out. The next time stays as it is."""
    given = settings()
    reconciler = Reconciler(bill_config(given), given.model_aliases)
    with database(given) as engine:
        with reading(engine) as connection:
            found = schedules.find_schedule(connection, name, tenant)
        made = make_now(engine, found, act(reason), partial(reconciler.run_last, engine))
    if json:
        print_json({"id": found.id, "name": found.name, "due_at": made.due_at, "problem": made.problem})
        return
    typer.echo(
        f"{found.name} is on its way, when `talkmeter serve` runs: see `talkmeter schedule deliveries`."
    )
    if made.problem is not None:
        note(f"It only says that there is no report: {made.problem}")


@schedule.command("remove")
def remove_schedule(
    name: NameArgument, tenant: OfTenantOption = None, reason: ReasonOption = None, json: JsonOption = False
) -> None:
    """Remove a schedule: nothing more is sent. What it was stays in the audit log."""
    with database() as engine, writing(engine) as connection:
        found = schedules.find_schedule(connection, name, tenant)
        schedules.remove_schedule(connection, found.id, act(reason))
    print_json(_as_json(found)) if json else typer.echo(f"Schedule {found.name} is removed.")


@schedule.command("deliveries")
def list_deliveries(
    name: Annotated[
        str | None, typer.Option("--schedule", help="Only of this schedule (name or id).")
    ] = None,
    tenant: OfTenantOption = None,
    limit: Annotated[int, typer.Option(min=1, max=LOG_ROWS_MAX, help="How many of the newest.")] = 50,
    json: JsonOption = False,
) -> None:
    """List what was sent, the newest first: how often each was tried, and how that went."""
    with database() as engine, reading(engine) as connection:
        one = None if name is None else schedules.find_schedule(connection, name, tenant).id
        found = list_log(connection, schedule_id=one, limit=limit)
    if json:
        print_json(found)
        return
    rows = [
        (
            one.id,
            one.schedule,
            one.due_at,
            one.to,
            one.state,
            one.attempts,
            one.error or one.problem,
            one.next_at,
            one.skipped or None,
        )
        for one in found
    ]
    titles = (
        ("Id", NUMBER),
        "Schedule",
        "Due",
        "To",
        "State",
        ("Attempts", NUMBER),
        "Error",
        "Next",
        ("Skipped before", NUMBER),
    )
    print_table(titles, rows, spare=("Next", "Due"))


def _content(report: str | None, digest: bool, anomaly: bool, reconciliation: bool) -> Content:
    wanted = {
        Content.REPORT: report is not None,
        Content.DIGEST: digest,
        Content.ANOMALY: anomaly,
        Content.RECONCILIATION: reconciliation,
    }
    found = [content for content, is_wanted in wanted.items() if is_wanted]
    if len(found) != 1:
        what = "give one of --report NAME, --digest, --anomaly and --reconciliation"
        raise typer.BadParameter(what, param_hint="--report")
    return found[0]


def _timetable(every: Every, at: str, on: str | None, tz: str) -> Timetable:
    try:
        return Timetable(every, parse_time(at), query.zone_of(tz), parse_on(every, on))
    except ValueError as problem:
        raise typer.BadParameter(str(problem), param_hint="--at/--on") from None


def _when(one: Schedule) -> str:
    when = one.when
    if when["every"] is None:
        return "at once"
    on = f" on {when['on']}" if when["on"] else ""
    return f"every {when['every']}{on} at {when['at']} ({when['tz']})"


def _as_json(one: Schedule) -> dict[str, Any]:
    shown = {field.name: getattr(one, field.name) for field in fields(one) if field.name != "timetable"}
    return {**shown, "content": one.content.value, **one.when}

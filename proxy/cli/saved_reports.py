"""`talkmeter report save`, `saved`, `run`, `rename` and `forget`: questions that are asked again."""

from typing import Annotated, Literal

import typer

from proxy.cli import query
from proxy.cli.costs import print_report, report
from proxy.cli.output import (
    ID,
    JsonOption,
    ReasonOption,
    act,
    database,
    now,
    print_json,
    print_table,
    settings,
)
from proxy.cli.payers import AnyTenantOption
from proxy.core.spans import SHAPE
from proxy.store import saved_reports
from proxy.store.database import reading, writing
from proxy.store.filters import Filters
from proxy.store.reports import CostQuery
from proxy.store.saved_reports import SavedReport, Wanted

NameArgument = Annotated[str, typer.Argument(help="The saved report's name or id.")]
OfTenantOption = Annotated[str | None, typer.Option("--tenant", help="The one that this tenant has.")]


@report.command("save")
def save_report(
    name: str,
    span: Annotated[str, typer.Option(help=f"{SHAPE}.")] = "last-month",
    group_by: query.GroupByOption = query.GROUP_BY,
    tz: query.ZoneOption = None,
    tenant: Annotated[
        str | None, typer.Option(help="It is of this tenant (name or id) and about it alone.")
    ] = None,
    project: query.ProjectOption = None,
    key: query.KeyOption = None,
    model: query.ModelOption = None,
    end_user: query.EndUserOption = None,
    tag: query.TagOption = None,
    kind: query.KindOption = None,
    status: query.StatusOption = None,
    meter: query.MeterOption = None,
    modality: query.ModalityOption = None,
    unrated: query.UnratedOption = False,
    estimated: query.EstimatedOption = False,
    count_sessions: query.SessionsOption = False,
    reason: ReasonOption = None,
    json: JsonOption = False,
) -> None:
    """Save a report by name, in the place of the one that has it: with the options of `report` and a span."""
    given = settings()
    filters = query.checked(
        Filters(
            project=project,
            key=key,
            model=model,
            end_user=end_user,
            tag=tag,
            kind=kind,
            status=status,
            meter=meter,
            modality=modality,
            unrated=unrated,
            estimated=estimated,
        )
    )
    zone = query.zone_of(given.period_timezone if tz is None else tz)
    asked = CostQuery(query.groups_of(group_by), filters, zone, count_sessions=count_sessions)
    with database(given) as engine, writing(engine) as connection:
        saved = saved_reports.save_report(connection, Wanted(name, asked, span), act(reason), tenant=tenant)
    _tell(saved, "is saved", json)


@report.command("saved")
def list_saved(tenant: AnyTenantOption = None, json: JsonOption = False) -> None:
    """List saved reports."""
    with database() as engine, reading(engine) as connection:
        found = saved_reports.list_reports(connection, tenant)
    if json:
        print_json(found)
        return
    rows = [
        (
            one.name,
            one.tenant or "all",
            one.span,
            ", ".join(one.query["group_by"]),
            ", ".join(f"{name}={value}" for name, value in one.query["filters"].items()),
            one.query["zone"],
            one.id,
        )
        for one in found
    ]
    titles = ("Name", "Tenant", "Span", "Grouped by", "Only", "Zone", ("Id", ID))
    print_table(titles, rows, spare=("Id", "Zone"))


@report.command("run")
def run_saved(
    name: NameArgument,
    tenant: OfTenantOption = None,
    format: Annotated[Literal["table", "json", "csv"], typer.Option(help="What to print.")] = "table",
    json: JsonOption = False,
) -> None:
    """Run a saved report, about the span that it means today."""
    with database() as engine:
        with reading(engine) as connection:
            found = saved_reports.find_report(connection, name, tenant)
        answer = saved_reports.run_saved(engine, found, now(), is_billed=False)
    print_report(answer, "json" if json else format)


@report.command("rename")
def rename_report(
    name: NameArgument,
    to: Annotated[str, typer.Argument(help="Its new name.")],
    tenant: OfTenantOption = None,
    reason: ReasonOption = None,
    json: JsonOption = False,
) -> None:
    """Give a saved report another name. Schedules go on sending it."""
    with database() as engine, writing(engine) as connection:
        found = saved_reports.find_report(connection, name, tenant)
        renamed = saved_reports.rename_report(connection, found.id, to, act(reason))
    _tell(renamed, "is its name now", json)


@report.command("forget")
def forget_report(
    name: NameArgument, tenant: OfTenantOption = None, reason: ReasonOption = None, json: JsonOption = False
) -> None:
    """Forget a saved report. What it was stays in the audit log."""
    with database() as engine, writing(engine) as connection:
        found = saved_reports.find_report(connection, name, tenant)
        saved_reports.forget_report(connection, found.id, act(reason))
    _tell(found, "is forgotten", json)


def _tell(one: SavedReport, what: str, json: bool) -> None:
    if json:
        print_json(one)
        return
    whose = f" of tenant {one.tenant}" if one.tenant else ""
    typer.echo(f"Report {one.name}{whose} {what}: {one.span}.")

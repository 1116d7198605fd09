"""`talkmeter tenant`, `project` and `key`: who pays, and what proves it."""

import re
from datetime import timedelta
from typing import Annotated

import typer

from proxy.cli.output import (
    ID,
    JsonOption,
    ReasonOption,
    act,
    as_json,
    database,
    instant,
    pepper_of,
    print_json,
    print_table,
    settings,
)
from proxy.cli.root import app
from proxy.store import key_rotation, tenants
from proxy.store.database import reading, writing
from proxy.store.instants import format_instant

tenant = typer.Typer(no_args_is_help=True, help="Who pays.")
project = typer.Typer(no_args_is_help=True, help="Parts of a tenant.")
key = typer.Typer(no_args_is_help=True, help="API keys: what an app proves its tenant with.")
app.add_typer(tenant, name="tenant")
app.add_typer(project, name="project")
app.add_typer(key, name="key")

_LASTS = re.compile(r"([0-9]{1,8})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

TenantOption = Annotated[str, typer.Option("--tenant", help="The tenant's name or id.")]
AnyTenantOption = Annotated[str | None, typer.Option("--tenant", help="Only of this tenant (name or id).")]


@tenant.command("create")
def create_tenant(name: str, json: JsonOption = False) -> None:
    """Create a tenant."""
    with database() as engine, writing(engine) as connection:
        made = tenants.create_tenant(connection, name, act())
    print_json(made) if json else typer.echo(f"Tenant {made.name} was created ({made.id}).")


@tenant.command("list")
def list_tenants(json: JsonOption = False) -> None:
    """List all tenants, archived ones too."""
    with database() as engine, reading(engine) as connection:
        found = tenants.list_tenants(connection)
    if json:
        print_json(found)
    else:
        rows = [(one.name, one.id, one.created_at, one.archived_at) for one in found]
        print_table(("Tenant", ("Id", ID), "Created", "Archived"), rows)


@tenant.command("archive")
def archive_tenant(name: str, reason: ReasonOption = None, json: JsonOption = False) -> None:
    """Archive a tenant: its keys stop working, its ledger stays."""
    with database() as engine, writing(engine) as connection:
        found = tenants.archive_tenant(connection, name, act(reason))
    print_json(found) if json else typer.echo(f"Tenant {found.name} is archived; its keys no longer work.")


@project.command("create")
def create_project(name: str, tenant: TenantOption, json: JsonOption = False) -> None:
    """Create a project of a tenant."""
    with database() as engine, writing(engine) as connection:
        made = tenants.create_project(connection, tenant, name, act())
    print_json(made) if json else typer.echo(f"Project {made.name} of {made.tenant} was created ({made.id}).")


@project.command("list")
def list_projects(tenant: AnyTenantOption = None, json: JsonOption = False) -> None:
    """List projects, archived ones too."""
    with database() as engine, reading(engine) as connection:
        found = tenants.list_projects(connection, tenant)
    if json:
        print_json(found)
    else:
        rows = [(one.tenant, one.name, one.id, one.created_at, one.archived_at) for one in found]
        print_table(("Tenant", "Project", ("Id", ID), "Created", "Archived"), rows)


@project.command("archive")
def archive_project(
    name: str, tenant: TenantOption, reason: ReasonOption = None, json: JsonOption = False
) -> None:
    """Archive a project: its keys stop working, its ledger stays."""
    with database() as engine, writing(engine) as connection:
        found = tenants.archive_project(connection, tenant, name, act(reason))
    print_json(found) if json else typer.echo(f"Project {found.name} of {found.tenant} is archived.")


@key.command("create")
def create_key(
    tenant: TenantOption,
    project: Annotated[str | None, typer.Option(help="A project of the tenant; made when missing.")] = None,
    name: Annotated[str, typer.Option(help="What the key is for.")] = "",
    expires: Annotated[str | None, typer.Option(help="A day or an instant from which it is refused.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for every session; repeatable.")] = None,
    json: JsonOption = False,
) -> None:
    """Create an API key. Its secret is shown this once."""
    expires_at, tags = instant("--expires", expires), _tags(tag or [])
    given = settings()
    with database(given) as engine:
        pepper = pepper_of(given, engine)
        with writing(engine) as connection:
            made, secret = tenants.create_key(
                connection,
                pepper,
                tenant_name=tenant,
                project_name=project,
                name=name,
                expires_at=expires_at,
                tags=tags,
                act=act(),
            )
    if json:
        print_json({"id": made.id, "secret": secret, **as_json(made)})
    else:
        part = f", project {made.project}" if made.project else ""
        typer.echo(f"Key {made.id} of tenant {made.tenant}{part}. This is its secret; it is not shown again:")
        typer.echo(f"\n  {secret}\n")


def _tags(pairs: list[str]) -> dict[str, str]:
    tags: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not (name and equals and value):
            raise typer.BadParameter(f"{pair!r} is not NAME=VALUE", param_hint="--tag")
        if name in tags:
            raise typer.BadParameter(f"{name!r} is given twice", param_hint="--tag")
        tags[name] = value
    return tags


@key.command("list")
def list_keys(tenant: AnyTenantOption = None, json: JsonOption = False) -> None:
    """List API keys, revoked ones too."""
    with database() as engine, reading(engine) as connection:
        found = tenants.list_keys(connection, tenant)
    if json:
        print_json(found)
        return
    titles = (
        ("Key", ID),
        ("Begins", ID),
        "Tenant",
        "Project",
        "Name",
        "Tags",
        "Created",
        "Expires",
        "Revoked",
        ("Replaced by", ID),
    )
    rows = [
        (
            one.id,
            f"{one.prefix}…",
            one.tenant,
            one.project,
            one.name,
            ", ".join(f"{name}={value}" for name, value in one.tags.items()),
            one.created_at,
            one.expires_at,
            one.revoked_at,
            one.replaced_by,
        )
        for one in found
    ]
    print_table(titles, rows, spare=("Begins", "Created", "Tags", "Name"))


@key.command("revoke")
def revoke_key(id: str, reason: ReasonOption = None, json: JsonOption = False) -> None:
    """Revoke an API key for good. Its live sessions end within two seconds."""
    with database() as engine, writing(engine) as connection:
        found = tenants.revoke_key(connection, id, act(reason))
    print_json(found) if json else typer.echo(f"Key {found.id} of tenant {found.tenant} is revoked.")


@key.command("rotate")
def rotate_key(
    id: str,
    overlap: Annotated[
        str, typer.Option(help="How long both keys work: a number and s, m, h or d; at most 90d.")
    ] = "24h",
    expires: Annotated[
        str | None,
        typer.Option(help="When the new key expires; else it lives as long as the old one was made to."),
    ] = None,
    reason: ReasonOption = None,
    json: JsonOption = False,
) -> None:
    """Make a key in another's place. Both work for a while, then the old one's live sessions end."""
    lasts, expires_at, doing = _lasts(overlap), instant("--expires", expires), act(reason)
    given = settings()
    with database(given) as engine:
        pepper = pepper_of(given, engine)
        with writing(engine) as connection:
            done, secret = key_rotation.rotate_key(
                connection, pepper, id, until=doing.at + lasts, expires_at=expires_at, act=doing
            )
    if json:
        carried = {"limits": done.limits, "models": done.models, "budgets": done.budgets}
        print_json({**as_json(done.new), "secret": secret, "old": as_json(done.old), **carried})
        return
    ends = format_instant(done.old.expires_at) if done.old.expires_at else "now"
    typer.echo(
        f"Key {done.new.id} of tenant {done.new.tenant} takes the place of {id}, which works until {ends}."
    )
    copied = [*done.limits, *(f"rule about {one}" for one in done.models)]
    typer.echo(f"Limits and rules that it was given: {', '.join(copied) or 'none'}.")
    if done.budgets:
        typer.echo(f"Budgets that it was given, and that count from nothing: {', '.join(done.budgets)}.")
    typer.echo("This is its secret; it is not shown again:")
    typer.echo(f"\n  {secret}\n")


def _lasts(text: str) -> timedelta:
    found = _LASTS.fullmatch(text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no length of time, such as 24h", param_hint="--overlap")
    return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])

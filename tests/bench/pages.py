"""Every page of the console over a large ledger: how long each takes, on both databases.

They are asked of a control plane over a socket, by somebody who is signed in: every address that is read, and
of long lists a deep page and some filters.
"""

import asyncio
import contextlib
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote, urlencode

from rich.console import Console
from rich.table import Table
from sqlalchemy import URL, Engine, func, make_url, select, text

from proxy.admin.api.pages import encode
from proxy.console.visitors import COOKIE
from proxy.core.periods import month_before, month_of
from proxy.store.database import migrate, open_database, reading
from proxy.store.schema import audit, ledger_entry, outbox, session
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import Asking, asking
from tests.bench import ledger
from tests.bench.furniture import MANY, furnish
from tests.bench.report import Limit
from tests.console.every_page import addresses
from tests.console.visiting import visitor
from tests.generated import LINES_PER_ENTRY
from tests.postgres import NoPostgres, running_server

ENTRIES = 1_000_000
PAGE_S_MAX = 0.5
RUNS = 5  # of each page; what counts is their median
SHOWN_MAX = 30  # of the slowest pages
SETTLE_S = 10.0  # for what the control plane looks after when it begins
KEPT = "kept.json"

Ids = dict[str, str]


@dataclass(frozen=True)
class Place:
    """A filled database: its URL, how many entries it has, and ids of what else there is."""

    database: str
    url: str
    entries: int
    ids: Mapping[str, str]


@dataclass(frozen=True)
class Seen:
    """One page: on what, its name and address, its size, how long it took each time, and of our own CPU."""

    database: str
    name: str
    address: str
    size_bytes: int
    seconds: Sequence[float]
    cpu_s: Sequence[float]

    @property
    def median_s(self) -> float:
        return median(self.seconds)


def measure(
    entries: int,
    console: Console,
    keep: Path | None = None,
    *,
    runs: int = RUNS,
    settle_s: float = SETTLE_S,
    many: int = MANY,
    named: str = "",
) -> tuple[dict[str, Any], list[Limit]]:
    """Fill, ask for all pages, show; return what was measured, and the goals.

    With `keep` the filled databases stay in that folder, or are taken from there. Only pages that
    have `named` in their name are asked for.
    """
    with contextlib.ExitStack() as stack:
        places = _kept(keep) if keep is not None else []
        if not places:
            console.print(f"generating {entries:,} entries, and what stands beside them", highlight=False)
            places = _fill(_urls(keep, stack, console), entries, many)
        if keep is not None:
            (keep / KEPT).write_text(json.dumps([asdict(one) for one in places], indent=1) + "\n")
        seen = [one for place in places for one in asyncio.run(_look(place, runs, settle_s, named))]
    show(seen, console)
    about = {one.database: one.entries for one in places}
    return {"entries": about, "pages": [asdict(one) for one in seen]}, goals(seen)


def goals(seen: Sequence[Seen]) -> list[Limit]:
    """Return the goals: of each database its slowest page, and all that take too long."""
    found = []
    for database in dict.fromkeys(one.database for one in seen):
        own = sorted((one for one in seen if one.database == database), key=lambda one: -one.median_s)
        late = [one for one in own if one.median_s > PAGE_S_MAX]
        found += [
            Limit(f"{database}: {one.name}", one.median_s, PAGE_S_MAX, "s") for one in (late or own[:1])
        ]
    return found


def show(seen: Sequence[Seen], console: Console) -> None:
    """Print the slowest pages, and what all take.

    The CPU time is that of this process: the control plane, whoever asks, and with SQLite the queries.
    """
    databases = list(dict.fromkeys(one.database for one in seen))
    by_name: dict[str, dict[str, Seen]] = {}
    for one in seen:
        by_name.setdefault(one.name, {})[one.database] = one
    slowest = sorted(by_name, key=lambda name: -max(one.median_s for one in by_name[name].values()))
    table = Table(title="Pages: milliseconds, the median of some runs (the slowest of them), and of CPU time")
    for column in ("page", *databases):
        table.add_column(column, justify="left" if column == "page" else "right")
    for name in slowest[:SHOWN_MAX]:
        table.add_row(name, *(_shown(by_name[name].get(database)) for database in databases))
    rest = len(slowest) - SHOWN_MAX
    if rest > 0:
        table.add_row(f"and {rest} more, all quicker", *("" for _ in databases))
    console.print(table)
    for database in databases:
        all_s = [one.median_s for one in seen if one.database == database]
        console.print(
            f"{database}: {len(all_s)} pages, half of them within {median(all_s) * 1000:.0f} ms",
            highlight=False,
        )


def _shown(one: Seen | None) -> str:
    if one is None:
        return "–"
    times = (one.median_s, max(one.seconds), median(one.cpu_s))
    return "{:.0f} ({:.0f}), {:.0f}".format(*(1000 * one for one in times))


# --- Databases


def _kept(folder: Path) -> list[Place]:
    """Return the databases that were kept in a folder, brought to this version's schema."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / KEPT
    places = [Place(**one) for one in json.loads(file.read_text())] if file.is_file() else []
    for place in places:
        engine = open_database(place.url, checkpoints=True)
        migrate(engine)
        engine.dispose()
    return places


def _urls(keep: Path | None, stack: contextlib.ExitStack, console: Console) -> dict[str, URL]:
    """Return where to fill a database of each kind. One that is kept needs a server that stays."""
    folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="talkmeter-bench-")))
    urls = {"SQLite": make_url(f"sqlite:///{folder}/talkmeter.db")}
    if keep is not None and not os.environ.get("TEST_DATABASE_URL"):
        console.print("PostgreSQL is left out: to keep it, name a server in TEST_DATABASE_URL", style="bold")
        return urls
    with contextlib.suppress(NoPostgres):
        urls["PostgreSQL"] = stack.enter_context(running_server()).create()
    return urls


def _fill(urls: Mapping[str, URL], entries: int, many: int) -> list[Place]:
    now = datetime.now(UTC)
    engines = {name: open_database(url, checkpoints=True) for name, url in urls.items()}
    for engine in engines.values():
        migrate(engine)
    ledger.fill(engines, round(entries * LINES_PER_ENTRY), now - timedelta(days=ledger.DAYS, hours=1))
    places = []
    for name, engine in engines.items():
        url = engine.url.render_as_string(hide_password=False)
        ids = asyncio.run(_furnish(url, now, many))
        places.append(Place(name, url, _entries(engine), ids))
        if engine.dialect.name == "postgresql":  # as its own vacuum does in time
            with engine.connect() as connection:
                connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM ANALYZE"))
        engine.dispose()
    return places


def _entries(engine: Engine) -> int:
    with reading(engine) as connection:
        return int(connection.execute(select(func.max(ledger_entry.c.id))).scalar_one())


async def _furnish(url: str, now: datetime, many: int) -> Ids:
    with tempfile.TemporaryDirectory(prefix="talkmeter-bench-") as folder:
        async with asking(Path(folder), url) as api:
            return await furnish(api, now, many)


# --- Pages


async def _look(place: Place, runs: int, settle_s: float, named: str) -> list[Seen]:
    """Ask for all pages of a database, each several times in a row."""
    with tempfile.TemporaryDirectory(prefix="talkmeter-bench-") as folder:
        async with asking(Path(folder), place.url) as api:
            await asyncio.sleep(settle_s)
            whole, part = _secrets(api, place.ids["tenant"])
            asked = [(name, address, whole) for name, address in _addresses(place, api.engine).items()]
            asked += [
                (f"{address}, for a viewer of two tenants", address, part)
                for address in ("/", "/sessions", "/ledger", "/reports", "/reports/forecast")
            ]
            return [await _ask(api, place.database, *one, runs=runs) for one in asked if named in one[0]]


def _secrets(api: Asking, busy: str) -> tuple[str, str]:
    people = visitor(api), visitor(api, TokenRole.VIEWER, busy, "acme")
    return people[0].secret or "", people[1].secret or ""


async def _ask(api: Asking, database: str, name: str, address: str, secret: str, *, runs: int) -> Seen:
    seconds, cpu_s = [], []
    body = b""
    for _ in range(runs):
        began, had = time.monotonic(), time.process_time()
        async with api.http.get(f"{api.url}{address}", headers={"Cookie": f"{COOKIE}={secret}"}) as answer:
            body = await answer.read()
            assert answer.status == 200, (name, address, answer.status)
        seconds.append(time.monotonic() - began)
        cpu_s.append(time.process_time() - had)
    return Seen(database, name, address, len(body), seconds, cpu_s)


def _addresses(place: Place, engine: Engine) -> dict[str, str]:
    """Return the addresses to ask for, by what they are called."""
    found = {page.path: address for page, address in addresses(place.ids).items()}
    now = datetime.now(UTC)
    this = month_of(now, UTC)
    last, ids = month_before(this), place.ids
    of = f"tenant={quote(ids['tenant'])}"
    month = f"from={last}-01&to={this}-01"
    recent = f"from={now - timedelta(days=90):%Y-%m-%d}"
    half = {"from": f"{last}-01", "to": f"{last}-16", "with_from": f"{month_before(last)}-01"}
    half |= {"with_to": f"{month_before(last)}-16", "group_by": "tenant,model"}
    return found | {
        "/, the month before": f"/?month={last}",
        "/, half a year before": f"/?month={_months_before(this, 6)}",
        "/reports/compare, half of two months": f"/reports/compare?{urlencode(half)}",
        "/reports, a month by tenant and model": f"/reports?group_by=tenant,model&{month}",
        "/reports, a month by day": f"/reports?group_by=day&{month}",
        "/reports, a month by key and meter": f"/reports?group_by=key,meter&{month}",
        "/reports, a month of a tenant by end user": f"/reports?group_by=end_user&{of}&{month}",
        **{f"{name}, deep": f"{name}?after={cursor}" for name, cursor in _deep(engine).items()},
        "/sessions, of a tenant": f"/sessions?{of}",
        "/sessions, of a key": f"/sessions?key={ids['key_id']}",
        "/sessions, of an end user": "/sessions?end_user=bob",
        "/sessions, that are lost": "/sessions?state=lost",
        "/sessions, by tag, 90 days": f"/sessions?tag=team%3Da&{recent}",
        "/sessions, by a tag that none has, 90 days": f"/sessions?tag=team%3Dz&{recent}",
        "/ledger, of a tenant": f"/ledger?{of}",
        "/ledger, of a tenant's month": f"/ledger?{of}&{month}",
        "/ledger, of a model, oldest first": f"/ledger?model=gpt-realtime-mini&{recent}&order=oldest",
        "/ledger, unrated": f"/ledger?unrated=true&{month}",
        "/ledger, of a period": f"/ledger?period={last}",
        "/ledger, credits": "/ledger?kind=credit",
        "/ledger, of a session": f"/ledger?session={ids['session_id']}",
        "/audit, of an actor": "/audit?actor=api:person*",
        "/alerts, cuts": "/alerts?kind=budget.cut",
        "/statements, of a month": "/statements?period=2026-10",
    }


def _months_before(month: str, count: int) -> str:
    for _ in range(count):
        month = month_before(month)
    return month


def _deep(engine: Engine) -> Mapping[str, str]:
    """Return a place in the middle of each long list, as its pages have it in their addresses."""
    opened = session.c.opened_at
    with reading(engine) as connection:
        sessions = connection.execute(select(func.count()).select_from(session)).scalar_one()
        query = select(opened, session.c.id).order_by(opened).offset(sessions // 2).limit(1)
        found = {"/sessions": encode(tuple(connection.execute(query).one()))}
        for name, table in (("/ledger", ledger_entry), ("/audit", audit), ("/alerts", outbox)):
            last = connection.execute(select(func.max(table.c.id))).scalar_one()
            found[name] = encode((last // 2,))
    return found

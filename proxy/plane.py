"""The parts of a data plane: what it keeps (`Stores`), and what it does with traffic (`Plane`)."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from prometheus_client import CollectorRegistry
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from proxy import __version__
from proxy.clock import utc_now
from proxy.core.budget_use import overshoot
from proxy.core.money import NANOUSD_PER_USD
from proxy.core.records import SessionOpened
from proxy.core.usage import Flag
from proxy.observe.metrics import Metrics
from proxy.observe.sessions import SessionWatch
from proxy.past import PastSessions
from proxy.relay.dial import Dialer, UpstreamConfig
from proxy.relay.gateway import Gateway, GatewayConfig
from proxy.relay.handler import Handler
from proxy.settings import Settings
from proxy.spending import Spending
from proxy.store import StoreError, instances, schema
from proxy.store.catalog import Catalog
from proxy.store.database import describe, reachable, reading, ready_database
from proxy.store.journal import Journal
from proxy.store.lease_keeper import LeaseKeeper
from proxy.store.pepper import pepper_for
from proxy.store.periods import check_zone
from proxy.store.poster import Poster
from proxy.store.posting import Posting
from proxy.store.replay import Replayed, replay
from proxy.store.rollups import use_zone

FLUSH_S = 10  # for what the journal holds to reach the database at the end

logger = logging.getLogger(__name__)


# --- What it keeps


@dataclass(frozen=True, slots=True)
class Stores:
    """The database and the journal, ready; the metrics that tell of them."""

    engine: Engine
    journal: Journal
    poster: Poster
    leases: LeaseKeeper
    metrics: Metrics


@contextlib.asynccontextmanager
async def open_stores(
    settings: Settings, on_journal_failure: Callable[[Exception], None]
) -> AsyncIterator[Stores]:
    """Open the database and the journal, settle what a crash left open, and start to post.

    Raises:
        StoreError: one of them cannot be used.
    """
    metrics = Metrics(CollectorRegistry(), __version__)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(instances.only_instance(settings.database_url))
        engine = await asyncio.to_thread(ready_database, settings.database_url, checkpoints=True)
        stack.callback(engine.dispose)
        await asyncio.to_thread(_check_zone, engine, settings)
        loop = asyncio.get_running_loop()
        journal = Journal.open(settings.journal, on_failure=on_journal_failure, loop=loop)
        stack.push_async_callback(journal.close)
        await asyncio.to_thread(_register, engine, journal, ZoneInfo(settings.period_timezone))
        _tell(await replay(journal))
        leases = LeaseKeeper(engine, journal.instance_id, utc_now, told=metrics.asked_for_money)
        poster = Poster(
            journal,
            engine,
            zone=ZoneInfo(settings.period_timezone),
            clock=utc_now,
            on_posted=_PostingWatch(metrics, engine, leases),
        )
        stack.push_async_callback(_end, engine, leases, journal)
        poster.start()
        stack.push_async_callback(poster.stop, FLUSH_S)
        _watch_stores(metrics, journal, poster)
        yield Stores(engine, journal, poster, leases, metrics)


def _check_zone(engine: Engine, settings: Settings) -> None:
    with reachable(engine), reading(engine) as connection:
        check_zone(connection, settings.period_timezone)


async def _end(engine: Engine, leases: LeaseKeeper, journal: Journal) -> None:
    """Give back what is leased, and say that nothing is left to be posted, if that is so."""
    await leases.stop(all_posted=journal.depth == 0)
    if journal.depth == 0 and not journal.parked:
        try:
            await asyncio.to_thread(instances.ended, engine, journal.instance_id, utc_now())
        except SQLAlchemyError as error:
            logger.warning("the database was not told that all is posted", extra={"error": error})


def _register(engine: Engine, journal: Journal, zone: ZoneInfo) -> None:
    with reachable(engine):
        use_zone(engine, zone)
        instances.register(engine, journal.instance_id, journal.path, __version__, utc_now())


def _tell(found: Replayed) -> None:
    if found.sessions or found.parked:
        facts = {"sessions": found.sessions, "estimated": found.subjects, "parked": found.parked}
        logger.warning("the last run did not end well: what it left open is settled", extra=facts)


class _PostingWatch:
    """Counts what reaches the ledger. Called in the poster's thread."""

    def __init__(self, metrics: Metrics, engine: Engine, leases: LeaseKeeper) -> None:
        self._metrics = metrics
        self._engine = engine
        self._leases = leases

    def __call__(self, posting: Posting) -> None:
        self._leases.posted(posting)
        self._metrics.wrote_to_ledger(posting.handled)
        self._metrics.posted.inc(len(posting.new))
        self._metrics.repeated.inc(posting.duplicates)
        self._metrics.conflicts.inc(posting.conflicts)
        if posting.conflicts:
            logger.error("the ledger has this with other figures", extra={"entries": posting.conflicts})
        for cut in posting.cuts:
            self._metrics.overshot(cut.overshoot_nanousd)
        self._metrics.budget_overshoot.inc(self._beyond(posting) / NANOUSD_PER_USD)
        for posted in posting.new:
            if Flag.ESTIMATE_CRASH in posted.entry.flags:  # no session of this run has counted it
                self._metrics.booked(posted.entry, self._tenant_name(posted.tenant_id))

    def _beyond(self, posting: Posting) -> int:
        """Return what a posting has charged to budgets beyond their amounts; not to those that only count."""
        budgets, now = self._leases.book().budgets, utc_now()
        beyond = 0
        for pot, charge in posting.charged.items():
            budget = budgets.get(pot.budget_id)
            if budget is not None and budget.holds:
                beyond += overshoot(budget.amount_at(now), charge.spent_nanousd, charge.amount_nanousd)
        return beyond

    def _tenant_name(self, tenant_id: str) -> str:
        named = select(schema.tenant.c.name).where(schema.tenant.c.id == tenant_id)
        with reading(self._engine) as connection:
            return str(connection.execute(named).scalar_one_or_none() or tenant_id)


def _watch_stores(metrics: Metrics, journal: Journal, poster: Poster) -> None:
    """Let the gauges be read from their sources whenever somebody scrapes."""
    metrics.journal_depth.set_function(lambda: journal.depth)
    metrics.journal_lag.set_function(lambda: journal.lag_s)
    metrics.journal_parked.set_function(lambda: journal.parked)
    metrics.journal_accepting.set_function(lambda: journal.accepting)
    metrics.poster_up.set_function(lambda: poster.healthy)
    ring = journal.on_commit

    def on_commit() -> None:  # in the journal's thread
        metrics.journal_commit.observe(journal.last_commit_s)
        if ring is not None:
            ring()

    journal.on_commit = on_commit


# --- What it does


@dataclass(frozen=True, slots=True)
class Plane:
    """The relay, ready for its ports."""

    gateway: Gateway
    handler: Handler
    catalog: Catalog
    metrics: Metrics
    journal: Journal

    async def not_ready(self) -> list[str]:
        """Return why nobody should be sent here now."""
        problems = (
            (self.gateway.is_draining, "draining"),
            (not self.journal.accepting, "the journal takes no new sessions: its disk is full or failing"),
        )
        return [problem for is_so, problem in problems if is_so]


@contextlib.asynccontextmanager
async def data_plane(settings: Settings, stores: Stores) -> AsyncIterator[Plane]:
    """Load the catalogue and make the gateway.

    Raises:
        SettingsError: there is no upstream key.
        StoreError: the catalogue cannot be read, or there is no pepper.
    """
    upstream = upstream_config(settings)
    catalog = await asyncio.to_thread(_load_catalog, settings, stores)
    try:
        gateway = _gateway(settings, stores, catalog, upstream.account)
        gateway.start()
        zone = ZoneInfo(settings.period_timezone)
        spending = Spending(stores.engine, lambda: catalog.budgets, utc_now, zone)
        past = PastSessions(stores.engine, utc_now, stores.poster.posted_up_to_now)
        handler = Handler(gateway, Dialer(upstream), past, spending)
        yield Plane(gateway, handler, catalog, stores.metrics, stores.journal)
    finally:
        await asyncio.to_thread(catalog.stop)


def upstream_config(settings: Settings) -> UpstreamConfig:
    """Return where the voice API is and who we are there; raises SettingsError without a key."""
    return UpstreamConfig(
        url=settings.upstream_url,
        api_key=settings.need_upstream_key(),
        organization=settings.upstream_organization,
        project=settings.upstream_project,
    )


def _load_catalog(settings: Settings, stores: Stores) -> Catalog:
    engine = stores.engine
    configured = settings.key_pepper.get_secret_value() if settings.key_pepper else None
    with reachable(engine):
        pepper = pepper_for(engine, configured)
    catalog = Catalog(engine, pepper, aliases=settings.model_aliases)
    catalog.start()
    stores.leases.book = lambda: catalog.budgets
    catalog.on_change = stores.leases.look
    if not catalog.healthy:
        catalog.stop()
        raise StoreError(f"The keys and prices in {describe(settings.database_url)} cannot be read.")
    return catalog


def _gateway(settings: Settings, stores: Stores, catalog: Catalog, account: str | None) -> Gateway:
    def tenant_name(opened: SessionOpened) -> str:
        live = gateway.sessions.get(opened.session_id)
        return live.principal.tenant if live else opened.tenant_id

    gateway = Gateway(
        GatewayConfig(
            account=account,
            sessions_max=settings.sessions_max,
            message_bytes_max=settings.message_bytes_max,
            linger_s=settings.linger_s,
            stall_s=settings.stall_s,
            idle_timeout_s=settings.idle_timeout_s,
            drain_s=settings.drain_s,
        ),
        catalog=catalog,
        journal=stores.journal,
        budgets=stores.leases,
        metrics=stores.metrics,
        watch=SessionWatch(stores.metrics, tenant_name),
        clock=utc_now,
    )
    return gateway

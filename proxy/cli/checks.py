"""What `talkmeter check` looks at before `serve` is trusted with traffic. Nothing here changes anything."""

import os
import shutil
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import Engine, func, select

from proxy.admin.listen import ListenError, bind, tls_context
from proxy.admin.mail import greet
from proxy.core.mail_relay import parse_relay
from proxy.settings import Address, Settings, SettingsError
from proxy.store import StoreError
from proxy.store.chain import chain
from proxy.store.database import check_version, describe, open_database, reachable, reading, sqlite_path
from proxy.store.periods import check_zone
from proxy.store.reserve import FREE_BYTES_MIN, RESERVE_BYTES
from proxy.store.roles import is_protected
from proxy.store.schema import rate_card

UPSTREAM_TIMEOUT_S = 5
CLOCK_DIFFERENCE_S_MAX = 5
BUILT_AFTER = datetime(2026, 1, 1, tzinfo=UTC)  # no Talkmeter is older, so no right clock says less
MIB = 1024 * 1024


class Problem(Exception):
    """Something `serve` would stumble over. The text says what it is and what to do."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    ok: bool
    text: str


def run_checks(settings: Settings) -> Iterator[Finding]:
    """Yield a finding for each thing that `serve` needs, in the order in which it needs them."""
    checks: tuple[tuple[str, Callable[[Settings], str]], ...] = (
        ("upstream key", _upstream_key),
        ("TLS", _tls),
        ("database", _database),
        ("ledger", _ledger),
        ("periods", _periods),
        ("prices", _prices),
        ("journal", _journal),
        ("apps' port", _listen),
        ("control port", _admin_listen),
        ("upstream", _upstream),
        ("mail", _mail),
        ("clock", _clock),
    )
    for name, check in checks:
        try:
            yield Finding(name, True, check(settings))
        except (Problem, SettingsError, ListenError, StoreError) as problem:
            yield Finding(name, False, str(problem))


def _upstream_key(settings: Settings) -> str:
    settings.need_upstream_key()
    return "set; whether it is valid shows with the first session"


def _tls(settings: Settings) -> str:
    if settings.tls_cert is None or settings.tls_key is None:
        return "off: both ports speak plain text"
    tls_context(settings.tls_cert, settings.tls_key)
    return f"on, with {settings.tls_cert}"


def _database(settings: Settings) -> str:
    where = describe(settings.database_url)
    if (path := _new_file(settings)) is not None:
        _writable_folder(path, "TALKMETER_DATABASE_URL")
        return f"{where} is new: `talkmeter serve` creates it"
    engine = open_database(settings.database_url)
    try:
        check_version(engine)
    finally:
        engine.dispose()
    return f"{where} can be reached and has this version's tables"


def _ledger(settings: Settings) -> str:
    if settings.is_embedded:
        return "its tables refuse changes; who can write the file could still make them"
    engine = open_database(settings.database_url)
    try:
        with reachable(engine), reading(engine) as connection:
            protected = is_protected(connection)
    finally:
        engine.dispose()
    if not protected:
        raise Problem(
            "the role in TALKMETER_DATABASE_URL owns the ledger's tables, and could change what is booked:"
            " run `talkmeter migrate --app-role ROLE` as this one, and serve as ROLE"
        )
    return "may be read and added to by this role, and not changed"


def _periods(settings: Settings) -> str:
    if _new_file(settings) is None:
        engine = open_database(settings.database_url)
        try:
            with reachable(engine), reading(engine) as connection:
                check_zone(connection, settings.period_timezone)
                closed_through = chain(connection).closed_through
        finally:
            engine.dispose()
        if closed_through is not None:
            return f"are months of {settings.period_timezone}, closed through {closed_through}"
    return f"are months of {settings.period_timezone}: the first close fixes that"


def _prices(settings: Settings) -> str:
    if _new_file(settings) is not None:
        return "come with the database"
    engine = open_database(settings.database_url)
    try:
        count = _count_cards(engine)
    finally:
        engine.dispose()
    if not count:
        raise Problem("there is no rate card, so nothing would have a price: run `talkmeter migrate`")
    return f"{count} rate cards"


def _count_cards(engine: Engine) -> int:
    with reachable(engine), reading(engine) as connection:
        return int(connection.execute(select(func.count()).select_from(rate_card)).scalar_one())


def _journal(settings: Settings) -> str:
    path = settings.journal
    _writable_folder(path, "TALKMETER_JOURNAL_PATH")
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        raise Problem(f"TALKMETER_JOURNAL_PATH is {str(path)!r}: this user may not write to it")
    free, needed = shutil.disk_usage(path.parent).free, RESERVE_BYTES + FREE_BYTES_MIN
    if free < needed:
        raise Problem(
            f"the disk of {path} has {free // MIB} MiB left: it should have {needed // MIB} or more"
        )
    return f"{path} can be written, {free // MIB:,} MiB are free"


def _listen(settings: Settings) -> str:
    return _free_port(settings.listen, "TALKMETER_LISTEN")


def _admin_listen(settings: Settings) -> str:
    return _free_port(settings.admin_listen, "TALKMETER_ADMIN_LISTEN")


def _free_port(address: Address, setting: str) -> str:
    bind(*address, setting).close()
    return f"{address} is free"


def _upstream(settings: Settings) -> str:
    """Connect and shake hands; send nothing."""
    parts = urlsplit(settings.upstream_url)
    secure = parts.scheme in ("https", "wss")
    host, port = str(parts.hostname), parts.port or (443 if secure else 80)
    try:
        with socket.create_connection((host, port), UPSTREAM_TIMEOUT_S) as connection:
            if secure:
                ssl.create_default_context().wrap_socket(connection, server_hostname=host).close()
    except ssl.SSLCertVerificationError as error:
        raise Problem(
            f"{host}:{port} shows a certificate that is not trusted: {error.verify_message}"
        ) from None
    except OSError as error:
        raise Problem(f"{host}:{port} cannot be reached: {error.strerror or error}") from None
    return f"{host}:{port} answers{' with TLS' if secure else ''}"


def _mail(settings: Settings) -> str:
    """Connect and log in; send nothing."""
    if settings.smtp_url is None or settings.smtp_from is None:
        return "off: no report goes out by e-mail"
    relay = parse_relay(settings.smtp_url.get_secret_value())
    sent = greet(relay, settings.smtp_from)
    if sent.error is not None:
        raise Problem(f"{relay.host}:{relay.port}: {sent.error}")
    return f"{relay.host}:{relay.port} takes mail from {settings.smtp_from}"


def _clock(settings: Settings) -> str:
    """Compare this machine's clock with what can be known: usage is priced and filed by it."""
    now = datetime.now(UTC)
    if now < BUILT_AFTER:
        raise Problem(f"this machine's clock says {now:%Y-%m-%d}: set it, usage is filed by it")
    if settings.is_embedded:
        return f"{now:%Y-%m-%d %H:%M:%S} UTC"
    engine = open_database(settings.database_url)
    try:
        difference = abs(_database_now(engine) - datetime.now(UTC))
    finally:
        engine.dispose()
    if difference > timedelta(seconds=CLOCK_DIFFERENCE_S_MAX):
        raise Problem(f"this machine's clock and the database's are {difference.total_seconds():.0f} s apart")
    return f"{now:%Y-%m-%d %H:%M:%S} UTC, as the database says too"


def _database_now(engine: Engine) -> datetime:
    with reachable(engine), reading(engine) as connection:
        now: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
        return now


def _new_file(settings: Settings) -> Path | None:
    """Return the embedded database's file when there is none yet."""
    path = sqlite_path(settings.database_url)
    return path if path is not None and not path.exists() else None


def _writable_folder(path: Path, setting: str) -> None:
    folder = path.parent
    if not folder.is_dir():
        raise Problem(f"{setting}: there is no folder {str(folder)!r}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Problem(f"{setting}: this user may not write to {str(folder)!r}")

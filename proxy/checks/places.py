"""Where this installation is reached: its ports, the address that people know, and who may read metrics."""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from proxy.admin.listen import ListenError, bind
from proxy.checks.findings import Finding, failed, ok, warning
from proxy.core.mail_relay import is_loopback
from proxy.settings import Address, Settings

ANSWER_S = 4.0
ANSWER_BYTES_MAX = 64 * 1024
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class _Stay(urllib.request.HTTPRedirectHandler):
    """Goes nowhere else: who has a port of ours must not send us to other machines."""

    def redirect_request(self, *_: Any) -> None:
        return None


def ask_ports(settings: Settings) -> Iterator[Finding]:
    """Yield what is found of "apps' port" and "control port"."""
    is_tls = settings.tls_cert is not None
    yield _port("apps' port", settings.listen, "TALKMETER_LISTEN", is_tls)
    yield _port("control port", settings.admin_listen, "TALKMETER_ADMIN_LISTEN", is_tls)


def _port(name: str, address: Address, setting: str, is_tls: bool) -> Finding:
    """Take the port and let it go. What has it already may be Talkmeter."""
    try:
        bind(*address, setting).close()
    except ListenError as error:
        reasons = talkmeter_at(address, is_tls=is_tls)
        if reasons is None:
            return failed(name, str(error), f"set {setting} to an address of this machine with a free port")
        if reasons:
            text = f"Talkmeter has {address}, and is not ready: {'; '.join(reasons)}"
            return warning(name, text, "see to what it says before it is sent traffic")
        return ok(name, f"Talkmeter has {address}, and is ready")
    return ok(name, f"{address} is free" if address.port else "the system chooses one")


def talkmeter_at(address: Address, *, is_tls: bool) -> list[str] | None:
    """Return why the Talkmeter there is not ready, nothing where it is; None: there is none.

    Its certificate is for the name that people know, not for this address: nothing is told to who answers.
    """
    host = _EVERYWHERE.get(address.host, address.host)
    url = f"{'https' if is_tls else 'http'}://{Address(host, address.port)}/readyz"
    try:
        return _reasons(_fetch(url))
    except (OSError, ValueError):  # among them refused, late, another protocol, no JSON
        return None


def _fetch(url: str) -> Any:
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls), _Stay()
    )
    try:
        with opener.open(url, timeout=ANSWER_S) as answer:
            return json.loads(answer.read(ANSWER_BYTES_MAX))
    except urllib.error.HTTPError as refused:
        with refused:
            return json.loads(refused.read(ANSWER_BYTES_MAX))


def _reasons(answer: Any) -> list[str] | None:
    if not isinstance(answer, dict) or answer.get("status") not in ("ready", "unready"):
        return None
    reasons = answer.get("reasons")
    return [str(one)[:200] for one in reasons] if isinstance(reasons, list) else None


def ask_addresses(settings: Settings) -> Iterator[Finding]:
    """Yield what is found of "public URL" and "metrics"."""
    yield public_url(settings)
    yield metrics(settings)


def public_url(settings: Settings) -> Finding:
    """Return whether people can sign in to the console where it is."""
    name, url = "public URL", settings.console_url
    is_only_here = is_loopback(urlsplit(url).hostname or "")
    if url.startswith("https://"):
        return ok(name, f"people reach the console at {url}")
    if settings.public_url is not None and not is_only_here:
        text = f"TALKMETER_PUBLIC_URL is {url}: over plain HTTP nobody may sign in from another machine"
        return warning(name, text, "put something that speaks TLS before it, and name its https:// address")
    if not is_loopback(settings.admin_listen.host):
        text = f"the control plane listens at {settings.admin_listen} without TLS: nobody there may sign in"
        to_do = "set TALKMETER_TLS_CERT and _KEY, or behind a proxy that speaks TLS TALKMETER_PUBLIC_URL"
        return warning(name, text, to_do)
    return ok(name, f"people reach the console at {url}, from this machine only")


def metrics(settings: Settings) -> Finding:
    """Return who may read `/metrics`."""
    if settings.metrics_token is not None:
        return ok("metrics", "who has TALKMETER_METRICS_TOKEN may read them")
    if is_loopback(settings.admin_listen.host):
        return ok("metrics", "this machine may read them, nobody else")
    text = f"the control plane listens at {settings.admin_listen}, and only this machine may read metrics"
    return warning("metrics", text, "set TALKMETER_METRICS_TOKEN, and give it to Prometheus")

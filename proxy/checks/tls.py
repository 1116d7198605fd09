"""Our own certificate, as a client sees it: whether it can be used, until when, and for which names.

A handshake in memory asks OpenSSL itself, and nothing of the network.
"""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from proxy.admin.listen import ListenError, tls_context
from proxy.checks.findings import Finding, failed, not_asked, ok, warning
from proxy.clock import utc_now
from proxy.settings import Settings

DAYS_WARNED = 21
NAMES_MAX = 5  # shown
STEPS_MAX = 10  # of a handshake: TLS 1.3 takes three
_NO_CHECK_TIME = 0x20_0000  # OpenSSL's X509_V_FLAG_NO_CHECK_TIME: when it ends is what is asked
_WRONG_NAME = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_RENEW = "renew it, and restart: certificates are read at the start"

Certificate = dict[str, Any]  # as `ssl` decodes it


def ask_tls(settings: Settings) -> Iterator[Finding]:
    """Yield what is found of "TLS", "TLS expiry" and "TLS names"."""
    if settings.tls_cert is None or settings.tls_key is None:
        yield not_asked("TLS", "off: both ports speak plain text")
        yield not_asked("TLS expiry", "TLS is off")
        yield not_asked("TLS names", "TLS is off")
        return
    server = tls_context(settings.tls_cert, settings.tls_key)
    certificate = _shown(server, settings.tls_cert, None)
    yield ok("TLS", f"{settings.tls_cert} and its key belong together; issued by {_issuer(certificate)}")
    yield expiry(certificate, utc_now())
    yield _names(server, settings.tls_cert, certificate, settings.public_url)


def expiry(certificate: Certificate, now: datetime) -> Finding:
    """Return whether a certificate holds now, and for how long it still does."""
    begins, ends = (_instant(certificate[name]) for name in ("notBefore", "notAfter"))
    name, left = "TLS expiry", ends - now
    if left <= timedelta(0):
        return failed(name, f"the certificate expired on {ends:%Y-%m-%d}, {-left.days} days ago", _RENEW)
    if begins > now:
        text = f"the certificate holds only from {begins:%Y-%m-%d %H:%M} UTC on"
        return failed(name, text, "wait, or set this machine's clock")
    text = f"the certificate expires on {ends:%Y-%m-%d}, in {left.days:,} days"
    return ok(name, text) if left.days >= DAYS_WARNED else warning(name, text, _RENEW)


def _names(server: ssl.SSLContext, path: Path, certificate: Certificate, public_url: str | None) -> Finding:
    """Return whether the certificate is for the name that people type; OpenSSL compares them."""
    name, shown = "TLS names", _its_names(certificate)
    host = urlsplit(public_url).hostname if public_url is not None else None
    if host is None:
        return ok(name, f"the certificate is for {shown}; TALKMETER_PUBLIC_URL says no name to compare")
    try:
        _shown(server, path, host)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code not in _WRONG_NAME:
            raise
        text = f"the certificate is for {shown}, and TALKMETER_PUBLIC_URL names {host}"
        return warning(name, text, f"have one issued for {host}, unless a proxy before it has its own")
    return ok(name, f"the certificate is for {host} (TALKMETER_PUBLIC_URL)")


def _shown(server: ssl.SSLContext, path: Path, host: str | None) -> Certificate:
    """Return the certificate that a client gets; one that trusts just this file, and minds no date.

    Raises:
        ListenError: no client could use it.
        ssl.SSLCertVerificationError: it is not for `host`.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(path)
    client.verify_flags |= ssl.VerifyFlags(ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME)
    client.check_hostname = host is not None
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    try:
        for _ in range(STEPS_MAX):
            done = [_step(end) for end in ends]
            if all(done):
                return dict(ends[0].getpeercert() or {})
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in _WRONG_NAME:
            raise
        raise ListenError(f"TALKMETER_TLS_CERT ({path}) serves no client: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise ListenError(f"TALKMETER_TLS_CERT ({path}) serves no client: {error.reason or error}") from None
    raise ListenError(f"TALKMETER_TLS_CERT ({path}) serves no client: the handshake does not end")


def _step(end: ssl.SSLObject) -> bool:
    """Go on as far as possible; tell whether this end is done."""
    try:
        end.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def _instant(text: str) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)


def _issuer(certificate: Certificate) -> str:
    parts = {name: value for part in certificate.get("issuer", ()) for name, value in part}
    return str(parts.get("organizationName") or parts.get("commonName") or "an unnamed authority")


def _its_names(certificate: Certificate) -> str:
    names = [str(value) for _, value in certificate.get("subjectAltName", ())]
    more = f" and {len(names) - NAMES_MAX} more" if len(names) > NAMES_MAX else ""
    return ", ".join(names[:NAMES_MAX]) + more if names else "no name at all"

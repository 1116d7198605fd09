"""What else is asked, where it is set: the provider's bill, who signs people in, the mail server."""

import asyncio
from collections.abc import Iterator

from proxy.admin.config import OidcConfig
from proxy.admin.mail import greet
from proxy.admin.provider_bill import BillSource, check_bill
from proxy.checks.findings import Finding, failed, not_asked, ok
from proxy.checks.names import look_up
from proxy.clock import utc_now
from proxy.console.asking import new_http
from proxy.console.identity import Refused
from proxy.console.oidc import Provider
from proxy.console.signing_in import CALLBACK
from proxy.core.mail_relay import parse_relay
from proxy.processes.control_config import bill_config, oidc_config
from proxy.settings import Settings

OIDC_ANSWER_S = 4.0  # for each of two


def ask_bill(settings: Settings) -> Iterator[Finding]:
    """Yield whether the provider's costs may be read."""
    bill = bill_config(settings)
    if bill.admin_key is None:
        yield not_asked("provider's bill", "TALKMETER_UPSTREAM_ADMIN_KEY is not set: it is not compared")
        return
    look_up(bill.url)
    check_bill(BillSource(bill.url, bill.admin_key, bill.organization), utc_now())
    yield ok("provider's bill", f"{bill.url} lets TALKMETER_UPSTREAM_ADMIN_KEY read its costs")


def ask_sign_in(settings: Settings) -> Iterator[Finding]:
    """Yield whether people can be sent to the identity provider and believed when they come back."""
    config = oidc_config(settings)
    if config is None:
        yield not_asked("sign-in", "TALKMETER_OIDC_ISSUER is not set: by password or link only")
        return
    callback = settings.console_url + CALLBACK
    look_up(config.issuer)
    found = asyncio.run(_look(config))
    if isinstance(found, Refused):
        yield failed("sign-in", found.text, "see docs/oidc.md: TALKMETER_OIDC_ISSUER, and what runs there")
    elif not found:
        text = f"{config.issuer} describes itself well, and publishes no key that can sign"
        yield failed("sign-in", text, "have it publish an RSA (2,048 bits or more) or EC key at its jwks_uri")
    else:
        text = f"{config.issuer} describes itself well, with {found} key{'s' * (found > 1)}"
        yield ok("sign-in", f"{text}; it has to know {callback} as redirect URI")


async def _look(config: OidcConfig) -> int | Refused:
    async with new_http() as http:
        return await Provider(config, http, answer_s=OIDC_ANSWER_S).look()


def ask_mail(settings: Settings) -> Iterator[Finding]:
    """Yield whether the mail server would take mail. It is sent none."""
    if settings.smtp_url is None or settings.smtp_from is None:
        yield not_asked("mail", "TALKMETER_SMTP_URL is not set: nothing goes out by e-mail")
        return
    relay = parse_relay(settings.smtp_url.get_secret_value())
    sent = greet(relay, settings.smtp_from)
    where = f"{relay.host}:{relay.port}"
    if sent.error is not None:
        to_do = "see docs/schedules.md: host, port, STARTTLS, user and password in TALKMETER_SMTP_URL"
        yield failed("mail", f"{where}: {sent.error}", to_do)
    else:
        yield ok("mail", f"{where} takes mail from {settings.smtp_from}")

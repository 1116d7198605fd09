"""E-mail through a real mail server: what arrives, how it is kept secret, what is final."""

import asyncio
import contextlib
import csv
import io
import logging
import ssl
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from proxy.admin import mail
from proxy.admin.mail import Mailer, Sent
from proxy.core.announced import Announcement
from proxy.core.mail_relay import parse_relay
from tests.admin.mailbox import mailbox
from tests.core.test_report_letters import ABOUT, REPORT

# Of the server's, about what it is told to do here and about itself.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning"),
    pytest.mark.filterwarnings("ignore:Session.login_data is deprecated:DeprecationWarning"),
]

SENDER = "reports@example.com"
TO = "mailto:ann@example.com"


def announced(**changes: Any) -> Announcement:
    payload = ABOUT | {"content": "report", "report": REPORT} | changes
    return Announcement(
        7, "schedule/sch_1/1", "report.scheduled", None, datetime(2026, 11, 30, 8, tzinfo=UTC), payload
    )


@contextlib.asynccontextmanager
async def mailing(url: str) -> AsyncIterator[Mailer]:
    mailer = Mailer(parse_relay(url), SENDER)
    try:
        yield mailer
    finally:
        mailer.close()


async def send(url: str, one: Announcement | None = None, to: str = TO) -> Sent:
    async with mailing(url) as mailer:
        return await mailer.send(one or announced(), to)


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[trustme.CA]:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    yield ca


def context(ca: trustme.CA, host: str = "127.0.0.1") -> ssl.SSLContext:
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(host).configure_cert(served)
    return served


async def test_a_report_arrives_as_text_with_its_rows_as_csv() -> None:
    async with mailbox() as box:
        assert await send(box.url) == Sent(250, None)
        (message,), (envelope,) = box.messages, box.got
    assert (envelope.mail_from, envelope.rcpt_tos) == (SENDER, ["ann@example.com"])
    assert message["Subject"] == "costs, 2026-11-23 to 2026-11-29"
    assert (message["From"], message["To"]) == (SENDER, "ann@example.com")
    assert message["Message-ID"] == f"<{announced().message_id}@example.com>"
    assert message["Date"].datetime == announced().at and message["Auto-Submitted"] == "auto-generated"
    body = message.get_body()
    assert body is not None and body.get_content_type() == "text/plain"
    assert "Cost: $12.500000000." in body.get_content()
    (attached,) = message.iter_attachments()
    assert (attached.get_filename(), attached.get_content_type()) == ("report.csv", "text/csv")
    rows = list(csv.DictReader(io.StringIO(attached.get_content())))
    assert rows[0]["project"] == "web" and rows[0]["cost_usd"] == "12.500000000"
    assert not [part for part in message.walk() if part.get_content_type() == "text/html"]


async def test_no_name_makes_a_header_or_a_formula() -> None:
    hostile = "x\r\nBcc: eve@example.com\r\n\r\n.\r\nQUIT \u2028é"
    report = REPORT | {
        "name": hostile,
        "rows": [REPORT["rows"][0] | {"project": '=HYPERLINK("http://evil")'}],
    }
    async with mailbox() as box:
        assert await send(box.url, announced(report=report, schedule=hostile, tenant=hostile)) == Sent(
            250, None
        )
        (message,), (envelope,) = box.messages, box.got
    assert envelope.rcpt_tos == ["ann@example.com"] and message["Bcc"] is None
    assert "Bcc: eve" in message["Subject"] and "é" in message["Subject"]
    (attached,) = message.iter_attachments()
    assert "'=HYPERLINK" in attached.get_content()
    assert set(message.keys()) >= {"Subject", "MIME-Version"} and not message.defects


async def test_starttls_and_the_password(authority: trustme.CA) -> None:
    async with mailbox(starttls=context(authority), auth=True) as box:
        assert await send(box.url) == Sent(250, None)
        assert (box.over_tls, box.logins) == ([True], [("ann", "p:w@x")])
        wrong = await send(box.url.replace("p%3A", "canary"))
    assert wrong == Sent(535, "the mail server does not accept our user and password")
    assert len(box.got) == 1


async def test_tls_from_the_start(authority: trustme.CA) -> None:
    async with mailbox(tls=context(authority)) as box:
        assert await send(box.url) == Sent(250, None)
    assert box.over_tls == [True]


@pytest.mark.parametrize("way", ["tls", "starttls"])
async def test_a_certificate_of_somebody_else_gets_neither_password_nor_message(
    authority: trustme.CA, way: str
) -> None:
    for served in (context(trustme.CA()), context(authority, "elsewhere.example")):
        async with mailbox(**{way: served}, auth=True) as box:
            sent = await send(box.url)
        assert sent == Sent(None, "the mail server cannot be reached: SSLCertVerificationError")
        assert (box.got, box.logins) == ([], [])


async def test_a_server_that_offers_no_starttls_gets_nothing() -> None:
    async with mailbox() as box:
        sent = await send(f"{box.url}?starttls=yes")
    assert sent == Sent(None, "the mail server offers no STARTTLS, or takes no password")
    assert box.got == [] and box.tried == 0


@pytest.mark.parametrize(
    ("command", "reply", "sent"),
    [
        (
            "RCPT",
            "550 5.1.1 No such user",
            Sent(550, "the mail server answered 550 5.1.1 No such user", True),
        ),
        ("RCPT", "450 4.2.0 Greylisted", Sent(450, "the mail server answered 450 4.2.0 Greylisted")),
        ("DATA", "552 5.3.4 Too big", Sent(552, "the mail server answered 552 5.3.4 Too big", True)),
        ("DATA", "451 4.3.0 Later", Sent(451, "the mail server answered 451 4.3.0 Later")),
        ("MAIL", "553 5.1.8 Who?", Sent(553, "the mail server answered 553 5.1.8 Who?", True)),
        ("MAIL", "530 5.7.0 Log in", Sent(530, "the mail server answered 530 5.7.0 Log in")),
        ("MAIL", "421 4.3.2 Closing", Sent(421, "the mail server answered 421 4.3.2 Closing")),
    ],
)
async def test_what_a_server_refuses(command: str, reply: str, sent: Sent) -> None:
    async with mailbox() as box:
        box.replies[command] = [reply]
        assert await send(box.url) == sent
    assert box.got == []


async def test_nobody_there() -> None:
    assert await send("smtp://127.0.0.1:1") == Sent(
        None, "the mail server cannot be reached: ConnectionRefusedError"
    )


@contextlib.asynccontextmanager
async def silence(greeting: bytes = b"") -> AsyncIterator[str]:
    """A server that says its greeting, and nothing more."""
    done = asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await done.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    done.set()
    server.close()


@pytest.mark.parametrize("greeting", [b"", b"220 mail.test\r\n"])
async def test_a_server_that_says_nothing_is_hung_up_on(
    monkeypatch: pytest.MonkeyPatch, greeting: bytes
) -> None:
    monkeypatch.setattr(mail, "MAIL_S", 0.2)
    async with silence(greeting) as url:
        assert await send(url) == Sent(None, "the mail server did not take it within 0.2 s")


async def test_an_attempt_that_is_left_ends_at_once() -> None:
    async with silence() as url, mailing(url) as mailer, asyncio.TaskGroup() as group:
        task = group.create_task(mailer.send(announced(), TO))
        await asyncio.sleep(0.1)
        task.cancel()
    assert task.cancelled()


async def test_the_password_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "proxy")
    async with mailbox(auth=True) as box:
        await send(box.url.replace("p%3A", "canary"))
    assert "canary" not in caplog.text

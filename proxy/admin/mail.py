"""Sending e-mail: one message to one address through the server that a setting names.

The standard library's client blocks, so each attempt runs in a thread, and a timer hangs up when it takes
too long: a deliverer must know how it went before its claim lapses. What is wrong with the address or the
message is final, as the server says with 5xx. What is wrong with our way to the server (its name, its
certificate, our password) can be put right, and is tried again.
"""

import asyncio
import contextlib
import email.policy
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime

from proxy import __version__
from proxy.core.announced import Announcement
from proxy.core.letters import as_text, subject_of
from proxy.core.mail_relay import MailRelay, Security
from proxy.core.report_letters import letter_of
from proxy.store.csv_text import to_csv
from proxy.store.receivers import MAILTO

STEP_S = 10.0  # for each answer of the server
MAIL_S = 20.0  # for one message in all
THREADS = 8
REPLY_CHARS_MAX = 120
PERMANENT = frozenset(range(500, 600)) - {530, 534, 535, 538}  # these ask for a password, or another one

_POLICY = email.policy.SMTP.clone(cte_type="7bit")  # servers and folders of every age can carry that


@dataclass(frozen=True, slots=True)
class Sent:
    """How it went: the server's code if it answered, what was wrong, and whether that is final."""

    status: int | None
    error: str | None
    is_final: bool = False


class Mailer:
    """Sends through one server, from one address. `close` ends its threads."""

    def __init__(self, relay: MailRelay, sender: str) -> None:
        self._relay = relay
        self._sender = sender
        self._threads = ThreadPoolExecutor(THREADS, "mail")

    def close(self) -> None:
        """Start nothing more. What is under way has been hung up on."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def send(self, one: Announcement, url: str) -> Sent:
        """Send an announcement to a `mailto:` URL."""
        address = url.removeprefix(MAILTO)
        message = compose(one, self._sender, address)
        attempt = _Attempt(self._relay, self._sender)

        def hand_over(client: smtplib.SMTP) -> Sent:
            return _hand_over(client, self._sender, address, message)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, attempt.run, hand_over)
        except asyncio.CancelledError:
            attempt.hang_up()
            raise


def compose(one: Announcement, sender: str, address: str) -> bytes:
    """Return the message; its id is the announcement's, so that a repetition can be recognised."""
    letter = letter_of(one)
    message = EmailMessage(policy=_POLICY)
    message["Subject"] = subject_of(letter)
    message["From"] = sender
    message["To"] = address
    message["Date"] = format_datetime(one.at)
    message["Message-ID"] = f"<{one.message_id}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Mailer"] = f"talkmeter/{__version__}"
    message.set_content(as_text(letter))
    for attached in letter.attachments:
        # Bytes: set as text, the line ends that RFC 4180 wants would be changed.
        csv = to_csv(attached.columns, attached.rows).encode()
        message.add_attachment(
            csv, maintype="text", subtype="csv", filename=attached.name, params={"charset": "utf-8"}
        )
    return message.as_bytes()


def greet(relay: MailRelay, sender: str) -> Sent:
    """Connect and log in as for a message, and send none."""

    def send_nothing(client: smtplib.SMTP) -> Sent:
        client.ehlo_or_helo_if_needed()
        return Sent(client.noop()[0], None)

    return _Attempt(relay, sender).run(send_nothing)


class _Attempt:
    """One use of the server, in a thread."""

    def __init__(self, relay: MailRelay, sender: str) -> None:
        self._relay = relay
        self._sender = sender
        self._client: smtplib.SMTP | None = None
        self._is_hung_up = False

    def run(self, use: Callable[[smtplib.SMTP], Sent]) -> Sent:
        """Connect, log in and do what `use` does, or say what is wrong."""
        if self._is_hung_up:
            return Sent(None, "it was not sent in time")
        timer = threading.Timer(MAIL_S, self.hang_up)
        timer.daemon = True  # a process that ends need not wait until it is time
        timer.start()
        try:
            with self._connected() as client:
                return use(client)
        except smtplib.SMTPAuthenticationError as error:
            return Sent(error.smtp_code, "the mail server does not accept our user and password")
        except smtplib.SMTPResponseException as error:
            return Sent(
                error.smtp_code, f"the mail server refused us: {_said(error.smtp_code, error.smtp_error)}"
            )
        except smtplib.SMTPNotSupportedError:
            return Sent(None, "the mail server offers no STARTTLS, or takes no password")
        except (smtplib.SMTPException, OSError, ValueError) as error:
            if self._is_hung_up:
                return Sent(None, f"the mail server did not take it within {MAIL_S:g} s")
            return Sent(None, f"the mail server cannot be reached: {type(error).__name__}")
        finally:
            timer.cancel()

    def hang_up(self) -> None:
        """Close the line, from another thread: whatever the attempt waits for fails at once."""
        self._is_hung_up = True
        line = self._client.sock if self._client is not None else None
        if line is not None:
            with contextlib.suppress(OSError):  # it is closed already
                line.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[smtplib.SMTP]:
        relay = self._relay
        tls = ssl.create_default_context()
        # How we greet. Left out, it would be looked up: slow, and our network's business.
        _, _, us = self._sender.rpartition("@")
        if relay.security is Security.TLS:
            client: smtplib.SMTP = smtplib.SMTP_SSL(local_hostname=us, timeout=STEP_S, context=tls)
        else:
            client = smtplib.SMTP(local_hostname=us, timeout=STEP_S)
        self._client = client
        # What a certificate is checked against; `connect` alone would leave it empty.
        client._host = relay.host  # type: ignore[attr-defined]
        try:
            code, reply = client.connect(relay.host, relay.port)
            if code != 220:
                raise smtplib.SMTPConnectError(code, reply)
            if self._is_hung_up:  # there was no line to close when it was time
                raise TimeoutError
            if relay.security is Security.STARTTLS:
                client.starttls(context=tls)
            if relay.user is not None and relay.password is not None:
                client.login(relay.user, relay.password)
            yield client
        finally:
            client.close()


def _hand_over(client: smtplib.SMTP, sender: str, address: str, message: bytes) -> Sent:
    """Name sender and receiver and send the message: here a 5xx is about these."""
    client.ehlo_or_helo_if_needed()
    try:
        client.sendmail(sender, [address], message)
    except smtplib.SMTPRecipientsRefused as error:
        return _refused(*error.recipients[address])
    except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
        return _refused(error.smtp_code, error.smtp_error)
    with contextlib.suppress(smtplib.SMTPException, OSError):  # it is sent, whatever comes of the farewell
        client.quit()
    return Sent(250, None)


def _refused(code: int, reply: bytes | str) -> Sent:
    return Sent(code, f"the mail server answered {_said(code, reply)}", code in PERMANENT)


def _said(code: int, reply: bytes | str) -> str:
    """Return what the server said, on one line."""
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply)
    shown = "".join(c if c.isprintable() else " " for c in text)
    return f"{code} {' '.join(shown.split())}"[:REPLY_CHARS_MAX]

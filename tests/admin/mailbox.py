"""For tests: a mail server on this machine that keeps what it gets, or refuses it."""

import asyncio
import contextlib
import email.policy
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session


@dataclass
class Mailbox:
    """Keeps messages. `replies` says how it answers a receiver or the data, the last one for ever."""

    url: str = ""
    replies: dict[str, list[str]] = field(default_factory=dict)
    got: list[Envelope] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    over_tls: list[bool] = field(default_factory=list)
    tried: int = 0

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.tried += 1
        envelope.mail_from = address
        return self._reply("MAIL", "250 OK")

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        reply = self._reply("RCPT", "250 OK")
        if reply.startswith("2"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        reply = self._reply("DATA", "250 OK")
        if reply.startswith("2"):
            self.got.append(envelope)
            over = server.transport
            self.over_tls.append(over is not None and over.get_extra_info("ssl_object") is not None)
        return reply

    def _reply(self, command: str, good: str) -> str:
        replies = self.replies.get(command, [good])
        return replies.pop(0) if len(replies) > 1 else replies[0]

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        login = (data.login.decode(), data.password.decode())
        self.logins.append(login)
        return AuthResult(success=login == ("ann", "p:w@x"), handled=False)

    @property
    def messages(self) -> list[EmailMessage]:
        """Return what came, parsed as a mail program does."""
        parser = BytesParser(policy=email.policy.default)
        return [parser.parsebytes(one.content) for one in self.got if isinstance(one.content, bytes)]


@contextlib.asynccontextmanager
async def mailbox(
    *, tls: ssl.SSLContext | None = None, starttls: ssl.SSLContext | None = None, auth: bool = False
) -> AsyncIterator[Mailbox]:
    """Serve a mailbox. With `auth` it wants the user ann, whose password is p:w@x."""
    box = Mailbox()
    connections: list[SMTP] = []

    def protocol() -> SMTP:
        made = SMTP(
            box,
            hostname="mail.test",
            tls_context=starttls,
            require_starttls=starttls is not None,
            authenticator=box.authenticate if auth else None,
            auth_required=auth,
            auth_require_tls=False,
            loop=asyncio.get_running_loop(),
        )
        connections.append(made)
        return made

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    who = "ann:p%3Aw%40x@" if auth else ""
    box.url = f"smtp{'s' if tls else ''}://{who}127.0.0.1:{port}{'?starttls=yes' if starttls else ''}"
    try:
        yield box
    finally:
        server.close()
        for one in connections:
            if one.transport is not None:
                one.transport.close()
        await asyncio.sleep(0.01)  # in which they are closed

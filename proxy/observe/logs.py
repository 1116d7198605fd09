"""Structured logs: one JSON object a line, or lines for people; what looks like a secret is cut out.

Code logs with the standard library: a fixed event text, and the facts in `extra`:

    logger.info("session ended", extra={"session": session_id, "tenant": tenant})

Nothing should ever log a key. The redaction here is the second line of defence, for messages and
tracebacks of code that is not ours.
"""

import logging
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import TextIO

import msgspec
from aiohttp.http_exceptions import HttpProcessingError

REDACTED = "[redacted]"
UNPRINTABLE = "\ufffd"  # what peers chose can forge no line on a console, nor steer it
TEXT_CHARS_MAX = 20_000  # of one message, field or traceback

_SECRETS = (
    re.compile(
        r"((?:sk|ek|tm)[-_])[A-Za-z0-9_\-]{32,}"
    ),  # so long that it is none by chance, whatever precedes
    re.compile(r"(?<![A-Za-z0-9])((?:sk|ek|tm)[-_])[A-Za-z0-9_\-]{4,}"),
    re.compile(r"(whsec_)[A-Za-z0-9+/=_\-]+"),
    re.compile(r"(openai-insecure-api-key\.)[^\s,'\"]+", re.IGNORECASE),
    re.compile(r"(\b(?:bearer|basic)\s+)[^\s,'\"\[]+", re.IGNORECASE),
    re.compile(
        r"((?:authorization|api-key|sec-websocket-protocol)b?['\"]?\s*[:=,]\s*b?['\"]?)(?!\s*(?:bearer|basic)\s)"
        r"[^'\"\r\n]+",
        re.IGNORECASE,
    ),
)
_PLAIN = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {
    "message",
    "asctime",
    "taskName",
}
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def redact(text: str) -> str:
    """Return `text` with everything cut out that looks like a key or a header that holds one."""
    for secret in _SECRETS:
        text = secret.sub(rf"\1{REDACTED}", text)
    return text


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `ts`, `level`, `event`, `logger`, the record's own fields, `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "ts": _instant(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": _text(record.getMessage()),
            "logger": record.name,
            **dict(_fields(record)),
        }
        if trace := _trace(self, record):
            line["exception"] = trace
        return msgspec.json.encode(line).decode()


class ConsoleFormatter(logging.Formatter):
    """A line for people: time, level, event and `name=value` where there is a value; a traceback below."""

    def format(self, record: logging.LogRecord) -> str:
        clock = _instant(record).astimezone().strftime("%H:%M:%S")
        fields = (f"{name}={value}" for name, value in _fields(record) if value is not None)
        said = "  ".join(_one_line(part) for part in (_text(record.getMessage()), *fields))
        line = f"{clock} {record.levelname:<7} {said}"
        trace = _trace(self, record)
        return f"{line}\n{trace}" if trace else line


class Handler(logging.StreamHandler[TextIO]):
    """Ours, so that it can be told from others' and be replaced."""


class PeersMistakes(logging.Filter):
    """Makes one short line of what aiohttp says of a request that could not be read.

    Its own is a traceback with a piece of the request, which may be a key: any peer could fill the logs.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            record.msg, record.args = "a request could not be read", ()
            record.levelno, record.levelname = logging.WARNING, "WARNING"
            record.problem = type(error).__name__
            record.exc_info = record.exc_text = None
        return True


_peers_mistakes = PeersMistakes()  # one, since adding it again changes nothing


def configure(log_format: str, level: str, stream: TextIO | None = None) -> None:
    """Send this process's logs to `stream` (stderr); other people's libraries only from warning up."""
    handler = Handler(stream or sys.stderr)
    handler.setFormatter(ConsoleFormatter() if log_format == "console" else JsonFormatter())
    root = logging.getLogger()
    for old in [h for h in root.handlers if isinstance(h, Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    for ours in ("proxy", "talkmeter"):
        logging.getLogger(ours).setLevel(_LEVELS[level])
    logging.getLogger("aiohttp.server").addFilter(_peers_mistakes)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        logging.getLogger("proxy").critical("crashed", exc_info=(kind, error, trace))


def _fields(record: logging.LogRecord) -> Iterator[tuple[str, str | int | float | bool | None]]:
    for name, value in record.__dict__.items():
        if name not in _PLAIN:
            plain = value is None or isinstance(value, bool | int | float)
            yield name, value if plain else _text(str(value))


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    trace = formatter.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""
    if record.stack_info:
        trace += "\n" + record.stack_info
    return _text(trace)


def _one_line(text: str) -> str:
    """Return `text` such that it neither ends a line nor moves a cursor: drivers' errors have many lines."""
    return "".join(c if c.isprintable() else UNPRINTABLE for c in " ".join(text.split()))


def _text(text: str) -> str:
    """Return `text` as it may be written: redacted, then shortened (a cut could hide a key's prefix)."""
    text = redact(text.encode(errors="replace").decode())
    return text if len(text) <= TEXT_CHARS_MAX else text[:TEXT_CHARS_MAX] + "…"


def _instant(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)

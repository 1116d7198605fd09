"""Logs: one object a line, readable for people when asked, and never a secret."""

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong

from proxy.observe import logs
from proxy.observe.logs import REDACTED, TEXT_CHARS_MAX, redact

SECRETS = [
    "sk-proj-abcDEF123_456",
    "ek_68a1b2c3d4",
    "tm_0123456789abcdef",
]


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root, ours, hook = logging.getLogger(), logging.getLogger("proxy"), sys.excepthook
    before = (root.level, ours.level)
    yield
    for handler in [h for h in root.handlers if isinstance(h, logs.Handler)]:
        root.removeHandler(handler)
    root.setLevel(before[0])
    ours.setLevel(before[1])
    sys.excepthook = hook
    logging.captureWarnings(False)


def lines(output: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.getvalue().splitlines()]


def configured(log_format: str = "json", level: str = "info") -> io.StringIO:
    output = io.StringIO()
    logs.configure(log_format, level, output)
    root = logging.getLogger()
    for of_pytest in [h for h in root.handlers if not isinstance(h, logs.Handler)]:
        root.removeHandler(of_pytest)  # it could not pass on half a character between its processes
    return output


def test_one_json_object_a_line() -> None:
    """With an instant, a level, the event and the fields; numbers stay numbers."""
    output = configured()
    logging.getLogger("proxy.relay.x").info(
        "session\nended", extra={"session": "s1", "seconds": 1.5, "code": None}
    )
    (line,) = lines(output)
    assert line["event"] == "session\nended"
    assert line["level"] == "info"
    assert line["logger"] == "proxy.relay.x"
    assert (line["session"], line["seconds"], line["code"]) == ("s1", 1.5, None)
    assert str(line["ts"]).endswith("Z")


def test_a_line_for_people() -> None:
    """The console format says the same without braces."""
    output = configured("console")
    error = OSError("connection failed:\n\tIs the server running?\n")
    facts = {"free": 12, "project": None, "error": error}
    logging.getLogger("proxy.x").warning("disk nearly full", extra=facts)
    said = "WARNING disk nearly full  free=12  error=connection failed: Is the server running?"
    assert output.getvalue().rstrip().endswith(said)


def test_levels_are_ours_and_libraries_speak_from_warning_up() -> None:
    """`debug` is about Talkmeter, not about every library below it."""
    output = configured(level="debug")
    logging.getLogger("proxy.x").debug("shown")
    logging.getLogger("aiohttp.access").info("not shown")
    logging.getLogger("asyncio").warning("shown too")
    assert [line["event"] for line in lines(output)] == ["shown", "shown too"]


def test_configuring_again_replaces_the_handler() -> None:
    """Nothing is written twice."""
    first, second = configured(), configured()
    logging.getLogger("proxy.x").info("once")
    assert first.getvalue() == ""
    assert len(lines(second)) == 1


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("secret", SECRETS)
def test_no_secret_in_message_field_or_traceback(log_format: str, secret: str) -> None:
    """Wherever a key comes from, its place in the log is empty."""
    output = configured(log_format)
    try:
        raise ValueError(f"bad key:\n{secret}")
    except ValueError:
        logging.getLogger("proxy.x").exception("with %s", secret, extra={"headers": {"a": secret}})
    text = output.getvalue()
    assert secret[6:] not in text
    assert text.count(REDACTED) >= 3
    assert "ValueError" in text


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer canary-123",
        "authorization: Basic canary-123",
        "{'Authorization': 'Bearer canary-123'}",
        "(b'Authorization', b'canary-123')",
        '"api-key": "canary-123"',
        "Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.canary-123, x.canary-123",
        "<CIMultiDictProxy('Sec-WebSocket-Protocol': 'realtime, canary-123')>",
        "protocols=['realtime', 'openai-insecure-api-key.canary-123']",
        "Bearer canary-123",
        "a webhook's whsec_canary-123+/=",
    ],
)
def test_headers_that_hold_keys_are_cut_out(text: str) -> None:
    """In the spellings that requests, dicts and raw headers have when they are printed."""
    assert "canary" not in redact(text)
    assert REDACTED in redact(text)


@pytest.mark.parametrize(
    "text",
    ["task-name", "week_2026 risk-free", "talkmeter", "bearer", "the desk-lamp", "session sess_abc123"],
)
def test_ordinary_words_stay(text: str) -> None:
    """Redaction cuts keys, not language."""
    assert redact(text) == text


def test_a_whole_key_is_cut_out_wherever_it_stands() -> None:
    """Also right behind a letter, as where an unprintable character is written as `\\x00`."""
    assert redact(r"x\0tm_" + "a1" * 21 + "b") == rf"x\0tm_{REDACTED}"


def test_a_request_that_could_not_be_read_is_one_short_line() -> None:
    """aiohttp would log a traceback with a piece of the request."""
    output = configured()
    server = logging.getLogger("aiohttp.server")
    for error in (BadHttpMessage("canary"), LineTooLong(b"canary", 8_190), RuntimeError("a bug")):
        server.error("Error handling request from %s", "192.0.2.1", exc_info=error)
    bad, long, bug = lines(output)
    assert (bad["event"], bad["level"]) == ("a request could not be read", "warning")
    assert (bad["problem"], long["problem"]) == ("BadHttpMessage", "LineTooLong")
    assert "canary" not in output.getvalue() and "exception" not in bad
    assert "a bug" in str(bug["exception"]) and bug["level"] == "error"


def test_long_text_and_broken_text() -> None:
    """A line has a limit, and half a character does not stop the log."""
    output = configured()
    logging.getLogger("proxy.x").info("x" * 1_000_000)
    logging.getLogger("proxy.x").info("broken \ud83d")
    first, second = lines(output)
    assert len(str(first["event"])) == TEXT_CHARS_MAX + 1
    assert second["event"] == "broken ?"


def test_an_uncaught_exception_is_a_log_line() -> None:
    """Even the last words of a process are redacted."""
    output = configured()
    try:
        raise RuntimeError(f"with {SECRETS[0]}")
    except RuntimeError as error:
        sys.excepthook(RuntimeError, error, error.__traceback__)
    (line,) = lines(output)
    assert (line["level"], line["event"]) == ("critical", "crashed")
    assert SECRETS[0] not in str(line["exception"])


def test_nobody_outside_can_write_lines_or_steer_a_terminal() -> None:
    """Models and ids come from peers: on a console they can neither forge a line nor move the cursor."""
    said = "gpt\n12:00:00 INFO    session ended\x1b[2J\r\u202e\x9b"
    record = logging.makeLogRecord({"msg": f"unrated {said}", "model": said})
    assert logs.ConsoleFormatter().format(record).isprintable()
    line = logs.JsonFormatter().format(record)
    assert "\n" not in line and "\x1b" not in line and json.loads(line)["model"] == said

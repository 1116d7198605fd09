"""Mail servers by their URL, and addresses."""

import pytest

from proxy.core.mail_relay import MailRelay, Security, parse_mail_address, parse_relay


@pytest.mark.parametrize(
    ("url", "relay"),
    [
        ("smtp://mail.example.com", MailRelay("mail.example.com", 587, Security.STARTTLS)),
        ("smtps://mail.example.com", MailRelay("mail.example.com", 465, Security.TLS)),
        ("smtp://mail.example.com:25?starttls=no", MailRelay("mail.example.com", 25, Security.NONE)),
        ("smtp://localhost:1025", MailRelay("localhost", 1025, Security.NONE)),
        ("smtp://[::1]", MailRelay("::1", 25, Security.NONE)),
        ("smtp://127.0.0.1?starttls=yes", MailRelay("127.0.0.1", 587, Security.STARTTLS)),
        (
            "smtps://ann%40example.com:p%3Aw%40x@mail.example.com/",
            MailRelay("mail.example.com", 465, Security.TLS, "ann@example.com", "p:w@x"),
        ),
    ],
)
def test_relays(url: str, relay: MailRelay) -> None:
    assert parse_relay(url) == relay


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mail.example.com:587",
        "http://canary@mail.example.com",
        "smtp://",
        "smtp://host:0",
        "smtp://host:canary",
        "smtp://host/canary",
        "smtp://host#canary",
        "smtp://host?starttls=canary",
        "smtp://host?canary=1",
        "smtp://canary@host",
        "smtp://ann:canary@host?starttls=no",
        "smtp://ann:can\nary@host",
    ],
)
def test_what_is_no_relay_is_not_quoted(url: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse_relay(url)
    assert "canary" not in str(refused.value)


def test_a_password_does_not_show() -> None:
    assert "canary" not in repr(parse_relay("smtps://ann:canary@host"))


@pytest.mark.parametrize("text", ["ann@example.com", " a.b+c@x-y.example ", "o'neill@localhost"])
def test_addresses(text: str) -> None:
    assert parse_mail_address(text) == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ann",
        "@example.com",
        "ann@",
        "ann@-x.example",
        "ann@x..example",
        "ann@example.com\nBcc: eve@example.com",
        "ann@example.com\r\n.",
        "Ann <ann@example.com>",
        "ann@example.com,eve@example.com",
        "ann@example.com>",
        "änn@example.com",
        "a" * 65 + "@example.com",
        "ann@" + ".".join(["x" * 60] * 5),
        "ann eve@example.com",
        "ann@example.com\0",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="no e-mail address"):
        parse_mail_address(text)

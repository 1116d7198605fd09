"""Settings: what is read from where, and what a person is told when a value is no good."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import SecretStr

from proxy.admin.config import Grant
from proxy.settings import Address, Settings, SettingsError, load, parse_address, unknown_variables


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Stand in an empty folder with no variable of ours set."""
    for name in list(os.environ):
        if name.upper().startswith("TALKMETER_") or name == "OPENAI_API_KEY":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def given(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def problems(monkeypatch: pytest.MonkeyPatch, **variables: str) -> tuple[str, ...]:
    given(monkeypatch, {f"TALKMETER_{name}": value for name, value in variables.items()})
    with pytest.raises(SettingsError) as caught:
        load()
    return caught.value.problems


def test_defaults_need_nothing() -> None:
    """With nothing set Talkmeter runs on local ports and an embedded database."""
    settings = load()
    assert str(settings.listen) == "127.0.0.1:8080"
    assert str(settings.admin_listen) == "127.0.0.1:8081"
    assert settings.is_embedded
    assert settings.journal == Path("talkmeter.journal.db")
    assert settings.upstream_url == "https://api.openai.com/v1"
    assert (settings.linger_s, settings.stall_s, settings.idle_timeout_s, settings.drain_s) == (
        10,
        10,
        600,
        60,
    )
    assert settings.message_bytes_max == 16 * 1024 * 1024


def test_every_setting_is_described() -> None:
    """The README's table is made of these lines."""
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert "\n" not in field.description


def test_environment_wins_over_dotenv(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `.env` file is read; a real variable is stronger."""
    Path(".env").write_text("TALKMETER_LISTEN=0.0.0.0:1\nTALKMETER_LINGER_S=3\nOTHER=1\n")
    monkeypatch.setenv("TALKMETER_LINGER_S", "4")
    settings = load()
    assert settings.listen == Address("0.0.0.0", 1)
    assert settings.linger_s == 4


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose files pass `NAME=` for what is not set."""
    given(monkeypatch, {"TALKMETER_LISTEN": "", "TALKMETER_METRICS_TOKEN": ""})
    assert load().listen.port == 8080
    assert load().metrics_token is None


@pytest.mark.parametrize(
    ("variables", "dotenv", "expected"),
    [
        ({"OPENAI_API_KEY": "plain"}, "", "plain"),
        ({"OPENAI_API_KEY": "plain", "TALKMETER_UPSTREAM_API_KEY": "ours"}, "", "ours"),
        ({"OPENAI_API_KEY": "plain"}, "TALKMETER_UPSTREAM_API_KEY=ours", "ours"),
        ({"OPENAI_API_KEY": "plain", "TALKMETER_UPSTREAM_API_KEY": ""}, "", "plain"),
        ({}, "OPENAI_API_KEY=plain", "plain"),
        ({"TALKMETER_UPSTREAM_API_KEY": " ours\n"}, "", "ours"),
    ],
)
def test_the_upstream_key_falls_back(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], dotenv: str, expected: str
) -> None:
    """Our own name for the key wins wherever it stands; OpenAI's is the last resort."""
    given(monkeypatch, variables)
    Path(".env").write_text(dotenv)
    assert load().need_upstream_key() == expected


def test_a_missing_upstream_key_is_explained() -> None:
    """`serve` asks for it, and names both variables that could hold it."""
    with pytest.raises(SettingsError, match="TALKMETER_UPSTREAM_API_KEY is not set, nor is OPENAI_API_KEY"):
        load().need_upstream_key()


def test_every_bad_value_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line a problem, all at once: the variable, its value, what it should be."""
    lines = problems(
        monkeypatch,
        LISTEN="8080",
        LINGER_S="soon",
        STALL_S="-1",
        SESSIONS_MAX="0",
        MESSAGE_BYTES_MAX="1",
        PERIOD_TIMEZONE="Mars/Olympus",
        LOG_LEVEL="LOUD",
        LOG_FORMAT="xml",
        MODEL_ALIASES="{",
        UPSTREAM_URL="api.openai.com",
    )
    assert len(lines) == 10
    assert (
        "TALKMETER_LISTEN is '8080': it should be HOST:PORT, such as 127.0.0.1:8080 or 0.0.0.0:8080" in lines
    )
    assert "TALKMETER_STALL_S is '-1': it should be greater than 0" in lines
    assert any(line.startswith("TALKMETER_PERIOD_TIMEZONE is 'Mars/Olympus': it should be") for line in lines)


@pytest.mark.parametrize(
    "url", ["mysql://app:hunter2@db/x", "not a url hunter2://a:hunter2@", "sqlite://", "sqlite:///:memory:"]
)
def test_a_database_url_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Its shape is explained, its password is not shown."""
    (line,) = problems(monkeypatch, DATABASE_URL=url)
    assert line.startswith("TALKMETER_DATABASE_URL: it should ")
    assert "hunter2" not in line


def test_the_journal_lies_beside_the_embedded_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless it is told where to lie."""
    monkeypatch.setenv("TALKMETER_DATABASE_URL", "sqlite:////var/lib/talkmeter/ledger.db")
    assert load().journal == Path("/var/lib/talkmeter/talkmeter.journal.db")
    monkeypatch.setenv("TALKMETER_DATABASE_URL", "postgres://app@db/ledger")
    assert load().journal == Path("talkmeter.journal.db")
    assert load().database_url.drivername == "postgresql"
    monkeypatch.setenv("TALKMETER_JOURNAL_PATH", "/mnt/fast/j.db")
    assert load().journal == Path("/mnt/fast/j.db")


def test_secrets_do_not_show() -> None:
    """Neither in a repr nor in a dump of the settings."""
    settings = Settings(
        upstream_api_key=SecretStr("sk-canary1"),
        upstream_admin_key=SecretStr("sk-admin-canary5"),
        metrics_token=SecretStr("canary2"),
        key_pepper=SecretStr("canary3"),
        database_url="postgresql://app:canary4@db/x",  # type: ignore[arg-type]
    )
    assert "canary" not in repr(settings) + str(settings) + str(settings.database_url)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (" HTTPS://Talkmeter.Example.com/ ", "https://talkmeter.example.com"),
        ("https://talkmeter.example.com:443", "https://talkmeter.example.com"),
        ("http://localhost:8081", "http://localhost:8081"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_the_public_url_is_as_browsers_write_it(monkeypatch: pytest.MonkeyPatch, text: str, url: str) -> None:
    given(monkeypatch, {"TALKMETER_PUBLIC_URL": text})
    assert load().public_url == load().console_url == url


@pytest.mark.parametrize(
    "url",
    [
        "talkmeter.example.com",
        "https://",
        "ftp://host",
        "https://host/console",
        "https://host?x",
        "https://host#x",
        "https://ann@host",
        "https://host:0",
        "https://host:99999",
        "https://a b",
        'https://a"b',
        "https://[::1",
        "https://bücher.example",
    ],
)
def test_what_is_no_public_url(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    (line,) = problems(monkeypatch, PUBLIC_URL=url)
    assert line.startswith("TALKMETER_PUBLIC_URL is ") and "without a path" in line


def test_without_a_public_url_the_console_is_where_it_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().console_url == "http://127.0.0.1:8081"
    given(
        monkeypatch, {"TALKMETER_ADMIN_LISTEN": "[::]:9", "TALKMETER_TLS_CERT": "c", "TALKMETER_TLS_KEY": "k"}
    )
    assert load().console_url == "https://[::1]:9"


def test_ids_stand_in_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, {"TALKMETER_RECONCILE_PROJECTS": " proj_a, proj_b,,proj_a "})
    assert load().reconcile_projects == ("proj_a", "proj_b")
    (said,) = problems(monkeypatch, RECONCILE_PROJECTS="proj a")
    assert said.endswith("it should be at most 100 ids with commas between them")


def test_a_misspelt_variable_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A typo would otherwise be a setting that silently has its default."""
    monkeypatch.setenv("TALKMETER_LINGERS", "5")
    Path(".env").write_text("TALKMETER_WHATEVER_ELSE=1\n")
    assert unknown_variables() == [
        "TALKMETER_LINGERS is not a setting of Talkmeter: did you mean TALKMETER_LINGER_S?",
        "TALKMETER_WHATEVER_ELSE is not a setting of Talkmeter",
    ]
    heard: list[str] = []
    load(heard.append)
    assert len(heard) == 2


def test_warnings_go_to_stderr_by_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Standard output belongs to `--json`."""
    monkeypatch.setenv("TALKMETER_LINGERS", "5")
    load()
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("warning: TALKMETER_LINGERS")


def test_tls_wants_both_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate without its key is a mistake, not a plain-text server."""
    (line,) = problems(monkeypatch, TLS_CERT="cert.pem")
    assert line == "TALKMETER_TLS_KEY is not set: TLS needs both the certificate and its key"


def test_two_planes_want_two_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Port 0, which means any, may stand twice."""
    given(monkeypatch, {"TALKMETER_LISTEN": "127.0.0.1:0", "TALKMETER_ADMIN_LISTEN": "127.0.0.1:0"})
    assert load().listen == load().admin_listen
    (line,) = problems(monkeypatch, LISTEN="127.0.0.1:9", ADMIN_LISTEN="127.0.0.1:9")
    assert "should differ from TALKMETER_LISTEN" in line


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("[::1]:80", Address("::1", 80)),
        ("proxy:1", Address("proxy", 1)),
        ("0.0.0.0:0", Address("0.0.0.0", 0)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    """An IPv6 host stands in brackets."""
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize("text", ["", ":80", "::1:80", "a", "a:b", "a:70000", "a:", "[]:1", "a b:1", "a:²"])
def test_what_is_no_address(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match="HOST:PORT"):
        parse_address(text)


def test_a_password_in_another_url_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upstream URL holds none, so one that does is refused without repeating it."""
    (line,) = problems(monkeypatch, UPSTREAM_URL="https://me:hunter2@api.openai.com/v1")
    assert "hunter2" not in line


def test_long_values_are_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error stays readable whatever was pasted."""
    (line,) = problems(monkeypatch, LISTEN="x" * 10_000)
    assert len(line) < 400


@pytest.mark.parametrize(
    "url", ["mail.example.com", "smtp://ann:hunter2@host?starttls=no", "smtp://hunter2@host"]
)
def test_a_mail_server_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """What it should be is said, and its password is not."""
    (line,) = problems(monkeypatch, SMTP_URL=url, SMTP_FROM="a@example.com")
    assert line.startswith("TALKMETER_SMTP_URL: ") and "hunter2" not in line


def test_mail_wants_a_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = problems(monkeypatch, SMTP_URL="smtps://ann:hunter2@host")
    assert line.startswith("TALKMETER_SMTP_FROM is not set")
    (line,) = problems(monkeypatch, SMTP_FROM="Ann <ann@example.com>")
    assert "is no e-mail address" in line
    given(
        monkeypatch,
        {"TALKMETER_SMTP_URL": "smtps://ann:hunter2@host", "TALKMETER_SMTP_FROM": "a@example.com"},
    )
    assert load().smtp_from == "a@example.com" and "hunter2" not in repr(load())


OIDC = {
    "OIDC_ISSUER": "https://login.example.com/realms/staff/",
    "OIDC_CLIENT_ID": " talkmeter ",
    "OIDC_CLIENT_SECRET": "canary",
    "OIDC_GRANTS": '{"Platform": "admin", "Acme": {"role": "viewer", "tenants": ["acme", " acme"]}}',
}


def test_sign_in_by_openid_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    """An issuer is kept as it is written: a slash at its end belongs to its name."""
    given(monkeypatch, {f"TALKMETER_{name}": value for name, value in OIDC.items()})
    settings = load()
    assert settings.oidc_issuer == "https://login.example.com/realms/staff/"
    assert settings.oidc_client_id == "talkmeter"
    assert settings.oidc_grants == {"Platform": Grant("admin"), "Acme": Grant("viewer", ("acme",))}
    assert (settings.oidc_scopes, settings.oidc_groups_claim) == ("openid profile email", "groups")
    assert "canary" not in repr(settings)


@pytest.mark.parametrize("issuer", ["http://localhost:9400", "http://127.0.0.1:9400", "http://[::1]:9400"])
def test_an_issuer_on_this_machine_may_speak_plain_text(monkeypatch: pytest.MonkeyPatch, issuer: str) -> None:
    given(
        monkeypatch, {f"TALKMETER_{name}": value for name, value in (OIDC | {"OIDC_ISSUER": issuer}).items()}
    )
    assert load().oidc_issuer == issuer


@pytest.mark.parametrize(
    "issuer",
    [
        "http://login.example.com",
        "login.example.com",
        "https://",
        "https://a?b",
        "https://a#b",
        "https://[::1",
    ]
    + ["https://me:hunter2@a", "https://a b", f"https://a/{'x' * 300}"],
)
def test_what_is_no_issuer(monkeypatch: pytest.MonkeyPatch, issuer: str) -> None:
    (line,) = problems(monkeypatch, **OIDC | {"OIDC_ISSUER": issuer})
    assert "it should be your identity provider's issuer, an https:// URL" in line and "hunter2" not in line


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OIDC_SCOPES", "profile email", "openid among them"),
        ("OIDC_GROUPS_CLAIM", "x" * 301, "1 to 300 printable characters"),
        ("OIDC_CLIENT_ID", "a\x1bb", "1 to 300 printable characters"),
        ("OIDC_GRANTS", "admin", "it should be a JSON object that gives groups a role, such as"),
        ("OIDC_GRANTS", "[" * 100_000, "it should be a JSON object that gives groups a role, such as"),
        ("OIDC_GRANTS", '["Platform"]', "it should be a JSON object that gives groups a role, such as"),
        ("OIDC_GRANTS", '{"A": 7}', "it should be a JSON object that gives groups a role, such as"),
        ("OIDC_GRANTS", '{"A": {"tenants": ["a"]}}', "it should be a JSON object that gives groups"),
        ("OIDC_GRANTS", '{"A": {"role": "admin", "tenant": "a"}}', "it should be a JSON object that gives"),
        ("OIDC_GRANTS", '{"A": "root"}', "'A' should have one of the roles admin, finance, viewer, auditor"),
        ("OIDC_GRANTS", '{"A": {"role": ["admin"]}}', "'A' should have one of the roles admin, finance"),
        (
            "OIDC_GRANTS",
            '{"A": "viewer"}',
            "'A' should have tenants, since a viewer sees the costs of its own",
        ),
        ("OIDC_GRANTS", '{"A": {"role": "admin", "tenants": []}}', "'A' should name its tenants, or have no"),
        ("OIDC_GRANTS", '{"A": {"role": "admin", "tenants": "a"}}', "'A' should be a list of their names"),
        ("OIDC_GRANTS", '{"A": {"role": "admin", "tenants": [7]}}', "'A' should be a list of their names"),
        ("OIDC_GRANTS", '{"A": {"role": "admin", "tenants": [" "]}}', "'A' should be a list of their names"),
        ("OIDC_GRANTS", '{"": "admin"}', "the group '' should have 1 to 200 printable characters"),
        (
            "OIDC_GRANTS",
            json.dumps({"A": {"role": "admin", "tenants": [f"t{n}" for n in range(101)]}}),
            "'A' should have at most 100 tenants",
        ),
        (
            "OIDC_GRANTS",
            json.dumps({f"{n}{'x' * 190}": "admin" for n in range(200)}),
            "at most 32768 bytes: name fewer groups",
        ),
    ],
)
def test_sign_in_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    (line,) = problems(monkeypatch, **OIDC | {name: value})
    assert line.startswith(f"TALKMETER_{name}") and said in line
    assert "canary" not in line


@pytest.mark.parametrize(
    ("left_out", "said"),
    [
        ("OIDC_ISSUER", "TALKMETER_OIDC_ISSUER is not set: the other TALKMETER_OIDC_ settings need it"),
        ("OIDC_CLIENT_ID", "TALKMETER_OIDC_CLIENT_ID is not set: it should be the id that https://login"),
        ("OIDC_GRANTS", "TALKMETER_OIDC_GRANTS is not set: nobody could sign in, since groups say who may"),
    ],
)
def test_sign_in_wants_them_all(monkeypatch: pytest.MonkeyPatch, left_out: str, said: str) -> None:
    (line,) = problems(monkeypatch, **{name: value for name, value in OIDC.items() if name != left_out})
    assert line.startswith(said)

"""The settings: environment variables that start with `TALKMETER_`, or the same in a `.env` file.

Every setting is declared here once, with the line that describes it; the README's table is checked
against these. Secrets are `SecretStr` (a database URL hides its password), so none shows in a repr.
"""

import difflib
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from dotenv import dotenv_values
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from sqlalchemy import URL, make_url

from proxy.admin.config import Grant
from proxy.core.mail_relay import parse_mail_address
from proxy.setting_values import (
    GRANTS_SHAPE,
    Address,
    good_relay,
    long_enough,
    lower,
    parse_address,
    parse_aliases,
    parse_database_url,
    parse_grants,
    parse_ids,
    parse_issuer,
    parse_oidc_issuer,
    parse_oidc_text,
    parse_public_url,
    parse_scopes,
    parse_timezone,
    parse_upstream_url,
    strip,
)

__all__ = ["PREFIX", "Address", "Settings", "SettingsError", "load", "parse_address"]

PREFIX = "TALKMETER_"
PLAIN_UPSTREAM_KEY = "OPENAI_API_KEY"
JOURNAL_NAME = "talkmeter.journal.db"
MIB = 1024 * 1024
WORKERS_MAX = 64

_PASSWORD = re.compile(r"(:)[^:@\s]*@")
_VALUE_CHARS_MAX = 200


class SettingsError(Exception):
    """Settings that cannot be used: one line a problem, each naming its variable."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


Listen = Annotated[Address, NoDecode, BeforeValidator(parse_address)]
DatabaseUrl = Annotated[URL, NoDecode, BeforeValidator(parse_database_url)]
UpstreamUrl = Annotated[str, BeforeValidator(parse_upstream_url)]
TimeZone = Annotated[str, BeforeValidator(parse_timezone)]
PublicUrl = Annotated[str, BeforeValidator(parse_public_url)]
Issuer = Annotated[str, BeforeValidator(parse_issuer)]
Aliases = Annotated[dict[str, str], NoDecode, BeforeValidator(parse_aliases)]
LogFormat = Annotated[Literal["json", "console"], BeforeValidator(lower)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(lower)]
Secret = Annotated[SecretStr, BeforeValidator(strip)]
SmtpUrl = Annotated[Secret, AfterValidator(good_relay)]
MailAddress = Annotated[str, AfterValidator(parse_mail_address)]
AdminToken = Annotated[Secret, AfterValidator(long_enough)]
Ids = Annotated[tuple[str, ...] | None, NoDecode, BeforeValidator(parse_ids)]
OidcIssuer = Annotated[str, BeforeValidator(parse_oidc_issuer)]
OidcText = Annotated[str, BeforeValidator(parse_oidc_text)]
Scopes = Annotated[str, BeforeValidator(parse_scopes)]
Grants = Annotated[dict[str, Grant], NoDecode, BeforeValidator(parse_grants)]
Seconds = Annotated[float, Field(ge=0, le=86_400)]


class Settings(BaseSettings):
    """What `talkmeter` is told by its environment. Immutable; `load` makes one with readable errors."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
    )

    listen: Listen = Field(
        default=Address("127.0.0.1", 8080), description="Where apps connect (the data plane)"
    )
    admin_listen: Listen = Field(
        default=Address("127.0.0.1", 8081),
        description="Where the API, health and metrics are served (the control plane)",
    )
    public_url: PublicUrl | None = Field(
        default=None,
        description="Where people reach the [console](docs/console.md), such as `https://talkmeter.example.com`;"
        " unset: at `ADMIN_LISTEN`",
    )
    database_url: DatabaseUrl = Field(
        default=make_url("sqlite:///talkmeter.db"), description="The ledger's database: SQLite or PostgreSQL"
    )
    journal_path: Path | None = Field(
        default=None,
        description=f"This instance's journal; unset: `{JOURNAL_NAME}` beside the embedded database",
    )
    upstream_url: UpstreamUrl = Field(
        default="https://api.openai.com/v1", description="The voice API that sessions are relayed to"
    )
    upstream_api_key: Secret | None = Field(
        default=None, description=f"The key for the voice API; unset: `{PLAIN_UPSTREAM_KEY}` is used"
    )
    upstream_organization: str | None = Field(
        default=None, description="Sent upstream as `OpenAI-Organization`"
    )
    upstream_project: str | None = Field(default=None, description="Sent upstream as `OpenAI-Project`")
    upstream_admin_key: Secret | None = Field(
        default=None,
        description="OpenAI admin key: [compares the ledger with OpenAI's bill](docs/reconciliation.md)",
    )
    reconcile_projects: Ids = Field(
        default=None, description="Compare these OpenAI projects only (ids with commas)"
    )
    reconcile_keys: Ids = Field(default=None, description="…and these OpenAI keys (ids, not secrets)")
    reconcile_delay_h: Annotated[int, Field(ge=0, le=720)] = Field(
        default=24, description="So many hours after a day its bill is complete"
    )
    reconcile_usd: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=1, description="A day's unexplained difference raises an alert above so many dollars"
    )
    reconcile_percent: Annotated[int, Field(ge=0, le=100)] = Field(
        default=1, description="…and above so many percent of the bill"
    )
    model_aliases: Aliases = Field(
        default={}, description="JSON object: which model a deployment name stands for, to find its prices"
    )
    admin_token: AdminToken | None = Field(
        default=None,
        description="A token that may do everything in the API; `talkmeter token create` makes better ones",
    )
    metrics_token: Secret | None = Field(
        default=None,
        description="`/metrics` wants it as `Authorization: Bearer`; unset: only this machine may ask",
    )
    key_pepper: Secret | None = Field(
        default=None,
        description="Secret that API keys are hashed with; unset: generated beside the embedded database",
    )
    period_timezone: TimeZone = Field(default="UTC", description="Time zone that decides an entry's month")
    statement_issuer: Issuer | None = Field(
        default=None, description="Who issues [statements](docs/closing.md): stands on each"
    )
    four_eyes: bool = Field(
        default=False,
        description="A [second person](docs/closing.md#four-eyes) approves closes, large credits",
    )
    four_eyes_usd: Annotated[int, Field(ge=0, le=1_000_000_000)] = Field(
        default=100, description="…and adjustments: those above so many dollars"
    )
    smtp_url: SmtpUrl | None = Field(
        default=None,
        description="Mail server that [scheduled reports](docs/schedules.md) go through: `smtp://` (STARTTLS)"
        " or `smtps://`, with user and password",
    )
    smtp_from: MailAddress | None = Field(default=None, description="The address that they come from")
    anomaly_usd: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=5,
        description="An hour is [unusual](docs/schedules.md#unusual-hours) only when it is so many dollars"
        " above its median",
    )
    anomaly_deviations: Annotated[int, Field(ge=0, le=1_000)] = Field(
        default=5, description="…and so many deviations; 0: no hour is"
    )
    oidc_issuer: OidcIssuer | None = Field(
        default=None,
        description="Who [signs people in](docs/oidc.md) to the console, by OpenID Connect: an issuer's URL",
    )
    oidc_client_id: OidcText | None = Field(default=None, description="What it calls Talkmeter")
    oidc_client_secret: Secret | None = Field(
        default=None, description="…and the secret that it shares with it; unset: a public client"
    )
    oidc_scopes: Scopes = Field(default="openid profile email", description="What it is asked for")
    oidc_groups_claim: OidcText = Field(
        default="groups", description="The claim that has a person's groups, such as `realm_access.roles`"
    )
    oidc_grants: Grants = Field(
        default={},
        description="JSON object: which [role and tenants](docs/oidc.md#groups) a group gives",
    )
    linger_s: Seconds = Field(
        default=10, description="How long to wait upstream for the bill after a client left"
    )
    stall_s: Annotated[float, Field(gt=0, le=3_600)] = Field(
        default=10, description="How long a client may take no bytes before it is cut off"
    )
    idle_timeout_s: Annotated[float, Field(gt=0, le=86_400)] = Field(
        default=600, description="How long a client may send nothing at all before it is cut off"
    )
    drain_s: Seconds = Field(default=60, description="How long sessions may go on after a stop was asked for")
    message_bytes_max: Annotated[int, Field(ge=65_536, le=64 * MIB)] = Field(
        default=16 * MIB, description="The largest message, either way"
    )
    workers: Annotated[int, Field(ge=1, le=WORKERS_MAX)] = Field(
        default=1,
        description="How many processes share the apps' port; more than one want PostgreSQL"
        " ([workers](docs/deploying.md#workers))",
    )
    sessions_max: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=10_000, description="How many sessions this instance (each worker) holds at most"
    )
    tls_cert: Path | None = Field(
        default=None, description="PEM certificate chain; with `TLS_KEY`: both ports speak TLS"
    )
    tls_key: Path | None = Field(default=None, description="PEM private key of `TLS_CERT`")
    log_format: LogFormat = Field(default="json", description="`json` for machines, `console` for people")
    log_level: LogLevel = Field(default="info", description="`debug`, `info`, `warning` or `error`")

    @property
    def journal(self) -> Path:
        """Return where the journal lies: as set, else beside the embedded database, else here."""
        return self.journal_path or self.data_dir / JOURNAL_NAME

    @property
    def data_dir(self) -> Path:
        """Return the folder of the embedded database; the working directory with PostgreSQL."""
        return Path(self.database_url.database or "").parent if self.is_embedded else Path()

    @property
    def is_embedded(self) -> bool:
        """Tell whether the database is an SQLite file of our own."""
        return self.database_url.get_backend_name() == "sqlite"

    @property
    def console_url(self) -> str:
        """Return where people reach the console, without a path: as set, else where it is served."""
        if self.public_url is not None:
            return self.public_url
        local = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # what listens everywhere is not an address to go to
        host = local.get(self.admin_listen.host, self.admin_listen.host)
        scheme = "http" if self.tls_cert is None else "https"
        return f"{scheme}://{Address(host, self.admin_listen.port)}"

    def need_upstream_key(self) -> str:
        """Return the key for the voice API.

        Raises:
            SettingsError: there is none.
        """
        if self.upstream_api_key is None:
            raise SettingsError(
                f"{PREFIX}UPSTREAM_API_KEY is not set, nor is {PLAIN_UPSTREAM_KEY}:"
                " it should be your API key for the voice API"
            )
        return self.upstream_api_key.get_secret_value()

    def need_shared_database(self) -> None:
        """Raises SettingsError: there are to be several workers, and the database is for one instance."""
        if self.workers > 1 and self.is_embedded:
            raise SettingsError(
                f"{PREFIX}WORKERS is {self.workers}: each is an instance, and SQLite is for one instance. Set"
                f" {PREFIX}DATABASE_URL to a PostgreSQL database (postgresql://USER:PASSWORD@HOST/DATABASE),"
                f" or {PREFIX}WORKERS to 1"
            )

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            unset = "TLS_CERT" if self.tls_cert is None else "TLS_KEY"
            raise ValueError(f"{PREFIX}{unset} is not set: TLS needs both the certificate and its key")
        if self.listen == self.admin_listen and self.listen.port:
            raise ValueError(
                f"{PREFIX}ADMIN_LISTEN is {str(self.listen)!r}: it should differ from {PREFIX}LISTEN"
            )
        if self.smtp_url is not None and self.smtp_from is None:
            raise ValueError(f"{PREFIX}SMTP_FROM is not set: mail needs the address that it comes from")
        return self

    @model_validator(mode="after")
    def _can_sign_in(self) -> Self:
        given = (self.oidc_client_id, self.oidc_client_secret, self.oidc_grants)
        if self.oidc_issuer is None:
            if any(given):
                raise ValueError(
                    f"{PREFIX}OIDC_ISSUER is not set: the other {PREFIX}OIDC_ settings need it"
                    " to know your identity provider"
                )
        elif self.oidc_client_id is None:
            raise ValueError(
                f"{PREFIX}OIDC_CLIENT_ID is not set: it should be the id that {self.oidc_issuer} gave to"
                " Talkmeter when you registered it there"
            )
        elif not self.oidc_grants:
            raise ValueError(
                f"{PREFIX}OIDC_GRANTS is not set: nobody could sign in, since groups say who may;"
                f" {GRANTS_SHAPE}"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where values come from, first one wins; the plain key is the last resort."""
        return init_settings, env_settings, dotenv_settings, _PlainUpstreamKey(settings_cls)


class _PlainUpstreamKey(PydanticBaseSettingsSource):
    """`OPENAI_API_KEY`, from the environment or `.env`, when nothing nearer to us is set."""

    def __call__(self) -> dict[str, Any]:
        value = os.environ.get(PLAIN_UPSTREAM_KEY) or _dotenv().get(PLAIN_UPSTREAM_KEY)
        return {"upstream_api_key": value} if value else {}

    def get_field_value(self, field: object, field_name: str) -> tuple[Any, str, bool]:
        """Return nothing: `__call__` answers for the one field this source knows."""
        return None, field_name, False


def load(warn: Callable[[str], None] | None = None) -> Settings:
    """Return the settings of this process's environment and `.env`.

    `warn` hears of variables that look like ours and are not (stderr by default).

    Raises:
        SettingsError: values that cannot be used, all of them at once.
    """
    for warning in unknown_variables():
        (warn or _write_warning)(warning)
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError(*(_explain(problem) for problem in error.errors())) from None


def unknown_variables() -> list[str]:
    """Return a warning for every `TALKMETER_` variable that no setting has, with the nearest one."""
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    given = {name.upper() for name in (*os.environ, *_dotenv()) if name.upper().startswith(PREFIX)}
    return [_suggest(name, known) for name in sorted(given.difference(known))]


def _suggest(name: str, known: list[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    return f"{name} is not a setting of Talkmeter" + (f": did you mean {nearest[0]}?" if nearest else "")


def _dotenv() -> Mapping[str, str | None]:
    return dotenv_values(".env") if Path(".env").is_file() else {}


def _write_warning(warning: str) -> None:
    sys.stderr.write(f"warning: {warning}\n")


def _explain(problem: Mapping[str, Any]) -> str:
    """Return one line for one of pydantic's errors: the variable, its value, what it should be."""
    text = str(problem["msg"]).removeprefix("Value error, ").replace("Input should be", "it should be")
    if not problem["loc"]:
        return text  # about settings that do not fit together: it names them itself
    name = str(problem["loc"][0])
    variable = PREFIX + name.upper()
    field = Settings.model_fields.get(name)
    if field is None or name == "database_url" or "SecretStr" in str(field.annotation):
        return f"{variable}: {text}"
    return f"{variable} is {_shown(problem['input'])}: {text}"


def _shown(value: object) -> str:
    text = _PASSWORD.sub(r"\1***@", str(value))
    return repr(text if len(text) <= _VALUE_CHARS_MAX else text[:_VALUE_CHARS_MAX] + "…")

"""What the data plane tells the control plane: apart, so that the data plane loads none of its code."""

import msgspec


class BillConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How the ledger is compared with the provider's bill. Holds a secret: never log it."""

    url: str = "https://api.openai.com/v1"
    admin_key: str | None = None
    organization: str | None = None
    projects: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    delay_h: int = 24
    usd: int = 1
    percent: int = 1

    def __repr__(self) -> str:
        return f"BillConfig({self.url!r})"


class Grant(msgspec.Struct, frozen=True):
    """What a group of the identity provider may do: a role of `TokenRole`, and for which tenants.

    Tenants are names or ids. Without any it is not confined; a viewer has at least one.
    """

    role: str
    tenants: tuple[str, ...] = ()


class OidcConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Who signs people in to the console by OpenID Connect. Holds a secret: never log it."""

    issuer: str
    client_id: str
    client_secret: str | None = None
    scopes: str = "openid profile email"
    groups_claim: str = "groups"
    grants: dict[str, Grant]

    def __repr__(self) -> str:
        return f"OidcConfig({self.issuer!r}, {self.client_id!r})"


class ControlConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a control plane is told by the data plane that starts it. Holds secrets: never log it."""

    listen_fd: int
    data_planes: tuple[str, ...]  # the private socket of each: of the only one, or of worker 1, 2, …
    database_url: str
    metrics_token: str | None = None
    admin_token: str | None = None
    key_pepper: str | None = None
    period_timezone: str = "UTC"
    model_aliases: dict[str, str] = {}
    statement_issuer: str | None = None
    four_eyes: bool = False
    four_eyes_usd: int = 100
    smtp_url: str | None = None
    smtp_from: str | None = None
    anomaly_usd: int = 5
    anomaly_deviations: int = 5
    bill: BillConfig = BillConfig()
    oidc: OidcConfig | None = None  # None: nobody signs in by OpenID Connect
    public_url: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    log_format: str = "json"
    log_level: str = "info"
    starts: int = 0  # how many control planes it has started so far, this one too

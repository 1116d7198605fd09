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


class ControlConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a control plane is told by the data plane that starts it. Holds secrets: never log it."""

    listen_fd: int
    data_plane_socket: str
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
    tls_cert: str | None = None
    tls_key: str | None = None
    log_format: str = "json"
    log_level: str = "info"

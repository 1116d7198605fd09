"""What the settings say to a control plane. Apart from the relay: who supervises workers loads none of it."""

from collections.abc import Sequence

from pydantic import SecretStr

from proxy.admin.config import BillConfig, ControlConfig, OidcConfig
from proxy.settings import Settings


def control_config(settings: Settings, listen_fd: int, data_planes: Sequence[str]) -> ControlConfig:
    """Return what a control plane has to know: its listening socket, and where it finds the data planes."""
    return ControlConfig(
        listen_fd=listen_fd,
        data_planes=tuple(data_planes),
        database_url=settings.database_url.render_as_string(hide_password=False),
        metrics_token=_plain(settings.metrics_token),
        admin_token=_plain(settings.admin_token),
        key_pepper=_plain(settings.key_pepper),
        period_timezone=settings.period_timezone,
        model_aliases=settings.model_aliases,
        statement_issuer=settings.statement_issuer,
        four_eyes=settings.four_eyes,
        four_eyes_usd=settings.four_eyes_usd,
        smtp_url=_plain(settings.smtp_url),
        smtp_from=settings.smtp_from,
        anomaly_usd=settings.anomaly_usd,
        anomaly_deviations=settings.anomaly_deviations,
        bill=bill_config(settings),
        oidc=oidc_config(settings),
        public_url=settings.public_url,
        tls_cert=str(settings.tls_cert) if settings.tls_cert else None,
        tls_key=str(settings.tls_key) if settings.tls_key else None,
        log_format=settings.log_format,
        log_level=settings.log_level,
    )


def bill_config(settings: Settings) -> BillConfig:
    """Return how the ledger is compared with the provider's bill."""
    url = settings.upstream_url
    return BillConfig(
        url="http" + url.removeprefix("ws") if url.startswith("ws") else url,
        admin_key=_plain(settings.upstream_admin_key),
        organization=settings.upstream_organization,
        projects=settings.reconcile_projects or (),
        keys=settings.reconcile_keys or (),
        delay_h=settings.reconcile_delay_h,
        usd=settings.reconcile_usd,
        percent=settings.reconcile_percent,
    )


def oidc_config(settings: Settings) -> OidcConfig | None:
    """Return who signs people in to the console by OpenID Connect, None for nobody."""
    if settings.oidc_issuer is None or settings.oidc_client_id is None:
        return None
    return OidcConfig(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        client_secret=_plain(settings.oidc_client_secret),
        scopes=settings.oidc_scopes,
        groups_claim=settings.oidc_groups_claim,
        grants=settings.oidc_grants,
    )


def _plain(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None

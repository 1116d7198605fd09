"""Who is let in: good tokens while they are good; strangers cost little and are told little."""

from datetime import timedelta
from pathlib import Path

from proxy.clock import utc_now
from proxy.store import tokens
from proxy.store.audit import Act
from proxy.store.database import writing
from proxy.store.tokens import TokenRole
from tests.admin.api.asking import ADMIN_TOKEN, Asking, asking


async def test_me(api: Asking) -> None:
    assert (await api.done("GET", "/me"))["name"] == "admin-token"
    await api.done("POST", "/tenants", {"name": "acme"})
    me = await api.done("GET", "/me", token=api.token(TokenRole.VIEWER, "acme"))
    assert (me["role"], [one["name"] for one in me["tenants"]]) == ("viewer", ["acme"])


async def test_a_revoked_and_an_expired_token_are_unknown(api: Asking) -> None:
    act = Act("test", utc_now())
    with writing(api.engine) as connection:
        args = {"pepper": b"a pepper for tests only", "role": TokenRole.ADMIN, "act": act}
        made, secret = tokens.create_token(connection, name="ann", **args)  # type: ignore[arg-type]
        soon = act.at + timedelta(seconds=0.2)
        _, brief = tokens.create_token(connection, name="bob", expires_at=soon, **args)  # type: ignore[arg-type]
    await api.done("GET", "/me", token=secret)
    await api.done("DELETE", f"/tokens/{made.id}")
    await api.problem(401, "GET", "/me", token=secret)
    while utc_now() < soon:
        await api.problem(401, "GET", "/me", token="tma_" + "x" * 43)
    problem = await api.problem(401, "GET", "/me", token=brief)
    assert problem["detail"] == "This token is unknown, revoked or expired."


async def test_without_any_token_nobody_is_let_in(tmp_path: Path, sqlite_url: str) -> None:
    async with asking(tmp_path, sqlite_url, admin_token=None) as api:
        for given in (ADMIN_TOKEN, "", "None", None):
            await api.problem(401, "GET", "/tenants", token=given)


async def test_secrets_are_in_no_log(api: Asking, caplog: object) -> None:
    await api.done("POST", "/tenants", {"name": "acme"})
    secret = api.token(TokenRole.ADMIN)
    await api.done("GET", "/tenants", token=secret)
    await api.problem(401, "GET", "/tenants", token=secret + "x")
    said = str(getattr(caplog, "text", ""))
    assert secret not in said and ADMIN_TOKEN not in said

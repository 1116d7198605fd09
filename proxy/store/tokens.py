"""API tokens: what a person or a program proves to the API what it may see and do.

A token has a role, and may be confined to tenants. Its secret is kept as an API key's is. Functions over a
connection; the writing ones belong into `database.writing`, and all but `used` stand in the audit log.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, insert, or_, select, true, update

from proxy.ids import new_id
from proxy.store import Conflict, NotFound, StoreError
from proxy.store.audit import Act
from proxy.store.instants import format_instant
from proxy.store.keys import TOKEN_PREFIX, hash_secret, new_secret, shown_prefix
from proxy.store.pages import EVERYTHING, Page
from proxy.store.schema import api_token, api_token_tenant, tenant
from proxy.store.tenants import active_tenant, checked_name

ADMIN_TOKEN = "admin-token"  # how the audit log calls TALKMETER_ADMIN_TOKEN
TENANTS_MAX = 100  # that a token is confined to
USED_AGAIN = timedelta(minutes=1)  # its last use is written down at most so often


class TokenRole(StrEnum):
    """What a token may do. `docs/api.md` has the table of who may ask what."""

    ADMIN = "admin"  # everything
    FINANCE = "finance"  # reads what was spent, and corrects it
    VIEWER = "viewer"  # sees what its own tenants have spent
    AUDITOR = "auditor"  # reads everything, changes nothing


@dataclass(frozen=True, slots=True)
class TokenTenant:
    """A tenant that a token is confined to."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Token:
    """An API token, without its secret. Without tenants it is not confined."""

    id: str
    name: str
    role: str
    prefix: str
    tenants: Sequence[TokenTenant]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


def create_token(
    connection: Connection,
    pepper: bytes,
    *,
    name: str,
    role: TokenRole,
    act: Act,
    tenants: Iterable[str] = (),
    expires_at: datetime | None = None,
) -> tuple[Token, str]:
    """Return a new token and its secret, which cannot be had again. `tenants` are names or ids.

    Raises:
        StoreError: its name is taken (a revoked token keeps it), a tenant does not exist or is archived, or
            an argument cannot be used.
    """
    name = checked_name(name)
    confined = _confined_to(connection, tenants)
    if role is TokenRole.VIEWER and not confined:
        raise StoreError("A viewer sees the costs of its own tenants: give at least one.")
    if expires_at is not None and expires_at <= act.at:
        raise StoreError("This token would have expired already: give a later instant.")
    taken = connection.execute(select(api_token.c.id).where(api_token.c.name == name)).first()
    if taken or name == ADMIN_TOKEN:
        raise Conflict(f"There is a token {name!r} already: the audit log tells tokens apart by their names.")
    secret = new_secret(TOKEN_PREFIX)
    made = Token(
        new_id("tok"), name, role.value, shown_prefix(secret), confined, act.at, expires_at, None, None
    )
    row = {one: getattr(made, one) for one in Token.__slots__ if one != "tenants"}
    connection.execute(insert(api_token).values(**row, secret_hmac=hash_secret(secret, pepper)))
    if confined:
        rows = [{"token_id": made.id, "tenant_id": one.id} for one in confined]
        connection.execute(insert(api_token_tenant), rows)
    act.note(connection, "token.create", made.id, after=_noted(made))
    return made, secret


def list_tokens(connection: Connection, page: Page = EVERYTHING) -> list[Token]:
    """Return tokens in the order they were made, revoked ones too."""
    return _tokens(connection, true(), page)


def find_token(connection: Connection, token_id: str) -> Token:
    """Raises StoreError: there is no such token."""
    found = _tokens(connection, api_token.c.id == token_id)
    if not found:
        raise NotFound(f"There is no token {token_id[:60]!r}: the list of tokens says which there are.")
    return found[0]


def revoke_token(connection: Connection, token_id: str, act: Act) -> Token:
    """Revoke a token for good: its next request is refused.

    Raises:
        StoreError: there is no such token.
    """
    found = find_token(connection, token_id)
    valid = (api_token.c.id == token_id) & api_token.c.revoked_at.is_(None)
    if connection.execute(update(api_token).where(valid).values(revoked_at=act.at)).rowcount:
        after = {"revoked_at": format_instant(act.at)}
        act.note(connection, "token.revoke", token_id, before=_noted(found), after=after)
    return find_token(connection, token_id)


def token_of(connection: Connection, secret_hmac: str, now: datetime) -> Token | None:
    """Return the token whose secret has this hash, unless it is revoked or has expired."""
    mine = (api_token.c.secret_hmac == secret_hmac) & api_token.c.revoked_at.is_(None)
    lasts = or_(api_token.c.expires_at.is_(None), api_token.c.expires_at > now)
    found = _tokens(connection, mine & lasts)
    return found[0] if found else None


def is_use_due(found: Token, now: datetime) -> bool:
    """Tell whether it is time to write down that a token is used."""
    return found.last_used_at is None or found.last_used_at <= now - USED_AGAIN


def used(connection: Connection, token_id: str, now: datetime) -> None:
    """Write down when a token was last used."""
    connection.execute(update(api_token).where(api_token.c.id == token_id).values(last_used_at=now))


def _confined_to(connection: Connection, tenants: Iterable[str]) -> tuple[TokenTenant, ...]:
    found = {one.id: one.name for one in (active_tenant(connection, name) for name in tenants)}
    if len(found) > TENANTS_MAX:
        raise StoreError(f"A token is confined to at most {TENANTS_MAX} tenants.")
    return tuple(TokenTenant(id, name) for id, name in sorted(found.items()))


def _tokens(connection: Connection, wanted: ColumnElement[bool], page: Page = EVERYTHING) -> list[Token]:
    columns = [column for column in api_token.c if column is not api_token.c.secret_hmac]
    query = page.of(select(*columns).where(wanted), api_token.c.id, tenant_id=None)
    rows = connection.execute(query).all()
    confined = _tenants_of(connection, [row.id for row in rows])
    return [Token(**row._mapping, tenants=tuple(confined[row.id])) for row in rows]


def _tenants_of(connection: Connection, token_ids: Sequence[str]) -> dict[str, list[TokenTenant]]:
    found: dict[str, list[TokenTenant]] = {id: [] for id in token_ids}
    query = (
        select(api_token_tenant.c.token_id, tenant.c.id, tenant.c.name)
        .join(tenant, tenant.c.id == api_token_tenant.c.tenant_id)
        .where(api_token_tenant.c.token_id.in_(token_ids))
        .order_by(tenant.c.id)
    )
    for row in connection.execute(query):
        found[row.token_id].append(TokenTenant(row.id, row.name))
    return found


def _noted(one: Token) -> dict[str, Any]:
    """Return what the audit log says of a token: neither its secret nor any part of it."""
    return {
        "name": one.name,
        "role": one.role,
        "tenants": [tenant.name for tenant in one.tenants],
        "expires_at": format_instant(one.expires_at) if one.expires_at else None,
    }

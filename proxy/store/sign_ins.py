"""Sign-ins: who is signed in to the console, since when and until when.

A sign-in has a role, and may be confined to tenants, as an API token is. Its secret, which the browser
keeps, is stored as a token's is. Functions over a connection; the writing ones belong into
`database.writing`, and all but `seen` stand in the audit log.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, insert, or_, select, update

from proxy.ids import new_id
from proxy.store import NotFound, StoreError
from proxy.store.audit import Act
from proxy.store.instants import format_instant
from proxy.store.keys import SIGN_IN_PREFIX, hash_secret, new_secret
from proxy.store.schema import sign_in, sign_in_tenant, tenant
from proxy.store.tenants import checked_name
from proxy.store.tokens import TENANTS_MAX, TokenRole, TokenTenant

LOCAL_ADMIN = "local-admin"  # the subject of the local administrator, and how the audit log calls them
IDLE = timedelta(hours=1)  # unseen for so long, a sign-in is over
LASTS = timedelta(hours=12)  # however busy it is
SEEN_AGAIN = timedelta(minutes=1)  # that somebody was seen is written down at most so often
KEPT = timedelta(days=30)  # so long after its end it is deleted
SIGN_INS_MAX = 20  # of one subject at the same time: browsers and devices
SUBJECT_CHARS_MAX = 600  # an issuer's URL, and what it calls the person


class Way(StrEnum):
    """How somebody has proved who they are."""

    OIDC = "oidc"
    PASSWORD = "password"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Person:
    """Who signs in, and what they may see and do. Without tenants they are not confined."""

    way: Way
    subject: str  # with OIDC the issuer, a space and its `sub`; else LOCAL_ADMIN
    name: str  # such as an e-mail address
    role: TokenRole
    tenants: tuple[TokenTenant, ...] = ()

    @property
    def actor(self) -> str:
        """Return what the audit log calls them."""
        return f"user:{self.name}"


@dataclass(frozen=True, slots=True)
class SignIn:
    """A sign-in, without its secret."""

    id: str
    person: Person
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    ended_at: datetime | None


def begin(connection: Connection, pepper: bytes, person: Person, now: datetime) -> tuple[SignIn, str]:
    """Sign somebody in: return the sign-in and its secret, which cannot be had again.

    Of more than SIGN_INS_MAX of the same subject the oldest end. What ended long ago is deleted.

    Raises:
        StoreError: this person cannot be signed in, such as a viewer without tenants.
    """
    person = _checked(connection, person)
    act = Act(person.actor, now)
    _forget(connection, now - KEPT)
    _make_room(connection, person.subject, act)
    secret = new_secret(SIGN_IN_PREFIX)
    made = SignIn(new_id("sgi"), person, now, now, now + LASTS, None)
    row = {one: getattr(made, one) for one in SignIn.__slots__ if one != "person"}
    row |= {one: getattr(person, one) for one in ("way", "subject", "name", "role")}
    connection.execute(insert(sign_in).values(**row, secret_hmac=hash_secret(secret, pepper)))
    if person.tenants:
        rows = [{"sign_in_id": made.id, "tenant_id": one.id} for one in person.tenants]
        connection.execute(insert(sign_in_tenant), rows)
    act.note(connection, "sign_in.begin", made.id, after=_noted(made))
    return made, secret


def sign_in_of(connection: Connection, secret_hmac: str, now: datetime) -> SignIn | None:
    """Return the sign-in whose secret has this hash, unless it is over.

    Its tenants are those that are not archived by now. Who was confined and has none of them left has no
    sign-in any more: without tenants they would see everything.
    """
    found = _sign_ins(connection, (sign_in.c.secret_hmac == secret_hmac) & _is_live(now))
    return found[0] if found else None


def list_sign_ins(connection: Connection, now: datetime) -> list[SignIn]:
    """Return who is signed in, in the order they began."""
    return _sign_ins(connection, _is_live(now))


def names_of(connection: Connection, subject: str) -> frozenset[str]:
    """Return what a subject was called in every sign-in that is kept: names change, and people do not."""
    called = select(sign_in.c.name).where(sign_in.c.subject == subject).distinct()
    return frozenset(connection.execute(called).scalars())


def is_seen_due(found: SignIn, now: datetime) -> bool:
    """Tell whether it is time to write down that somebody is there."""
    return found.seen_at <= now - SEEN_AGAIN


def seen(connection: Connection, sign_in_id: str, now: datetime) -> None:
    """Write down when somebody was last there."""
    connection.execute(update(sign_in).where(sign_in.c.id == sign_in_id).values(seen_at=now))


def end(connection: Connection, sign_in_id: str, act: Act) -> None:
    """End a sign-in for good: its next request is refused. One that has ended stays as it is.

    Raises:
        StoreError: there is no such sign-in.
    """
    if not connection.execute(select(sign_in.c.id).where(sign_in.c.id == sign_in_id)).first():
        raise NotFound(
            f"There is no sign-in {sign_in_id[:60]!r}: the list of sign-ins says which are going on."
        )
    _end(connection, sign_in.c.id == sign_in_id, act)


def end_all_of(connection: Connection, subject: str, act: Act) -> int:
    """End every sign-in of a subject that is still going on; return how many those were."""
    return _end(connection, (sign_in.c.subject == subject) & _is_live(act.at), act)


def _end(connection: Connection, which: ColumnElement[bool], act: Act) -> int:
    query = select(sign_in.c.id, sign_in.c.name).where(which, sign_in.c.ended_at.is_(None))
    ended = 0
    for row in connection.execute(query.order_by(sign_in.c.id)).all():
        going_on = (sign_in.c.id == row.id) & sign_in.c.ended_at.is_(None)
        if connection.execute(update(sign_in).where(going_on).values(ended_at=act.at)).rowcount:
            after = {"ended_at": format_instant(act.at)}
            act.note(connection, "sign_in.end", row.id, before={"name": row.name}, after=after)
            ended += 1
    return ended


def _checked(connection: Connection, person: Person) -> Person:
    """Return the person as they are kept, confined to tenants that are there.

    Raises:
        StoreError: they cannot be signed in.
    """
    name, subject = checked_name(person.name), person.subject
    if not 0 < len(subject) <= SUBJECT_CHARS_MAX or not subject.isprintable():
        raise StoreError(f"Who signs in has 1 to {SUBJECT_CHARS_MAX} printable characters.")
    is_local = person.way is not Way.OIDC
    if (subject == LOCAL_ADMIN) != is_local or (name == LOCAL_ADMIN) != is_local:
        raise StoreError(f"{LOCAL_ADMIN} is the local administrator: nobody else is called so.")
    if person.role is TokenRole.VIEWER and not person.tenants:
        raise StoreError("A viewer sees the costs of its own tenants: give at least one.")
    return replace(person, name=name, tenants=_there(connection, person.tenants))


def _there(connection: Connection, wanted: Iterable[TokenTenant]) -> tuple[TokenTenant, ...]:
    ids = {one.id for one in wanted}
    if len(ids) > TENANTS_MAX:
        raise StoreError(f"Somebody is confined to at most {TENANTS_MAX} tenants.")
    query = select(tenant.c.id, tenant.c.name).where(tenant.c.id.in_(ids), tenant.c.archived_at.is_(None))
    found = tuple(TokenTenant(row.id, row.name) for row in connection.execute(query.order_by(tenant.c.id)))
    if ids and not found:
        raise StoreError("All tenants that this person may see are archived, or do not exist.")
    return found


def _make_room(connection: Connection, subject: str, act: Act) -> None:
    """End the oldest sign-ins but for those that go together with one more.

    Several that begin at once may be a few too many, until the next one begins.
    """
    mine = (sign_in.c.subject == subject) & _is_live(act.at)
    newest = select(sign_in.c.id).where(mine).order_by(sign_in.c.id.desc())
    too_many = connection.execute(newest.offset(SIGN_INS_MAX - 1)).scalars().all()
    if too_many:
        reason = f"at most {SIGN_INS_MAX} sign-ins at the same time"
        _end(connection, sign_in.c.id.in_(too_many), replace(act, reason=reason))


def _forget(connection: Connection, before: datetime) -> None:
    old = or_(sign_in.c.ended_at < before, sign_in.c.expires_at < before)
    ids = connection.execute(select(sign_in.c.id).where(old)).scalars().all()
    connection.execute(delete(sign_in_tenant).where(sign_in_tenant.c.sign_in_id.in_(ids)))
    connection.execute(delete(sign_in).where(sign_in.c.id.in_(ids)))


def _is_live(now: datetime) -> ColumnElement[bool]:
    lasts = (sign_in.c.expires_at > now) & (sign_in.c.seen_at > now - IDLE)
    return sign_in.c.ended_at.is_(None) & lasts


def _sign_ins(connection: Connection, wanted: ColumnElement[bool]) -> list[SignIn]:
    columns = [column for column in sign_in.c if column is not sign_in.c.secret_hmac]
    rows = connection.execute(select(*columns).where(wanted).order_by(sign_in.c.id)).all()
    confined = _tenants_of(connection, [row.id for row in rows])
    found = []
    for row in rows:
        left = confined.get(row.id)
        if left == [] or (left is None and row.role == TokenRole.VIEWER):
            continue  # confined to nothing that is there: not to be taken for one that is not confined
        person = Person(Way(row.way), row.subject, row.name, TokenRole(row.role), tuple(left or ()))
        found.append(SignIn(row.id, person, row.created_at, row.seen_at, row.expires_at, row.ended_at))
    return found


def _tenants_of(connection: Connection, sign_in_ids: Sequence[str]) -> dict[str, list[TokenTenant]]:
    """Return the tenants that are left of those that each is confined to; nothing of who is not confined."""
    found: dict[str, list[TokenTenant]] = {}
    query = (
        select(sign_in_tenant.c.sign_in_id, tenant.c.id, tenant.c.name, tenant.c.archived_at)
        .join(tenant, tenant.c.id == sign_in_tenant.c.tenant_id)
        .where(sign_in_tenant.c.sign_in_id.in_(sign_in_ids))
        .order_by(tenant.c.id)
    )
    for row in connection.execute(query):
        left = found.setdefault(row.sign_in_id, [])
        if row.archived_at is None:
            left.append(TokenTenant(row.id, row.name))
    return found


def _noted(one: SignIn) -> dict[str, Any]:
    """Return what the audit log says of a sign-in: neither its secret nor any part of it."""
    person = one.person
    return {
        "way": person.way.value,
        "subject": person.subject,
        "name": person.name,
        "role": person.role.value,
        "tenants": [tenant.name for tenant in person.tenants],
        "expires_at": format_instant(one.expires_at),
    }

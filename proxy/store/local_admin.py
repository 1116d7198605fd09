"""The local administrator, who can sign in when nobody else can: a password, and links that sign in once.

The password is kept as argon2id, in one row. To make or to check such a hash takes about 100 ms and 64 MiB:
whoever serves others does it in a thread, one at a time, and counts failures (`core/attempts.py`).
"""

import unicodedata
from datetime import datetime, timedelta

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError
from sqlalchemy import Connection, Engine, delete, func, insert, select, update

from proxy.ids import new_id
from proxy.store import Conflict, NotFound, StoreError
from proxy.store.audit import Act
from proxy.store.database import reading, writing
from proxy.store.instants import format_instant
from proxy.store.keys import LINK_PREFIX, hash_secret, looks_like_secret, new_secret
from proxy.store.schema import local_admin, sign_in_link
from proxy.store.sign_ins import KEPT, LOCAL_ADMIN, Person, Way, end_all_of
from proxy.store.tokens import TokenRole

PASSWORD_CHARS_MIN = 12
PASSWORD_CHARS_MAX = 1_000
LINK_LASTS = timedelta(minutes=10)
LINK_LASTS_MAX = timedelta(days=1)
LINKS_MAX = 100  # that can be used at the same time

# RFC 9106's second choice, spelt out: were it the library's, another release could make the dummy unlike
# what is stored.
HASHER = PasswordHasher(time_cost=3, memory_cost=65_536, parallelism=4, hash_len=32, salt_len=16)
# Of no password: checked where none is set, so that the time an answer takes does not tell.
DUMMY = "$argon2id$v=19$m=65536,t=3,p=4$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


def administrator(way: Way) -> Person:
    """Return the local administrator as the person who signs in by password or by link."""
    return Person(way, LOCAL_ADMIN, LOCAL_ADMIN, TokenRole.ADMIN)


# --- The password


def set_password(connection: Connection, password: str, act: Act) -> int:
    """Set the password. All sign-ins of the local administrator end: return how many those were.

    Raises:
        StoreError: it is too short or too long.
    """
    if not PASSWORD_CHARS_MIN <= len(password) <= PASSWORD_CHARS_MAX:
        raise StoreError(
            f"A password has at least {PASSWORD_CHARS_MIN} and at most {PASSWORD_CHARS_MAX:,} characters:"
            " `openssl rand -base64 18` prints a good one."
        )
    row = {"password_hash": HASHER.hash(_as_bytes(password)), "set_at": act.at}
    if not connection.execute(update(local_admin).values(row)).rowcount:
        connection.execute(insert(local_admin).values(id=1, **row))
    act.note(connection, "local_admin.set_password", LOCAL_ADMIN)
    return end_all_of(connection, LOCAL_ADMIN, act)


def remove_password(connection: Connection, act: Act) -> int:
    """Remove the password: nobody signs in with it any more. Sign-ins end as by `set_password`.

    Raises:
        StoreError: there is none.
    """
    if not connection.execute(delete(local_admin)).rowcount:
        raise NotFound("The local administrator has no password: there is nothing to remove.")
    act.note(connection, "local_admin.remove_password", LOCAL_ADMIN)
    return end_all_of(connection, LOCAL_ADMIN, act)


def check_password(engine: Engine, password: str) -> bool:
    """Tell whether this is the password, in the same time whether one is set or not.

    No transaction is open while it is checked. A good one is hashed again where the parameters have changed.

    Raises:
        StoreError: what is stored is no hash of a password.
    """
    with reading(engine) as connection:
        stored = connection.execute(select(local_admin.c.password_hash)).scalar_one_or_none()
    fits = len(password) <= PASSWORD_CHARS_MAX
    given = _as_bytes(password if fits else "")
    try:
        HASHER.verify(DUMMY if stored is None or not fits else stored, given)
    except VerifyMismatchError:
        return False
    except (VerificationError, InvalidHashError):
        raise StoreError(
            "The local administrator's password is damaged: `talkmeter console password` sets a new one."
        ) from None
    if stored is None or not fits:
        return False
    if HASHER.check_needs_rehash(stored):
        _hash_again(engine, stored, given)
    return True


def _hash_again(engine: Engine, stored: str, given: bytes) -> None:
    made = HASHER.hash(given)
    unchanged = local_admin.c.password_hash == stored  # not over a password that was set meanwhile
    with writing(engine) as connection:
        connection.execute(update(local_admin).where(unchanged).values(password_hash=made))


def _as_bytes(password: str) -> bytes:
    """Return what is hashed: the same for an ü whichever way a keyboard writes it."""
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


# --- Links


def make_link(
    connection: Connection, pepper: bytes, act: Act, now: datetime, lasts: timedelta = LINK_LASTS
) -> str:
    """Return the secret of a new link that signs the local administrator in once.

    Raises:
        StoreError: it would last too long or not at all, or too many can be used already.
    """
    if not timedelta() < lasts <= LINK_LASTS_MAX:
        raise StoreError("A link lasts for at most a day, and for more than no time.")
    connection.execute(delete(sign_in_link).where(sign_in_link.c.expires_at < now - KEPT))
    usable = (sign_in_link.c.expires_at > now) & sign_in_link.c.used_at.is_(None)
    if connection.execute(select(func.count()).where(usable)).scalar_one() >= LINKS_MAX:
        raise Conflict(f"There are {LINKS_MAX} links that nobody has used: wait until they expire.")
    secret = new_secret(LINK_PREFIX)
    row = {"id": new_id("lnk"), "created_at": now, "expires_at": now + lasts}
    connection.execute(insert(sign_in_link).values(**row, secret_hmac=hash_secret(secret, pepper)))
    after = {"expires_at": format_instant(now + lasts)}
    act.note(connection, "sign_in_link.create", str(row["id"]), after=after)
    return secret


def use_link(connection: Connection, pepper: bytes, secret: str, now: datetime) -> bool:
    """Use a link up, and tell whether it was good: true once for each link, and only until it expires.

    Of two that try at the same moment the second one waits for the first one's transaction. Where that is
    rolled back, the link is as good as before.
    """
    if not looks_like_secret(secret, LINK_PREFIX):
        return False
    mine = sign_in_link.c.secret_hmac == hash_secret(secret, pepper)
    good = mine & sign_in_link.c.used_at.is_(None) & (sign_in_link.c.expires_at > now)
    return connection.execute(update(sign_in_link).where(good).values(used_at=now)).rowcount == 1

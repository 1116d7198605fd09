"""The secrets behind API keys, API tokens and sign-ins: made, hashed and recognised.

A secret is 256 random bits, shown once and kept only as an HMAC-SHA256 under the pepper, which lies
outside the database: who reads the database can neither use a key nor test a guess.
"""

import contextlib
import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

from proxy.store import StoreError

SECRET_PREFIX = "tm_"
TOKEN_PREFIX = "tma_"  # of API tokens, which the control plane takes and the data plane does not
SIGN_IN_PREFIX = "tms_"  # of people who are signed in to the console
LINK_PREFIX = "tml_"  # of links that sign in once
PEPPER_FILE = "talkmeter.pepper"
PEPPER_CHARS_MIN = 16
_PREFIX_CHARS = 8  # of a secret, kept readable so that a person can tell keys apart: 30 of 256 bits
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGITS_COUNT = 43  # 62⁴³ is just above 2²⁵⁶
_SHAPES = {
    prefix: re.compile(rf"{prefix}[0-9A-Za-z]{{{_DIGITS_COUNT}}}")
    for prefix in (SECRET_PREFIX, TOKEN_PREFIX, SIGN_IN_PREFIX, LINK_PREFIX)
}


def new_secret(prefix: str = SECRET_PREFIX) -> str:
    """Return a new secret: its prefix and 43 letters and digits."""
    number = int.from_bytes(secrets.token_bytes(32), "big")
    digits = []
    for _ in range(_DIGITS_COUNT):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return prefix + "".join(digits)


def looks_like_secret(text: str, prefix: str = SECRET_PREFIX) -> bool:
    """Tell whether `text` could be one of ours: what cannot be needs no look into the database."""
    return _SHAPES[prefix].fullmatch(text) is not None


def hash_secret(secret: str, pepper: bytes) -> str:
    """Return what is stored of a secret."""
    return hmac.new(pepper, secret.encode(), hashlib.sha256).hexdigest()


def shown_prefix(secret: str) -> str:
    """Return the beginning of a secret, by which people recognise a key in a list."""
    return secret[:_PREFIX_CHARS]


def load_pepper(configured: str | None, database_file: Path | None, *, keys_exist: bool) -> bytes:
    """Return the pepper: `KEY_PEPPER`, or the file beside an embedded database, made when missing.

    `keys_exist` says whether the database has API keys already: then a missing file is not replaced
    by a new one, since that would lock every app out without a word.

    Raises:
        StoreError: there is none and none can be made.
    """
    if configured:
        if len(configured) < PEPPER_CHARS_MIN:
            raise StoreError(f"KEY_PEPPER is too short: use at least {PEPPER_CHARS_MIN} random characters.")
        return configured.encode()
    if database_file is None:
        raise StoreError(
            "KEY_PEPPER is not set. With PostgreSQL every instance needs the same one: set"
            " TALKMETER_KEY_PEPPER to a long random text, such as `openssl rand -hex 32` prints."
        )
    path = database_file.with_name(PEPPER_FILE)
    try:
        return _read(path) or _make(path, keys_exist=keys_exist)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be used: {error.strerror}. Set TALKMETER_KEY_PEPPER instead."
        ) from None


def _read(path: Path) -> bytes | None:
    """Return what the file holds, or None when there is no file."""
    try:
        text = path.read_text("ascii", "replace").strip()
    except FileNotFoundError:
        return None
    if len(text) < PEPPER_CHARS_MIN:
        raise StoreError(f"{path} is damaged: restore it from a backup, or set TALKMETER_KEY_PEPPER.")
    return text.encode()


def _make(path: Path, *, keys_exist: bool) -> bytes:
    """Write a new pepper for this user's eyes only; of two processes that try, one wins for both."""
    if keys_exist:
        raise StoreError(
            f"{path} is missing, and without it no API key can be checked: restore it from a backup, or"
            " set TALKMETER_KEY_PEPPER to what the keys were made with (or to a new one, and make new keys)."
        )
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)  # whole or not at all, and never over another's
    finally:
        draft.unlink(missing_ok=True)
    made = _read(path)
    if made is None:
        raise StoreError(f"{path} was removed while it was made: try again.")
    return made

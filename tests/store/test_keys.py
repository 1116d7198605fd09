"""Secrets and the pepper."""

import os
import stat
import threading
from pathlib import Path

import pytest

from proxy.store import StoreError
from proxy.store.keys import (
    LINK_PREFIX,
    PEPPER_FILE,
    SECRET_PREFIX,
    SIGN_IN_PREFIX,
    TOKEN_PREFIX,
    hash_secret,
    load_pepper,
    looks_like_secret,
    new_secret,
    shown_prefix,
)

CONFIGURED = "0123456789abcdef"


def test_secrets_are_all_different_and_look_like_ours() -> None:
    secrets = {new_secret() for _ in range(1_000)}
    assert len(secrets) == 1_000
    assert all(looks_like_secret(secret) for secret in secrets)
    assert {len(secret) for secret in secrets} == {46}


@pytest.mark.parametrize(
    "text", ["", "tm_", "sk-abc", "tm_" + "a" * 42, "tm_" + "a" * 44, "tm_" + "a" * 42 + "\n"]
)
def test_other_texts_do_not_look_like_ours(text: str) -> None:
    assert not looks_like_secret(text)


def test_no_secret_is_taken_for_one_of_another_kind() -> None:
    kinds = (SECRET_PREFIX, TOKEN_PREFIX, SIGN_IN_PREFIX, LINK_PREFIX)
    for kind in kinds:
        assert [other for other in kinds if looks_like_secret(new_secret(kind), other)] == [kind]


def test_the_hash_depends_on_secret_and_pepper() -> None:
    secret = new_secret()
    hashed = hash_secret(secret, b"one")
    assert hashed == hash_secret(secret, b"one")
    assert hashed not in (hash_secret(secret, b"two"), hash_secret(new_secret(), b"one"))
    assert secret not in hashed and shown_prefix(secret) == secret[:8]


def test_the_configured_pepper_wins(tmp_path: Path) -> None:
    assert load_pepper(CONFIGURED, tmp_path / "talkmeter.db", keys_exist=True) == CONFIGURED.encode()
    assert not (tmp_path / PEPPER_FILE).exists()


def test_a_short_pepper_is_refused() -> None:
    with pytest.raises(StoreError, match="at least 16"):
        load_pepper("short", None, keys_exist=False)


def test_postgres_needs_a_configured_pepper() -> None:
    with pytest.raises(StoreError, match="TALKMETER_KEY_PEPPER"):
        load_pepper(None, None, keys_exist=False)


def test_a_pepper_is_made_once_for_this_user_only(tmp_path: Path) -> None:
    database = tmp_path / "talkmeter.db"
    made = load_pepper(None, database, keys_exist=False)
    assert stat.S_IMODE(os.stat(tmp_path / PEPPER_FILE).st_mode) == 0o600
    assert load_pepper(None, database, keys_exist=True) == made
    assert len(made) == 64
    assert [path.name for path in tmp_path.iterdir()] == [PEPPER_FILE]


def test_those_who_make_it_at_once_get_the_same(tmp_path: Path) -> None:
    peppers: list[bytes] = []
    start = threading.Barrier(8)

    def load() -> None:
        start.wait()
        peppers.append(load_pepper(None, tmp_path / "talkmeter.db", keys_exist=False))

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(peppers) == 8 and len(set(peppers)) == 1


def test_a_lost_pepper_is_not_replaced_silently(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="restore it from a backup"):
        load_pepper(None, tmp_path / "talkmeter.db", keys_exist=True)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_pepper_is_told(tmp_path: Path) -> None:
    (tmp_path / PEPPER_FILE).write_text("\n")
    with pytest.raises(StoreError, match="damaged"):
        load_pepper(None, tmp_path / "talkmeter.db", keys_exist=False)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be used"):
        load_pepper(None, tmp_path / "none" / "talkmeter.db", keys_exist=False)

"""The file: it comes back as it went in, is the same each time, and tells when it was damaged."""

import gzip
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.store import StoreError
from proxy.store.archive_file import Filed, Header, footer_of, header_of, pack, unpack

HEADER = Header(period="2026-10", zone="UTC", seal="0:")
ROWS = [Filed([1, "k", None, True], [[1, "text_in", 10]]), Filed([2, "é\ufffd", 2**62, False], [])]
VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
FILED = st.builds(Filed, st.lists(VALUES), st.lists(st.lists(VALUES), max_size=3))


def packed(rows: list[Filed]) -> bytes:
    file = io.BytesIO()
    pack(file, HEADER, rows)
    return file.getvalue()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "archive"
    path.write_bytes(packed(ROWS))
    return path


@given(rows=st.lists(FILED, max_size=4))
def test_what_goes_in_comes_out(tmp_path_factory: pytest.TempPathFactory, rows: list[Filed]) -> None:
    path = tmp_path_factory.mktemp("archive") / "a"
    path.write_bytes(packed(rows))
    assert list(unpack(path)) == rows
    assert header_of(path) == HEADER
    footer = footer_of(path)
    assert (footer.entries, footer.lines) == (len(rows), sum(len(one.lines) for one in rows))


def test_the_same_is_the_same_file(path: Path) -> None:
    """The format stays as it is: a digest that somebody keeps has to be found by every later version."""
    assert packed(ROWS) == path.read_bytes()
    plain = Header(period="2026-10", zone="UTC", seal="0:", entry_columns=("id",), line_columns=("entry_id",))
    file = io.BytesIO()
    pack(file, plain, [Filed([1, None], [[1, "text_in", 10]])])
    assert gzip.decompress(file.getvalue()).decode().splitlines()[:2] == [
        '{"type":"ledger-archive","format":1,"period":"2026-10","zone":"UTC","seal":"0:",'
        '"entry_columns":["id"],"line_columns":["entry_id"]}',
        '{"type":"entry","entry":[1,null],"lines":[[1,"text_in",10]]}',
    ]


def without_end(raw: bytes) -> bytes:
    return gzip.compress(b"\n".join(gzip.decompress(raw).splitlines()[:-1]) + b"\n")


def with_more(raw: bytes) -> bytes:
    return gzip.compress(gzip.decompress(raw) + b"{}")


def with_another_value(raw: bytes) -> bytes:
    return gzip.compress(gzip.decompress(raw).replace(b'"text_in",10', b'"text_in",11'))


def with_a_row_less(raw: bytes) -> bytes:
    head, _, *rest = gzip.decompress(raw).splitlines()
    return gzip.compress(b"\n".join([head, *rest]) + b"\n")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (without_end, "was cut off: it has no end"),
        (with_more, "does not hold what its end says"),
        (with_another_value, "does not hold what its end says"),
        (with_a_row_less, "does not hold what its end says"),
        (lambda raw: raw[:-9], "is damaged"),
        (lambda raw: raw[:60] + b"XXXX" + raw[64:], "is damaged|is not an archive"),
        (lambda raw: b"", "is not an archive of the ledger"),
        (lambda raw: b"nothing of the kind", "is not an archive of the ledger"),
        (lambda raw: gzip.compress(b'{"type": "entry"}\n'), "is not an archive of the ledger"),
        (
            lambda raw: gzip.compress(gzip.decompress(raw).replace(b'"format":1', b'"format":2')),
            "of a later format",
        ),
    ],
)
def test_damage_is_told(path: Path, damage: Any, said: str) -> None:
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(StoreError, match=said):
        list(unpack(path))
    with pytest.raises(StoreError, match=said):
        footer_of(path)


def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not an archive of the ledger: .*No such file"):
        header_of(tmp_path / "none")

"""The journal: who has it, its disk, and what waits in it; looked at and left as it was."""

import os
import sqlite3
from pathlib import Path

import pytest

from proxy.checks.findings import Status
from proxy.checks.journal import MIB, Mount, ask_journal, backlog, disk, mount_of
from proxy.core.records import SessionOpened
from proxy.store.journal_file import Backlog, JournalFile, pack
from tests.checks.looking import FAILED, NOT_ASKED, OK, WARNING, found
from tests.ledgers import NOW

EXT4 = Mount("/data", "ext4", "/dev/sdb1")
TABLE = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:25 / /run rw,nosuid - tmpfs tmpfs rw,size=100k
41 22 8:17 / /var/lib/talk\040meter rw,relatime shared:7 master:2 - xfs /dev/sdb1 rw
42 22 0:50 / /var/lib/talk\040meter rw - nfs4 server:/x rw
"""


def opened(session_id: str) -> SessionOpened:
    return SessionOpened(
        session_id=session_id,
        tenant_id="t_1",
        project_id=None,
        api_key_id="k_1",
        end_user=None,
        tags={},
        provider="openai",
        account=None,
        model="gpt-realtime",
        opened_at=NOW,
    )


def test_before_the_first_start(tmp_path: Path) -> None:
    """Nothing is made by looking."""
    findings = found(tmp_path, ask_journal)
    assert findings["journal"].status is OK and findings["journal backlog"].status is NOT_ASKED
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    findings = found(tmp_path, ask_journal, journal_path=Path("/nowhere/j.db"))
    assert "TALKMETER_JOURNAL_PATH: there is no folder '/nowhere'" in findings["journal"].found
    assert findings["journal disk"].status is NOT_ASKED


def test_another_process_has_it(tmp_path: Path) -> None:
    """It is named; where no Talkmeter answers at our port it may be another instance's."""
    path = tmp_path / "j.db"
    file = JournalFile(path)
    finding = found(tmp_path, ask_journal, journal_path=path)["journal"]
    assert finding.status is WARNING and f"in use by pid {os.getpid()}" in finding.found
    file.close()
    assert found(tmp_path, ask_journal, journal_path=path)["journal"].status is OK


def test_what_a_run_left(tmp_path: Path) -> None:
    """It is counted, of the last run or of this one, and not touched."""
    path = tmp_path / "j.db"
    file = JournalFile(path)
    at = int(NOW.timestamp() * 1e6)
    file.commit([lambda f: f.add(pack(opened("s_1"), at)), lambda f: f.add(pack(opened("s_2"), at))])
    running = found(tmp_path, ask_journal, journal_path=path)["journal backlog"]
    assert running.status is OK and "2 records are not in the ledger yet" in running.found
    assert "of 2026-11-23 12:00 UTC" in running.found
    file.close()
    before = path.read_bytes()
    left = found(tmp_path, ask_journal, journal_path=path)["journal backlog"]
    assert left.status is WARNING and "Do not delete it" in left.to_do
    assert path.read_bytes() == before


def test_refused_and_empty() -> None:
    finding = backlog(Backlog(0, 3, None), is_held=True)
    assert finding.status is WARNING and "3 were refused" in finding.found
    assert backlog(Backlog(0, 0, None), is_held=False).found == "everything is in the ledger"


@pytest.mark.parametrize("content", [b"not a database at all, though longer than its header" * 40, b""])
def test_a_file_that_is_no_journal(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "j.db"
    path.write_bytes(content)
    finding = found(tmp_path, ask_journal, journal_path=path)["journal backlog"]
    assert finding.status is FAILED and "cannot be read as a journal" in finding.found


def test_another_database(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE x (y)")
    connection.close()
    assert found(tmp_path, ask_journal, journal_path=path)["journal backlog"].status is FAILED


@pytest.mark.parametrize(
    ("mount", "free_mib", "status", "said"),
    [
        (EXT4, 5_000, OK, "/data (ext4, /dev/sdb1) has 5,000 MiB left"),
        (None, 5_000, OK, "the disk of /data/j.db has"),
        (EXT4, 200, WARNING, "200 MiB left"),
        (EXT4, 100, FAILED, "100 MiB left"),
        (Mount("/", "overlay", "overlay"), 5_000, WARNING, "gone after a restart"),
        (Mount("/data", "nfs4", "server:/x"), 5_000, WARNING, "over a network"),
    ],
)
def test_its_disk(mount: Mount | None, free_mib: int, status: Status, said: str) -> None:
    finding = disk(Path("/data/j.db"), mount, free_mib * MIB, 128 * MIB)
    assert finding.status is status and said in finding.found


def test_what_a_folder_lies_on() -> None:
    """The deepest mount, and of two at one place the later."""
    assert mount_of(TABLE, Path("/var/lib/other")) == Mount("/", "ext4", "/dev/sda1")
    assert mount_of(TABLE, Path("/run/talkmeter")) == Mount("/run", "tmpfs", "tmpfs")
    assert mount_of(TABLE, Path("/var/lib/talk meter/j")) == Mount("/var/lib/talk meter", "nfs4", "server:/x")
    assert mount_of("", Path("/x")) is None


def test_each_worker_has_one(tmp_path: Path) -> None:
    """All are looked at; the worst of what is found counts. What another number of them has left is said."""
    path = tmp_path / "j.db"
    findings = found(tmp_path, ask_journal, journal_path=path, workers=2)
    assert findings["journal"].status is OK and "j.db.1 can" in findings["journal"].found
    assert "j.db.2 can" in findings["journal"].found
    file = JournalFile(path.with_name("j.db.2"))
    assert found(tmp_path, ask_journal, journal_path=path, workers=2)["journal"].status is WARNING
    file.commit([lambda it: it.add(pack(opened("s1"), 1))])
    file.close()
    assert "1 records" in found(tmp_path, ask_journal, journal_path=path, workers=2)["journal backlog"].found
    left = found(tmp_path, ask_journal, journal_path=path)["journal backlog"]
    assert left.status is WARNING and "of another number of workers" in left.found

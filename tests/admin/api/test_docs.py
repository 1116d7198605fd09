"""The `curl` lines of the docs, run as they stand there: each succeeds, and answers what the page shows."""

import asyncio
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from proxy.core.usage import Meter
from tests.admin.api.asking import ADMIN_TOKEN, Asking, asking
from tests.admin.api.world import OCTOBER

DOCS = Path(__file__).parents[3] / "docs"
SERVED = "http://127.0.0.1:8081"  # by default, and on the pages
ANY = "…"


@pytest.fixture(autouse=True)
def curl() -> None:
    if not shutil.which("curl"):
        pytest.skip("the curl lines of the docs are not run: curl is missing (apt-get install curl)")


@dataclass(frozen=True)
class Line:
    """A command of a page, and what the page shows of its answer, if it does."""

    command: str
    shown: str


def curl_lines(page: str) -> Iterator[Line]:
    """Yield the `curl` commands of a page's code blocks, continued lines joined."""
    text = (DOCS / page).read_text(encoding="utf-8")
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block.replace("\\\n", ""), flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            if command.startswith("curl ") and SERVED in command:
                yield Line(command, shown.strip())


async def run(line: Line, url: str, environment: Mapping[str, str], **places: str) -> Any:
    """Run a command against the server at `url`; return its answer. An error of HTTP is one of curl's too."""
    command = line.command.replace(SERVED, url).replace("curl ", "curl --fail --show-error --noproxy '*' ", 1)
    for name, value in places.items():
        command = command.replace(f"{name}_06f{ANY}", value)
    env = {"PATH": os.environ["PATH"], **environment}
    process = await asyncio.create_subprocess_shell(
        command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=env
    )
    out, err = await process.communicate()
    assert process.returncode == 0, (line.command, process.returncode, out, err)
    return json.loads(out)


def agrees(told: Any, shown: Any) -> bool:
    """Tell whether an answer is what a page shows: the same members in their order, each of its kind."""
    if isinstance(shown, dict):
        return list(told) == list(shown) and all(agrees(told[name], shown[name]) for name in shown)
    if not isinstance(shown, str) or not isinstance(told, str):
        return bool(told == shown)
    if ANY in shown:
        return re.fullmatch(".+".join(map(re.escape, shown.split(ANY))), told) is not None
    return told == shown or is_instant(told) and is_instant(shown)


def is_instant(text: str) -> bool:
    return re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z", text) is not None


async def test_the_page_about_the_api(embedded: Asking) -> None:
    lines = list(curl_lines("api.md"))
    assert len(lines) >= 2 and lines[0].shown
    answers = []
    for line in lines:
        answers.append(await run(line, embedded.url, {"TALKMETER_ADMIN_TOKEN": ADMIN_TOKEN}))
        assert not line.shown or agrees(answers[-1], json.loads(line.shown)), (line, answers[-1])
    tenant, report = answers[0], answers[1]
    assert (await embedded.done("GET", "/tenants"))["data"] == [tenant]
    asked = {"from": "2026-11-01", "group_by": "tenant,model"}
    assert report == await embedded.done("GET", "/reports/costs", params=asked)
    assert (report["from"], report["group_by"]) == ("2026-11-01T00:00:00Z", ["tenant", "model"])


async def test_the_approval_of_a_close(tmp_path: Path, sqlite_url: str) -> None:
    (line,) = curl_lines("closing.md")
    async with asking(tmp_path, sqlite_url, four_eyes=True) as api:
        api.books.open("s1", "acme", at=OCTOBER)
        api.books.bill("s1", "r1", {Meter.TEXT_IN: 10}, at=OCTOBER)
        api.books.close("s1")
        bob = await api.done("POST", "/tokens", {"name": "bob", "role": "finance"})
        asked = await api.done("POST", "/periods/2026-10/close", {})
        done = await run(line, api.url, {"BOB": bob["secret"]}, apr=asked["id"])
        assert (done["state"], done["decided_by"], done["object"]) == ("approved", "api:bob", "2026-10")


def test_what_agrees() -> None:
    shown = {"id": "ten_…", "at": "2026-11-27T07:30:00.000000Z", "n": 1, "archived_at": None}
    told = shown | {"id": "ten_1", "at": "2026-11-28T00:00:00Z"}
    assert agrees(told, shown)
    for wrong in (
        {"id": "key_1"},
        {"id": "ten_"},
        {"at": "now"},
        {"n": 2},
        {"archived_at": "x"},
        {"more": 1},
    ):
        assert not agrees(told | wrong, shown), wrong

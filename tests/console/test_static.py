"""The console's templates and static files: whose they are, what they hold, what is made of them."""

import hashlib
import re
from pathlib import Path

import pytest

from proxy.console.pages import NAVIGATION
from tests.console.browser import MISSING, chromium_program
from tests.console.gallery.server import CONSOLE, rendered, templates

STATIC = CONSOLE / "static"
TEMPLATES = sorted((CONSOLE / "templates").rglob("*.html"))
VENDORED = re.findall(
    r"^\| (\S+) \| ([\d.]+) \| \w+ \| \S+ \| \S+ \| ([0-9a-f]{64}) \|$",
    (STATIC / "VENDORED.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)
OURS = {"talkmeter.css", "talkmeter.js", "icon.svg", "VENDORED.md"}


def test_what_is_not_ours_is_named_with_what_it_is() -> None:
    assert {path.name for path in STATIC.iterdir()} == OURS | {name for name, _, _ in VENDORED}
    for name, version, digest in VENDORED:
        content = (STATIC / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest, name
        assert version.encode() in content or name.endswith(".css")


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_hold_nothing_that_the_policy_forbids(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\sstyle=|<style|\son\w+=|hx-on|javascript:|<script(?![^>]* src=)|https?://", text)


def test_nothing_is_asked_of_other_servers() -> None:
    ours = (STATIC / "talkmeter.css").read_text() + (STATIC / "talkmeter.js").read_text()
    assert not re.search(r"https?://|@import|url\(|\beval\b|new Function|insertAdjacentHTML", ours)


def test_what_people_have_typed_stays_text() -> None:
    html = rendered(title="<script>alert(1)</script>\"'", flash="<img src=x onerror=alert(1)>")
    assert "<script>alert" not in html and "<img src=x" not in html


def test_an_amount_is_rounded_for_reading_and_exact_beside() -> None:
    assert (
        '<data class="money" value="12345.678900000" title="$12345.678900000">$12,345.68</data>'
    ) in rendered()


def test_every_item_of_the_navigation_has_an_icon() -> None:
    icon = templates().from_string('{% from "macros/icons.html" import icon %}{{ icon(key) }}')
    drawn = [icon.render(key=item.key) for group in NAVIGATION for item in group]
    assert len({*drawn, icon.render(key="unknown")}) == len(drawn) + 1


def test_without_chromium_it_skips_loudly_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install chromium"):
        chromium_program()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=re.escape(MISSING)):
        chromium_program()

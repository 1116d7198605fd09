"""The demo, run as a newcomer runs it."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from proxy.core.money import parse_usd

MAY_BE_WIDE = re.compile(r"TALKMETER_DATABASE_URL|/sign-in/link/")
ROOT = Path(__file__).parent.parent.parent


def demo(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start `talkmeter demo` with no settings but `environment`."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("TALKMETER_", "OPENAI_"))
    }
    return subprocess.Popen(
        [sys.executable, "-m", "proxy", "demo", *arguments],
        cwd=ROOT,
        env={**kept, "PYTHONUNBUFFERED": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_it_shows_each_kind_of_conversation_and_a_report_that_adds_up() -> None:
    process = demo("--once")
    shown, complaints = process.communicate(timeout=60)
    assert process.returncode == 0, complaints
    assert not complaints
    for word in ("interrupts", "hangs up", "picture", "the app answers", "cancelled", "is spent"):
        assert word in shown
    conversations = re.findall(r"(?:with transcription|in all) +\$([0-9.]+)$", shown, re.MULTILINE)
    rows = re.findall(r"(\d+\.\d{9})\s*$", shown, re.MULTILINE)
    *parts, total = map(parse_usd, rows)
    assert sum(parts) == total
    assert len(conversations) == 5
    assert abs(sum(map(parse_usd, conversations)) - total) < 5 * 1_000  # each shown to a millionth


def test_it_stays_up_until_it_is_interrupted_and_names_no_real_key() -> None:
    """The example can be pasted: it has the demo's own URL and key."""
    process = demo(OPENAI_API_KEY="sk-somebodys-own")
    assert process.stdout is not None
    seen = ""
    while "Ctrl-C stops" not in seen:
        line = process.stdout.readline()
        assert line, process.communicate()
        seen += line
    process.send_signal(signal.SIGINT)
    rest, complaints = process.communicate(timeout=30)
    assert process.returncode == 0, complaints
    assert "OPENAI_API_KEY is set" in seen
    assert re.search(r"^http://127\.0\.0\.1:\d+/sign-in/link/tml_\S+$", seen, re.MULTILINE)
    wide = [line for line in seen.splitlines() if len(line) > 80 and not MAY_BE_WIDE.search(line)]
    assert not wide, "what is wider than a terminal breaks when it is copied"
    assert re.search(r'websocket_base_url="ws://127\.0\.0\.1:\d+/v1"', seen)
    assert re.search(r'api_key="tm_\w+', seen)
    assert "sk-somebodys-own" not in seen + rest + complaints
    assert not Path(re.findall(r"sqlite:///(\S+)", seen)[0]).exists()

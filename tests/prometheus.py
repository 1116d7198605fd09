"""Prometheus for the tests: Debian's own, started on a free port with the configuration that is shipped.

Without its programs these tests skip and say the command that installs them; in CI (`CI=true`) they fail,
since nobody reads skips there. All calls block: in a test that runs a Talkmeter they belong into a thread.
"""

import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.faults.instance import free_address

SHIPPED = Path(__file__).parents[1] / "dashboards" / "prometheus"
MISSING = "needs Prometheus and its tools: apt-get install --no-install-recommends prometheus"
SCRAPE_S = 0.5
WAIT_S = 60.0  # a busy machine is not a bug
ASK_S = 0.1

Series = dict[str, Any]  # "metric": labels, "value": [at, "…"]


def program(name: str) -> str:
    """Return the path of `prometheus` or `promtool`. Without it the test is skipped, in CI it fails."""
    found = shutil.which(name)
    if found:
        return found
    if os.environ.get("CI") == "true":
        pytest.fail(MISSING, pytrace=False)
    pytest.skip(MISSING)


def promtool(*arguments: str | Path, stdin: str = "") -> str:
    """Run promtool, which must find nothing wrong; return what it said."""
    command = [program("promtool"), *map(str, arguments)]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=WAIT_S, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def shipped_config() -> dict[str, Any]:
    """Return the configuration as it is shipped."""
    loaded: dict[str, Any] = yaml.safe_load((SHIPPED / "prometheus.yml").read_text(encoding="utf-8"))
    return loaded


def write_config(folder: Path, targets: Sequence[str], token: str, alert_after_s: int | None) -> Path:
    """Write the shipped configuration for other targets, beside a copy of the rules; return its path."""
    (folder / "token").write_text(token)
    rules = (SHIPPED / "rules.yml").read_text(encoding="utf-8")
    if alert_after_s is not None:
        rules = re.sub(r"for: \w+$", f"for: {alert_after_s}s", rules, flags=re.MULTILINE)
    (folder / "rules.yml").write_text(rules, encoding="utf-8")
    config = shipped_config()
    (job,) = config["scrape_configs"]
    job["authorization"]["credentials_file"] = str(folder / "token")
    job["static_configs"] = [{"targets": list(targets)}]
    often = f"{round(SCRAPE_S * 1_000)}ms"
    config["global"] |= {"scrape_interval": often, "evaluation_interval": "1s", "scrape_timeout": often}
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A Prometheus that runs."""

    url: str

    def ask(self, path: str, **parameters: str | float) -> Any:
        """Return the data of an answer of its API; an error of it is an AssertionError that says it."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=WAIT_S) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None

    def query(self, expr: str, at: float | None = None) -> list[Series]:
        """Return the series that `expr` has at an instant, or now."""
        when = {} if at is None else {"time": at}
        result: list[Series] = self.ask("query", query=expr, **when)["result"]
        return result

    def value(self, expr: str, at: float | None = None) -> float | None:
        """Return the value of the only series that `expr` has; None if it has none."""
        found = self.query(expr, at)
        assert len(found) <= 1, found
        return float(found[0]["value"][1]) if found else None

    def exemplars(self, expr: str, since: float, until: float) -> list[dict[str, str]]:
        """Return the labels of the exemplars of what `expr` names."""
        found = self.ask("query_exemplars", query=expr, start=since, end=until)
        return [one["labels"] for series in found for one in series["exemplars"]]

    def rules(self) -> list[dict[str, Any]]:
        """Return all rules, as they were last evaluated."""
        return [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]

    def caught_up(self) -> float:
        """Wait until every target was asked and every rule evaluated after this call; return the instant."""
        now = time.time()
        wait_for(lambda: bool(self.query(f"min(timestamp(up)) > {now}")))
        scraped = time.time()
        wait_for(lambda: self._evaluated(scraped))
        return time.time()

    def _evaluated(self, since: float) -> bool:
        groups = self.ask("rules")["groups"]
        return all(datetime.fromisoformat(group["lastEvaluation"]).timestamp() > since for group in groups)


def wait_for(condition: Callable[[], bool]) -> None:
    """Ask until it is so."""
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(ASK_S)


@contextmanager
def running_prometheus(
    folder: Path, targets: Sequence[str], token: str, *, alert_after_s: int | None = None
) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes `targets` (host:port), in `folder`; it is gone afterwards.

    Alerts wait for as long as they are shipped to, or for `alert_after_s`.
    """
    config = write_config(folder, targets, token, alert_after_s)
    address = free_address()
    command = [
        program("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--enable-feature=exemplar-storage",
        "--log.level=warn",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_for(lambda: _is_ready(f"http://{address}/-/ready"))
        yield Prometheus(f"http://{address}")
    finally:
        process.kill()  # nothing of what it has is needed again
        process.wait()


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=WAIT_S) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False

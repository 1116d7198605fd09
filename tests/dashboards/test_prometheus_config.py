"""The configuration of Prometheus that is shipped: valid, and with the rules in it."""

import shutil
from pathlib import Path

from tests.prometheus import SHIPPED, promtool


def test_promtool_finds_nothing_wrong(tmp_path: Path) -> None:
    """Its token lies in the container; here beside a copy."""
    shutil.copytree(SHIPPED, tmp_path / "prometheus")
    copy, token = tmp_path / "prometheus" / "prometheus.yml", tmp_path / "token"
    token.write_text("a token that only tests have")
    copy.write_text(
        copy.read_text(encoding="utf-8").replace("/run/secrets/metrics_token", str(token)), encoding="utf-8"
    )
    said = promtool("check", "config", "--lint-fatal", copy)
    assert "1 rule files found" in said and "SUCCESS" in said

"""All questions together: beside a Talkmeter that runs, and where nothing is right and everything secret."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from proxy import simulator
from proxy.app import running
from proxy.checks.questions import NAMES, QUESTIONS, read_settings
from proxy.settings import Address
from tests.apps import UPSTREAM_KEY, settings_in
from tests.checks.looking import FAILED, OK, WARNING, found

CANARY = "canary-canary-canary"


async def test_beside_a_talkmeter_that_runs(tmp_path: Path) -> None:
    """It has the ports and the journal, and that is as it should be."""
    upstream = await simulator.serve(api_keys={UPSTREAM_KEY})
    async with running(settings_in(tmp_path, upstream.url)) as app:
        ports = {
            name: Address("127.0.0.1", port)
            for name, port in (("listen", app.port), ("admin_listen", app.admin_port))
        }
        given: dict[str, Any] = {"upstream_url": upstream.url, "sessions_max": 10, **ports}
        findings = await asyncio.to_thread(found, tmp_path, **given)
    await upstream.close()
    assert not [one for one in findings.values() if one.status is FAILED]
    assert "and Talkmeter answers at" in findings["journal"].found
    assert findings["apps' port"].found.endswith("and is ready")
    assert findings["control port"].found.endswith("and is ready")
    assert findings["journal backlog"].status is OK


def test_nothing_secret_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every secret is set, and everything that they are for is wrong."""
    secrets = ("upstream_api_key", "upstream_admin_key", "admin_token", "metrics_token", "key_pepper")
    findings = found(
        tmp_path,
        **dict.fromkeys((*secrets, "oidc_client_secret"), SecretStr(CANARY)),
        database_url=f"postgresql://app:{CANARY}@127.0.0.1:1/x?password={CANARY}",
        smtp_url=SecretStr(f"smtp://ann:{CANARY}@127.0.0.1:1"),
        smtp_from="a@example.com",
        oidc_issuer="http://127.0.0.1:1",
        oidc_client_id="talkmeter",
        oidc_grants={"Platform": "admin"},
    )
    wrong = {name for name, one in findings.items() if one.status is FAILED}
    assert wrong == {"database", "upstream", "provider's bill", "sign-in", "mail"}
    assert CANARY not in str(findings)


def test_every_finding_has_a_name_of_its_own() -> None:
    assert len(NAMES) == len(set(NAMES)) == 1 + sum(len(one.names) for one in QUESTIONS)


def test_whatever_is_wrong_says_what_to_do(tmp_path: Path) -> None:
    for one in found(tmp_path, journal_path=Path("/nowhere/j"), admin_listen=Address("0.0.0.0", 0)).values():
        assert bool(one.to_do) is (one.status in (WARNING, FAILED)), one


def test_names_that_are_no_settings() -> None:
    finding = read_settings(["TALKMETER_LISTN is not a setting of Talkmeter: did you mean TALKMETER_LISTEN?"])
    assert finding.status is WARNING and "TALKMETER_LISTEN" in finding.found
    assert read_settings([]).status is OK

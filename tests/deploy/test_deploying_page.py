"""docs/deploying.md: its figures and files are those that there are."""

import re

from tests.deploy.files import DEPLOY, ROOT, container, default, manifest, pod, read, stop_s_max
from tests.deploy.test_kubernetes import OLDEST

PAGE = re.sub(r"\s+", " ", read(ROOT / "docs" / "deploying.md"))


def test_it_says_how_long_a_stop_can_take() -> None:
    rest_s = stop_s_max() - default("drain_s") - 2 * default("linger_s")
    assert f"twice `TALKMETER_LINGER_S` and {rest_s:.0f} seconds together" in PAGE
    assert f"which is {stop_s_max():.0f} seconds by default" in PAGE
    assert f"All files here allow {pod(manifest('StatefulSet'))['terminationGracePeriodSeconds']}." in PAGE


def test_it_says_what_the_manifests_are_for() -> None:
    assert f"for Kubernetes {OLDEST} and newer" in PAGE
    allowed = int(manifest("ConfigMap")["data"]["TALKMETER_SESSIONS_MAX"])
    assert f"for the {allowed:,} conversations that `TALKMETER_SESSIONS_MAX` allows" in PAGE


def test_every_file_is_named_that_is_applied() -> None:
    files = {path.name for path in (DEPLOY / "kubernetes").iterdir()}
    assert [name for name in files if f"`{name}`" not in PAGE and f"kubernetes/{name}" not in PAGE] == []
    assert {f"deploy/kubernetes/{name}" for name in files} >= set(re.findall(r"-f (deploy/\S+)", PAGE))


def test_the_commands_name_what_is_there() -> None:
    assert f"-c {container(manifest('StatefulSet'))['name']} --" in PAGE
    assert f"job/{manifest('Job', 'talkmeter-migrate')['metadata']['name']}" in PAGE

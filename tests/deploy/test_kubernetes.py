"""The Kubernetes manifests: against Kubernetes' own schemas, and against what Talkmeter is."""

from collections.abc import Iterator
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

from proxy import __version__
from proxy.settings import PREFIX
from tests.deploy.files import (
    SETTINGS,
    compose,
    container,
    default,
    image_environment,
    instructions,
    manifest,
    manifests,
    pod,
    schema,
    stop_s_max,
)

OLDEST = "1.30"  # the first where a container can be told to sleep before it is stopped
NEWEST = kubernetes_validate.latest_version()
SERVING = manifest("StatefulSet")
MIGRATING = manifest("Job", "talkmeter-migrate")
WORKLOADS = pytest.mark.parametrize("workload", [SERVING, MIGRATING], ids=["serve", "migrate"])


def name_of(one: dict[str, Any]) -> str:
    return f"{one['kind']}-{one['metadata']['name']}"


OWN = [one for one in manifests() if one["kind"] != "ServiceMonitor"]


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("one", OWN, ids=name_of)
def test_a_manifest_is_as_kubernetes_has_it(one: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(one, version, strict=True)


def test_a_field_that_kubernetes_does_not_know_is_noticed() -> None:
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(SERVING | {"spek": {}}, NEWEST, strict=True)


def test_the_service_monitor_is_as_the_operator_has_it() -> None:
    validator = jsonschema.Draft202012Validator(schema("servicemonitor.json"))
    monitor = manifest("ServiceMonitor")
    validator.validate(monitor)
    assert not validator.is_valid(monitor | {"spec": {**monitor["spec"], "endpoint": []}})


def test_names_are_unique() -> None:
    names = [name_of(one) for one in manifests()]
    assert sorted(set(names)) == sorted(names)


def names_in(value: Any) -> Iterator[str]:
    """Yield all keys and texts of a manifest."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from names_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from names_in(inner)
    elif isinstance(value, str):
        yield value


def test_every_variable_is_a_setting() -> None:
    named = {text for one in manifests() for text in names_in(one) if text.startswith(PREFIX)}
    assert named and named <= SETTINGS


def test_templates_hold_no_secrets() -> None:
    secrets = [one for one in manifests() if one["kind"] == "Secret"]
    assert len(secrets) == 2
    assert {value for one in secrets for value in one["stringData"].values()} == {""}
    assert [one for one in secrets if "data" in one] == []


def test_only_the_job_has_the_owners_url() -> None:
    owner = manifest("Secret", "talkmeter-owner")["stringData"]
    assert owner.keys() == {"TALKMETER_DATABASE_URL"}
    assert container(MIGRATING)["envFrom"] == [{"secretRef": {"name": "talkmeter-owner"}}]
    assert "talkmeter-owner" not in set(names_in(SERVING))
    assert container(MIGRATING)["args"] == compose()["services"]["migrate"]["command"]


def test_what_is_secret_is_in_no_config_map() -> None:
    secret = set(manifest("Secret")["stringData"])
    assert {"TALKMETER_DATABASE_URL", "TALKMETER_KEY_PEPPER", "TALKMETER_UPSTREAM_API_KEY"} <= secret
    assert not secret & set(manifest("ConfigMap")["data"])
    assert container(SERVING)["envFrom"] == [
        {"configMapRef": {"name": "talkmeter"}},
        {"secretRef": {"name": "talkmeter"}},
    ]


@WORKLOADS
def test_nobody_is_root_or_can_become_more(workload: dict[str, Any]) -> None:
    (user,) = instructions("USER")
    who = pod(workload)["securityContext"]
    assert who["runAsNonRoot"] is True
    assert f"{who['runAsUser']}:{who['runAsGroup']}" == user
    assert who["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(workload)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod(workload)["automountServiceAccountToken"] is False


@WORKLOADS
def test_kubernetes_adds_no_variables_that_look_like_settings(workload: dict[str, Any]) -> None:
    assert pod(workload)["enableServiceLinks"] is False


@WORKLOADS
def test_the_image_is_of_this_version(workload: dict[str, Any]) -> None:
    assert container(workload)["image"].rpartition(":")[2] == __version__


@WORKLOADS
def test_memory_is_bounded_and_asked_for(workload: dict[str, Any]) -> None:
    resources = container(workload)["resources"]
    assert resources["requests"]["memory"] == resources["limits"]["memory"]
    assert "cpu" in resources["requests"] and "cpu" not in resources["limits"]


@WORKLOADS
def test_what_is_mounted_is_there(workload: dict[str, Any]) -> None:
    claims = workload["spec"].get("volumeClaimTemplates", [])
    there = {one["name"] for one in pod(workload)["volumes"]} | {one["metadata"]["name"] for one in claims}
    assert {one["name"] for one in container(workload)["volumeMounts"]} == there
    assert "/tmp" in {one["mountPath"] for one in container(workload)["volumeMounts"]}


def test_each_replica_has_a_journal_volume_of_its_own() -> None:
    (claim,) = SERVING["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    mounted = {one["name"]: one["mountPath"] for one in container(SERVING)["volumeMounts"]}
    folder = mounted[claim["metadata"]["name"]]
    assert [folder] == instructions("VOLUME") == instructions("WORKDIR")
    assert manifest("ConfigMap")["data"]["TALKMETER_JOURNAL_PATH"].startswith(f"{folder}/")
    assert pod(SERVING)["securityContext"]["fsGroup"] == pod(SERVING)["securityContext"]["runAsGroup"]
    assert set(SERVING["spec"]["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}


def test_a_stop_has_the_time_it_can_take() -> None:
    given = manifest("ConfigMap")["data"]
    assert float(given["TALKMETER_DRAIN_S"]) == default("drain_s") and "TALKMETER_LINGER_S" not in given
    before_s = container(SERVING)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod(SERVING)["terminationGracePeriodSeconds"] >= before_s + stop_s_max()


def test_ports_are_the_usual_ones() -> None:
    usual = {"apps": default("listen").port, "control": default("admin_listen").port}
    assert {one["name"]: one["containerPort"] for one in container(SERVING)["ports"]} == usual
    image = {name: image_environment()[PREFIX + name] for name in ("LISTEN", "ADMIN_LISTEN")}
    assert image == {"LISTEN": f"0.0.0.0:{usual['apps']}", "ADMIN_LISTEN": f"0.0.0.0:{usual['control']}"}
    served = {one["metadata"]["name"]: one["spec"] for one in manifests() if one["kind"] == "Service"}
    ports = {name: {one["name"]: one["port"] for one in spec["ports"]} for name, spec in served.items()}
    assert ports == {
        "talkmeter": {"apps": usual["apps"]},
        "talkmeter-control": {"control": usual["control"]},
        "talkmeter-instances": usual,
    }
    assert [
        one for spec in served.values() for one in spec["ports"] if one["targetPort"] != one["name"]
    ] == []


@pytest.mark.parametrize(
    ("probe", "path"),
    [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")],
)
def test_probes_ask_the_data_plane(probe: str, path: str) -> None:
    assert container(SERVING)[probe]["httpGet"] == {"path": path, "port": "apps"}


def selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return selector.items() <= labels.items()


def test_selectors_find_the_instances_and_nothing_else() -> None:
    instances, migrations = (one["spec"]["template"]["metadata"]["labels"] for one in (SERVING, MIGRATING))
    selectors = [one["spec"]["selector"] for one in manifests() if one["kind"] == "Service"]
    selectors += [
        one["spec"]["selector"]["matchLabels"] for one in (SERVING, manifest("PodDisruptionBudget"))
    ]
    (spread,) = pod(SERVING)["topologySpreadConstraints"]
    selectors.append(spread["labelSelector"]["matchLabels"])
    assert [one for one in selectors if not selects(one, instances) or selects(one, migrations)] == []
    assert SERVING["spec"]["serviceName"] == manifest("Service", "talkmeter-instances")["metadata"]["name"]


def test_each_instance_is_scraped_once_with_the_token() -> None:
    spec = manifest("ServiceMonitor")["spec"]
    (endpoint,) = spec["endpoints"]
    services = [one for one in manifests() if one["kind"] == "Service"]
    chosen = [one for one in services if selects(spec["selector"]["matchLabels"], one["metadata"]["labels"])]
    assert chosen == [manifest("Service", "talkmeter-instances")]
    assert endpoint["port"] in {one["name"] for one in chosen[0]["spec"]["ports"]}
    credentials = endpoint["authorization"]["credentials"]
    assert credentials["key"] in manifest("Secret", credentials["name"])["stringData"]


def test_one_instance_at_a_time_may_be_taken_away() -> None:
    assert manifest("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    assert SERVING["spec"]["replicas"] >= 2

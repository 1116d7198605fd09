"""The compose file: against the Compose Specification's schema, and against what Talkmeter is."""

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from proxy.settings import PREFIX
from tests.deploy.files import (
    ROOT,
    SETTINGS,
    compose,
    default,
    health_check,
    instructions,
    read,
    schema,
    seconds,
    stop_s_max,
)
from tests.prometheus import SHIPPED, shipped_config

SERVICES: dict[str, dict[str, Any]] = compose()["services"]
INSTANCES = {name: one for name, one in SERVICES.items() if name.startswith("talkmeter-")}


def test_it_is_as_the_specification_has_it() -> None:
    validator = jsonschema.Draft202012Validator(schema("compose-spec.json"))
    validator.validate(compose())
    assert not validator.is_valid(compose() | {"services": {"one": {"imag": "postgres:17"}}})


def test_every_variable_is_a_setting() -> None:
    given = {name for one in SERVICES.values() for name in one.get("environment", {})}
    ours = {name for name in given if name.startswith(PREFIX)}
    assert ours and ours <= SETTINGS


@pytest.mark.parametrize("name", INSTANCES)
def test_a_stop_has_the_time_it_can_take(name: str) -> None:
    assert not {"TALKMETER_DRAIN_S", "TALKMETER_LINGER_S"} & INSTANCES[name]["environment"].keys()
    assert seconds(INSTANCES[name]["stop_grace_period"]) >= stop_s_max()


def test_instances_share_all_but_ports_and_journal() -> None:
    assert len(INSTANCES) == 2
    one, other = (
        {k: v for k, v in each.items() if k not in ("ports", "volumes")} for each in INSTANCES.values()
    )
    assert one == other
    volumes = [tuple(each["volumes"]) for each in INSTANCES.values()]
    assert len(set(volumes)) == 2
    (folder,) = instructions("VOLUME")
    assert [name.partition(":")[2] for (name,) in volumes] == [folder, folder]
    assert {name.partition(":")[0] for (name,) in volumes} < compose()["volumes"].keys()


def test_ports_are_the_usual_ones_and_this_machines_alone() -> None:
    ports = [port for one in SERVICES.values() for port in one.get("ports", [])]
    assert len({port.rpartition(":")[0] for port in ports}) == len(ports)
    assert all(port.startswith("127.0.0.1:") for port in ports)
    usual = [str(default("listen").port), str(default("admin_listen").port)]
    for one in INSTANCES.values():
        assert [port.rpartition(":")[2] for port in one["ports"]] == usual


def test_each_service_waits_for_those_that_it_needs() -> None:
    """Healthy can only be waited for where something says what that is: the service, or our image."""
    order = {name: one.get("depends_on", {}) for name, one in SERVICES.items()}
    assert order["grafana"].keys() == {"prometheus"}
    assert order["prometheus"].keys() == INSTANCES.keys()
    for needs in order.values():
        for name, how in needs.items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[name] or (SERVICES[name]["build"] == "." and health_check())


def test_a_new_database_is_not_healthy_before_others_reach_it() -> None:
    """While PostgreSQL's image makes it, a server with a socket only says that it accepts connections."""
    postgres = SERVICES["postgres"]
    check = postgres["healthcheck"]["test"]
    given = dict(zip(check[2::2], check[3::2], strict=True))
    assert check[:2] == ["CMD", "pg_isready"]
    assert given["--host"] == "127.0.0.1"
    assert given["--username"] == postgres["environment"]["POSTGRES_USER"]
    assert given["--dbname"] == postgres["environment"]["POSTGRES_DB"]


def test_prometheus_asks_every_instance_with_its_token() -> None:
    (job,) = shipped_config()["scrape_configs"]
    (targets,) = job["static_configs"]
    port = default("admin_listen").port
    assert targets["targets"] == [f"{name}:{port}" for name in INSTANCES]
    (secret,) = SERVICES["prometheus"]["secrets"]
    assert job["authorization"] == {"credentials_file": f"/run/secrets/{secret}"}
    variable = compose()["secrets"][secret]["environment"]
    for one in INSTANCES.values():
        assert one["environment"][variable].startswith(f"${{{variable}:?")


def test_prometheus_finds_its_files_and_keeps_exemplars() -> None:
    service = SERVICES["prometheus"]
    given = dict(option.partition("=")[::2] for option in service["command"])
    mounts = mounted("prometheus")
    config = given["--config.file"]
    assert mounts[config.rpartition("/")[0]] == SHIPPED and (SHIPPED / config.rpartition("/")[2]).exists()
    assert given["--enable-feature"] == "exemplar-storage"
    assert given["--storage.tsdb.path"] in {volume.split(":")[1] for volume in service["volumes"]}


def test_grafana_finds_its_dashboards_and_prometheus() -> None:
    mounts = mounted("grafana")
    provisioning = mounts["/etc/grafana/provisioning"]
    (dashboards,) = yaml.safe_load(read(provisioning / "dashboards" / "talkmeter.yml"))["providers"]
    assert mounts[dashboards["options"]["path"]] == SHIPPED.parent
    source = read(provisioning / "datasources" / "talkmeter.yml")
    (made,) = yaml.safe_load(source)["datasources"]
    environment = SERVICES["grafana"]["environment"]
    assert set(re.findall(r"(?<!\$)\$(\w+)", re.sub(r"#.*", "", source))) <= environment.keys()
    assert environment[made["url"].removeprefix("$")] == "http://prometheus:9090"
    (exemplars,) = made["jsonData"]["exemplarTraceIdDestinations"]
    assert exemplars["url"].endswith("/sessions/$${__value.raw}")


def mounted(service: str) -> dict[str, Path]:
    """Return which folders of the checkout a service has, by where it has them."""
    pairs = [volume.split(":")[:2] for volume in SERVICES[service]["volumes"]]
    return {there: (ROOT / here).resolve() for here, there in pairs if here.startswith(".")}


def test_images_have_a_version() -> None:
    images = [one["image"] for one in SERVICES.values() if "image" in one]
    assert images
    assert [one for one in images if one.rpartition(":")[2] in ("", "latest") or ":" not in one] == []


@pytest.mark.parametrize("name", INSTANCES)
def test_only_its_volume_and_tmp_can_be_written(name: str) -> None:
    assert INSTANCES[name]["read_only"] is True
    assert INSTANCES[name]["tmpfs"] == ["/tmp"]


def test_the_commands_at_its_top_name_services_that_exist() -> None:
    head = read(ROOT / "docker-compose.yml").partition("services:")[0]
    said = [line.split("exec ", 1)[1].split()[0] for line in head.splitlines() if " exec " in line]
    assert said and set(said) <= SERVICES.keys()

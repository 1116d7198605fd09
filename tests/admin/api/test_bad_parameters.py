"""Every query parameter of every list and report, with what nobody should send: told, or answered rightly."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from proxy.admin.api.routes import AnyRoute
from proxy.admin.api.table import ROUTES
from proxy.core.records import Kind
from proxy.core.usage import Meter, Modality
from tests.admin.api.asking import Answered, Asking
from tests.admin.api.world import fill

HOSTILE = (
    "",
    " ",
    "x" * 3_000,
    "a\0b",
    "a\x1b[31m\r\nb",
    "\u202eevil",
    "'; DROP TABLE tenant; --",
    "' OR '1'='1",
    "=HYPERLINK(0)",
    "../../etc/passwd",
    "%s%n{0}",
    "null",
    "[1]",
    "-1",
    "0",
    "1.5",
    "1e9",
    "99999999999999999999",
    "9" * 400,
    "NaN",
    "TRUE",
    "0001-01-01",
    "9999-12-31",
    "9999-12-31T23:59:59.999999-23:59",
    "2026-02-30",
    "9999-99",
    "9999-12",
    "0000-01",
    "soon",
    ",",
    "tag:",
    "=",
)
UNHELPFUL = ("match pattern", "instance of", "not permitted", "Field required", "valid string")

# What takes any text: unknown names are of nothing, and names that must exist are not found.
TEXTS = {"key", "model", "session", "end_user", "status", "tag", "reason", "id", "actor", "action", "object"}


def queried() -> Iterator[tuple[AnyRoute, str]]:
    """Yield each parameter that a query can have."""
    for route in ROUTES:
        for name, field in route.params.model_fields.items():
            if route.method == "GET" and name not in route.path_names:
                yield route, field.alias or name


def is_told(answered: Answered, name: str) -> bool:
    """Return whether a problem names the parameter and says what to do."""
    if answered.status not in (404, 422):
        return False
    detail = answered.json["detail"]
    if name == "with_from" and detail.startswith("with_to: Give both ends"):
        return True
    named = [error["pointer"].removeprefix("#/") for error in answered.json.get("errors", [])]
    is_named = name in named or name.replace("_", " ") in detail
    return is_named and len(detail) > 20 and not any(text in detail for text in UNHELPFUL)


def is_empty(answer: Any) -> bool:
    """Return whether an answer has no row. What is in a file is not looked at."""
    if isinstance(answer, bytes):
        return True
    return not (answer["data"] if "data" in answer else answer["rows"] or answer["total"].get("entries"))


async def test_what_no_parameter_should_be(embedded: Asking) -> None:
    """The first route that has a parameter is sent all of it, those after it a third each, in turn."""
    asks, met, wrong = (await fill(embedded)).asks(), Counter[str](), []
    for route, name in queried():
        before, met[name] = met[name], met[name] + 1
        for value in HOSTILE[before % 3 :: 3] if before else HOSTILE:
            answered = await embedded("GET", asks[route.name].path, params={name: value})
            if answered.status == 200:
                is_right = name not in TEXTS or is_empty(answered.json)
            else:
                is_right = is_told(answered, name)
            if not is_right:
                wrong.append((route.name, name, value[:40], answered.status, answered.json.get("detail")))
    assert not wrong, "\n".join(map(str, wrong))


async def test_parameters_that_are_repeated_or_no_text(embedded: Asking) -> None:
    asks = (await fill(embedded)).asks()
    for route, name in queried():
        path = asks[route.name].path
        answered = await embedded("GET", f"{path}?{name}=1&{name}=1")
        assert answered.json["detail"] == f"{name}: give it once", (route.name, answered)
        answered = await embedded("GET", f"{path}?{name}=%ff%fe")
        assert answered.status == 200 or is_told(answered, name), (route.name, answered)


async def test_parameters_that_there_are_not(embedded: Asking) -> None:
    asks = (await fill(embedded)).asks()
    for route in (one for one in ROUTES if one.method == "GET"):
        for name in ("colour", *route.path_names):
            answered = await embedded("GET", asks[route.name].path, params={name: "1"})
            assert is_told(answered, name), (route.name, answered)


@pytest.mark.parametrize(
    ("name", "values"), [("kind", Kind), ("meter", Meter), ("modality", Modality)], ids=str
)
async def test_every_value_of_a_choice_is_one(embedded: Asking, name: str, values: Any) -> None:
    for route, parameter in queried():
        if parameter == name and route.path != "/alerts":
            for value in values:
                await embedded.done("GET", route.path, params={name: value.value})


AGAINST: dict[str, dict[str, str]] = {
    "to": {"from": "2026-11-02", "to": "2026-11-01"},
    "to: it should be after": {"from": "2026-11-01", "to": "2026-11-01"},
    "tz": {"tz": "Mars/Olympus"},
    "tenant": {"tenant": "nobody"},
    "project": {"project": "nothing"},
}
COSTS: dict[str, dict[str, str]] = {
    **AGAINST,
    "each once": {"group_by": "model,model"},
    "at most 6": {"group_by": "tenant,project,key,model,kind,meter,day"},
    "'zodiac' is nothing": {"group_by": "model,zodiac"},
    "'tag:' is nothing": {"group_by": "tag:"},
    "give one of the two filters": {"meter": "audio_in", "modality": "text"},
    "period": {"basis": "period", "period": "2026-10", "from": "2026-10-01"},
    "from": {"basis": "period", "from": "2026-10-02"},
    "write NAME=VALUE": {"tag": "team"},
}
COMPARED: dict[str, dict[str, str]] = {
    **AGAINST,
    "with_to": {"with_from": "2026-10-01"},
    "to compare with ends before": {"with_from": "2026-10-02", "with_to": "2026-10-01"},
    "Times and sessions": {"group_by": "day"},
    "'session' is nothing": {"group_by": "session"},
    "give one of the two filters": {"meter": "audio_in", "modality": "text"},
    "each once": {"group_by": "model,model"},
    "with_from": {"basis": "period", "from": "2026-10-01", "to": "2026-11-01", "with_from": "2026-09-02"},
}


@pytest.mark.parametrize(("path", "cases"), [("/reports/costs", COSTS), ("/reports/comparison", COMPARED)])
async def test_parameters_against_each_other(
    embedded: Asking, path: str, cases: dict[str, dict[str, str]]
) -> None:
    await fill(embedded)
    for text, params in cases.items():
        answered = await embedded("GET", path, params=params)
        assert answered.status in (404, 422), (text, answered)
        assert text in answered.json["detail"], (text, answered.json)


async def test_what_goes_together_is_answered(embedded: Asking) -> None:
    """A month of occurrence and another of accounting is what was corrected, and no contradiction."""
    await fill(embedded)
    both = {"from": "2026-10-01", "to": "2026-11-01", "period": "2026-11"}
    assert (await embedded.done("GET", "/reports/costs", params=both))["total"]["entries"] == 0

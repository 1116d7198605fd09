"""Requests that schemathesis makes up from the API's description, and what their answers are held to.

Imported by the tests that make them, when they do: it takes a second to load, in every job of a run.
"""

from collections.abc import Callable, Mapping
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.core.result import Ok
from schemathesis.pytest.lazy import get_all_tests
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from proxy.admin.api.openapi import document
from proxy.admin.api.table import ROUTES
from tests.admin.api.asking import ADMIN_TOKEN

CHECKS = (
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
)
SETTINGS = settings(
    max_examples=6,
    derandomize=True,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def look(case: schemathesis.Case[Any], served: str) -> None:
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    case.call_and_validate(base_url=served, headers=headers, checks=list(CHECKS))


def tests_by_route() -> Mapping[str, Callable[..., None]]:
    """Return a test of schemathesis for each route, by method and path."""
    schema = schemathesis.openapi.from_dict(document(ROUTES))
    made = get_all_tests(schema=schema, test_func=look, settings=SETTINGS, given_kwargs={})
    return {operation.label: test for operation, test in (one.ok() for one in made if isinstance(one, Ok))}

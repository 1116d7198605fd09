"""`/openapi.json`: the routes and their models, described by OpenAPI 3.1."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic.json_schema import JsonSchemaMode, models_json_schema

from proxy import __version__
from proxy.admin.api.calls import BASE
from proxy.admin.api.models import Nothing
from proxy.admin.api.problems import CONTENT_TYPE, TITLES
from proxy.admin.api.requests import IDEMPOTENCY_KEY, JSON, KEY_CHARS_MAX, REASON
from proxy.admin.api.routes import AnyRoute, Opens
from proxy.store.audit import REASON_CHARS_MAX

_REF = "#/components/schemas/{model}"
_ALWAYS = (401, 403, 404, 422, 429, 500, 503)

PROBLEM = {
    "type": "object",
    "description": "RFC 9457. `detail` says what to do.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "enum": sorted(f"urn:talkmeter:{kind}" for kind in TITLES)},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["in", "pointer", "detail"],
                "properties": {
                    "in": {"enum": ["path", "query", "body", "header"]},
                    "pointer": {"type": "string", "description": "A JSON pointer to the value."},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}


def statuses_of(route: AnyRoute) -> tuple[int, ...]:
    """Return the statuses of the problems that a route may answer with."""
    found = {*_ALWAYS, *route.also}
    if route.has_body:
        found |= {400, 408, 413, 415}
    if route.transaction is Opens.WRITING or route.creates:
        found |= {409}
    if route.edits:
        found |= {412, 428}
    return tuple(sorted(found))


def document(routes: Sequence[AnyRoute]) -> dict[str, Any]:
    """Return the description of `routes`."""
    wanted: list[tuple[Any, JsonSchemaMode]] = []
    for route in routes:
        answers = () if route.media else (route.result, route.asked) if route.asked else (route.result,)
        wanted += [(model, "serialization") for model in answers]
        wanted += [(model, "validation") for model in (route.body, route.params) if model is not Nothing]
    refs, definitions = models_json_schema(list(dict.fromkeys(wanted)), ref_template=_REF)
    schemas: dict[str, Any] = {**definitions.get("$defs", {}), "Problem": PROBLEM}
    paths: dict[str, Any] = {}
    for route in routes:
        operation = _operation(route, refs, schemas)
        paths.setdefault(BASE + route.path, {})[route.method.lower()] = operation
    for name in {refs[route.params, "validation"]["$ref"] for route in routes if route.params is not Nothing}:
        schemas.pop(name.rpartition("/")[2], None)  # they are spelt out where they belong
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Talkmeter",
            "version": __version__,
            "description": "Tenants, keys, budgets, sessions, the ledger and its reports. Amounts are integer"
            " nano-dollars, and beside them dollars in strings.",
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(
    route: AnyRoute, refs: Mapping[tuple[Any, JsonSchemaMode], Any], schemas: Mapping[str, Any]
) -> dict[str, Any]:
    who = ", ".join(sorted(route.roles))
    only = " Not for tokens that are confined to tenants." if route.installation else ""
    only += " Not for TALKMETER_ADMIN_TOKEN, which names nobody." if route.named else ""
    answer = _download(route) if route.media else _answer("Done.", refs[route.result, "serialization"])
    asked = {"202": _answer("Asked for.", refs[route.asked, "serialization"])} if route.asked else {}
    found: dict[str, Any] = {
        "operationId": _operation_id(route),
        "tags": [route.path.split("/")[1]],
        "summary": route.summary,
        "description": f"For the roles {who}.{only}",
        "parameters": _parameters(route, refs, schemas),
        "responses": {
            str(route.status): answer,
            **asked,
            **({"200": {**answer, "description": "Done before."}} if 200 in route.also else {}),
            **{str(status): _problem(status) for status in statuses_of(route) if status >= 400},
        },
    }
    if route.has_body:
        schema = refs[route.body, "validation"]
        found["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
    return found


def _answer(description: str, schema: Any) -> dict[str, Any]:
    return {"description": description, "content": {JSON: {"schema": schema}}}


def _download(route: AnyRoute) -> dict[str, Any]:
    schema = {"type": "string", "format": "binary"}
    return {"description": "Done.", "content": {name: {"schema": schema} for name in route.media}}


def _operation_id(route: AnyRoute) -> str:
    parts = [part.strip("{}") for part in route.path.split("/")[1:]]
    return "_".join((route.method.lower(), *parts)).replace("-", "_")


def _problem(status: int) -> dict[str, Any]:
    titles = sorted(title for at, title in TITLES.values() if at == status)
    schema = {"$ref": _REF.format(model="Problem")}
    return {"description": "; or: ".join(titles) + ".", "content": {CONTENT_TYPE: {"schema": schema}}}


def _parameters(
    route: AnyRoute, refs: Mapping[tuple[Any, JsonSchemaMode], Any], schemas: Mapping[str, Any]
) -> list[dict[str, Any]]:
    found = [_header(*one) for one in _headers(route)]
    if route.params is Nothing:
        return found
    schema = schemas[refs[route.params, "validation"]["$ref"].rpartition("/")[2]]
    for name, value in schema.get("properties", {}).items():
        in_path = name in route.path_names
        given = {key: part for key, part in value.items() if key not in ("title", "description", "default")}
        found.append(
            {
                "name": name,
                "in": "path" if in_path else "query",
                "required": in_path or name in schema.get("required", []),
                "description": value.get("description", ""),
                "schema": _without_null(given),
            }
        )
    return found


def _without_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter that is left out rather than null."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return dict(schema)
    return {**kinds[0], **{key: part for key, part in schema.items() if key != "anyOf"}}


def _headers(route: AnyRoute) -> list[tuple[str, str, int]]:
    found = []
    if route.creates:
        found.append((IDEMPOTENCY_KEY, "With the same key it is done once, for two days.", KEY_CHARS_MAX))
    if route.edits:
        found.append(("If-Match", "The ETag of what you have read, or *.", 200))
    if route.reasons:
        found.append((REASON, "Why: kept in the audit log.", REASON_CHARS_MAX))
    return found


def _header(name: str, description: str, chars_max: int) -> dict[str, Any]:
    # `If-Match` is asked for with 428, since a header that a gateway strips is better told by name.
    schema = {"type": "string", "minLength": 1, "maxLength": chars_max, "pattern": "^[!-~]+$"}
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}

"""Idempotency keys: twice is once, whatever breaks in between."""

import asyncio

import pytest
from sqlalchemy import func, select

from proxy.store.database import reading
from proxy.store.schema import api_answer, tenant
from tests.admin.api.asking import Asking

ACME = {"name": "acme"}


def count(api: Asking, table: object = tenant) -> int:
    with reading(api.engine) as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())  # type: ignore[arg-type]


async def test_a_repeated_request_gets_the_first_answer(api: Asking) -> None:
    first = await api("POST", "/tenants", ACME, Idempotency_Key="k1")
    again = await api("POST", "/tenants", ACME, Idempotency_Key="k1")
    assert (again.status, again.json, again.headers["Location"]) == (
        201,
        first.json,
        first.headers["Location"],
    )
    assert again.headers["Idempotency-Replayed"] == "true" and "Idempotency-Replayed" not in first.headers
    assert count(api) == 1


async def test_a_key_is_for_one_request(api: Asking) -> None:
    await api.done("POST", "/tenants", ACME, Idempotency_Key="k1")
    problem = await api.problem(422, "POST", "/tenants", {"name": "globex"}, Idempotency_Key="k1")
    assert "another request" in problem["detail"]
    assert count(api) == 1


async def test_what_fails_keeps_nothing(api: Asking) -> None:
    await api.problem(404, "POST", "/projects", {"tenant": "acme", "name": "web"}, Idempotency_Key="k1")
    await api.done("POST", "/tenants", ACME)
    await api.done("POST", "/projects", {"tenant": "acme", "name": "web"}, Idempotency_Key="k1")
    assert count(api, api_answer) == 1


async def test_a_change_whose_answer_was_not_kept_is_not_made(
    embedded: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the process died between the two: there are both, or neither."""

    def die(*_: object) -> None:
        raise RuntimeError("died")

    with monkeypatch.context() as patched:
        patched.setattr("proxy.admin.api.repeats.keep", die)
        await embedded.problem(500, "POST", "/tenants", ACME, Idempotency_Key="k1")
    assert (count(embedded), count(embedded, api_answer)) == (0, 0)
    await embedded.done("POST", "/tenants", ACME, Idempotency_Key="k1")


async def test_at_the_same_time_one_is_done(api: Asking) -> None:
    asked = [api("POST", "/tenants", ACME, Idempotency_Key="k1") for _ in range(5)]
    answers = await asyncio.gather(*asked)
    assert {one.status for one in answers} <= {201, 409}
    assert 201 in {one.status for one in answers} and count(api) == 1

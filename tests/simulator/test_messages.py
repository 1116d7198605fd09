"""Ids and shared event shapes."""

from proxy.simulator.messages import error, new_id, rate_limits


def test_ids_are_prefixed_and_new() -> None:
    ids = {new_id("resp") for _ in range(100)}
    assert len(ids) == 100
    assert all(made.startswith("resp_") and len(made) == 25 for made in ids)


def test_an_error_names_its_cause() -> None:
    assert error("invalid_value", "No.", param="type", event_id="evt_1") == {
        "type": "error",
        "error": {
            "type": "invalid_request_error",
            "code": "invalid_value",
            "message": "No.",
            "param": "type",
            "event_id": "evt_1",
        },
    }


def test_rate_limits_use_the_two_names_that_clients_know() -> None:
    assert [limit["name"] for limit in rate_limits(9, 8)["rate_limits"]] == ["requests", "tokens"]

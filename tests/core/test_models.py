"""Which models may be used: patterns, denials, permissions, and owners that have to agree."""

import pytest

from proxy.core.models import ALL_MODELS, ModelRule, ModelRules
from tests.core.scripts import Play


def rules(*texts: str) -> tuple[ModelRule, ...]:
    """Return one owner's rules, written `+pattern` or `-pattern`."""
    return tuple(ModelRule(text[1:], text[0] == "+") for text in texts)


def may(model: str | None, *owners: tuple[ModelRule, ...], **aliases: str) -> bool:
    return ModelRules(owners, aliases).refusal(model) is None


def test_without_rules_every_model_may_be_used() -> None:
    assert ALL_MODELS.refusal("anything") is None
    assert may("anything", ())


@pytest.mark.parametrize(
    ("model", "wanted"),
    [
        ("gpt-realtime", True),
        ("gpt-realtime-2025-08-28", True),  # a snapshot of it
        ("gpt-realtime-mini", False),
        ("gpt-realtime-2.1", False),
        ("GPT-realtime", False),
        ("xgpt-realtime", False),
    ],
)
def test_what_is_allowed_excludes_the_rest(model: str, wanted: bool) -> None:
    assert may(model, rules("+gpt-realtime")) is wanted


@pytest.mark.parametrize(
    ("model", "wanted"),
    [
        ("gpt-realtime", False),
        ("gpt-realtime-2025-08-28", False),
        ("gpt-realtime-mini", True),
        ("other", True),
    ],
)
def test_what_is_denied_leaves_the_rest(model: str, wanted: bool) -> None:
    assert may(model, rules("-gpt-realtime")) is wanted


def test_a_rule_for_a_snapshot_is_for_it_alone() -> None:
    assert not may("gpt-realtime-2025-08-28", rules("-gpt-realtime-2025-08-28"))
    assert may("gpt-realtime", rules("-gpt-realtime-2025-08-28"))
    assert may("gpt-realtime-2026-01-01", rules("-gpt-realtime-2025-08-28"))


def test_a_star_at_the_end_covers_every_ending() -> None:
    owner = rules("+gpt-realtime*", "-*-preview*")
    assert may("gpt-realtime", owner) and may("gpt-realtime-2.1", owner)
    assert not may("whisper-1", owner)
    assert not may("any", rules("-*"))
    assert may("gpt-realtime-preview", owner)  # a star elsewhere is a character like any other


def test_a_denial_that_matches_wins() -> None:
    owner = rules("+gpt-*", "-gpt-realtime-mini")
    assert may("gpt-realtime", owner)
    assert not may("gpt-realtime-mini", owner)


def test_tenant_and_key_have_to_agree() -> None:
    tenant, key = rules("+a", "+b"), rules("-b")
    assert may("a", tenant, key)
    assert not may("b", tenant, key) and not may("c", tenant, key)


def test_a_deployment_is_the_model_that_it_stands_for() -> None:
    assert not may("ours", rules("-gpt-realtime"), ours="gpt-realtime-2025-08-28")
    assert may("ours", rules("+gpt-realtime"), ours="gpt-realtime")
    assert not may("ours", rules("-ours"), ours="gpt-realtime")


def test_a_model_that_nobody_has_named_yet_is_looked_at_later() -> None:
    assert may(None, rules("+a"))


def test_the_refusal_names_the_model_and_is_final() -> None:
    refusal = ModelRules((rules("+a"),)).refusal("b" * 500)
    assert refusal is not None
    assert (refusal.http_status, refusal.type, refusal.code) == (
        403,
        "invalid_request_error",
        "model_not_allowed",
    )
    assert "'bbb" in refusal.message and len(refusal.message) < 200


ONLY_TALK = ModelRules((rules("+talk", "+hear"),))


def test_a_client_that_names_another_model_is_told_and_goes_on() -> None:
    Play(models=ONLY_TALK).run("""
        client   update e1 model=other  -> drop error:model_not_allowed@e1
        client   update e2 hear=other   -> drop error:model_not_allowed@e2
        client   update e3 hear=hear    -> forward
        client   ask                    -> forward
        upstream started r1             -> open:r1 forward
    """)


def test_a_session_that_has_another_model_is_cut() -> None:
    """What the upstream says counts: the URL can be disguised, and a snapshot can stand for it."""
    for line in ("created model=other", "model=other", "hear=other"):
        play = Play(models=ONLY_TALK).run("upstream started r1 -> open:r1 forward")
        happened = play.step(["upstream", "configured", *line.split()])
        assert happened == ["bound", "forward", "cancel:r1", "error:model_not_allowed", "close:1008"]
    Play(models=ONLY_TALK).run("upstream configured created model=talk-2025-08-28 -> bound forward")

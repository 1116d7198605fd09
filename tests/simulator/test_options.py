"""Which models are known, and how much they read."""

import pytest

from proxy.simulator.options import Options


def test_priced_models_and_their_snapshots_are_known() -> None:
    options = Options(extra_models=frozenset({"deployment-7"}))
    for model in ("gpt-realtime-2.1", "gpt-realtime-2025-08-28", "deployment-7"):
        assert options.knows_model(model)
    for model in ("gpt-surprise", "whisper-1", ""):
        assert not options.knows_model(model)
    assert options.knows_transcriber("gpt-4o-mini-transcribe-2025-12-15")
    assert not options.knows_transcriber("gpt-realtime")


def test_an_early_cancel_is_one_of_three() -> None:
    with pytest.raises(ValueError, match="half"):
        Options(early_cancel="half")


def test_context_by_model_or_by_option() -> None:
    assert Options().context_of("gpt-realtime-2.1") == 128_000
    assert Options().context_of("gpt-realtime-2025-08-28") == 28_224
    assert Options(context_tokens=500).context_of("gpt-realtime") == 500

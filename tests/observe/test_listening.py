"""What one session shows, in the metrics: by model, by tenant, with the session as exemplar."""

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from proxy.core.commands import Cancel, Explain
from proxy.core.events import Side
from proxy.core.refusal import Refusal, budget_spent, stopped
from proxy.core.voice import Answered, FirstAudio, Interrupted, Spoken, Unheard
from proxy.observe.listening import Listening
from proxy.observe.metrics import Metrics

WHO = {"tenant": "acme", "model": "talk"}


def listening() -> tuple[Metrics, Listening]:
    metrics = Metrics(CollectorRegistry(), "1")
    return metrics, Listening(metrics, "acme", "ses_1")


def test_what_the_voice_shows_is_counted() -> None:
    metrics, one = listening()
    one.observed([FirstAudio("talk", 0.4), Answered("talk", 3.0), Spoken("talk", 2_500)])
    assert metrics.registry.get_sample_value("talkmeter_interruptions_total", WHO) == 0
    assert metrics.registry.get_sample_value("talkmeter_unheard_audio_seconds_total", WHO) == 0
    one.observed([Unheard("talk", 500)])
    one.observed([Interrupted("talk"), FirstAudio(None, 1.0)])
    value = metrics.registry.get_sample_value
    assert value("talkmeter_time_to_first_audio_seconds_sum", {"model": "talk"}) == 0.4
    assert value("talkmeter_time_to_first_audio_seconds_sum", {"model": "_none"}) == 1.0
    assert value("talkmeter_response_seconds_sum", {"model": "talk"}) == 3.0
    assert value("talkmeter_output_audio_seconds_total", WHO) == 2.5
    assert value("talkmeter_unheard_audio_seconds_total", WHO) == 0.5
    assert value("talkmeter_interruptions_total", WHO) == 1


def test_exemplars_name_the_session_where_the_format_has_any() -> None:
    metrics, one = listening()
    one.observed([FirstAudio("talk", 0.4), Answered("talk", 3.0)])
    encode, _ = choose_encoder("application/openmetrics-text; version=1.0.0")
    shown = [line for line in encode(metrics.registry).decode().splitlines() if "ses_1" in line]
    assert len(shown) == 2
    assert all('# {session="ses_1"}' in line for line in shown)
    encode, _ = choose_encoder("text/plain")
    assert b"ses_1" not in encode(metrics.registry)


def test_relaying_is_timed_by_side() -> None:
    metrics, one = listening()
    one.relayed(Side.CLIENT, 0.000_04)
    value = metrics.registry.get_sample_value
    assert value("talkmeter_relay_seconds_bucket", {"sender": "client", "le": "5e-05"}) == 1
    assert value("talkmeter_relay_seconds_count", {"sender": "upstream"}) is None


def test_a_budgets_no_is_counted_when_it_is_said() -> None:
    metrics, one = listening()
    spent = budget_spent("tenant", "month")
    named = Refusal(spent.name, spent.http_status, spent.type, spent.code, spent.message, ("tenant", "month"))
    one.sent(Explain("tm_1", named))
    one.sent(Explain("tm_2", stopped("")))
    one.sent(Cancel("tm_3"))
    one.cut(stopped(""))
    value = metrics.registry.get_sample_value
    assert value("talkmeter_budget_denials_total", {"scope": "tenant", "window": "month"}) == 1
    assert value("talkmeter_cuts_total", {"refusal": "session_stopped"}) == 1
    metrics.refused(named)
    assert value("talkmeter_budget_denials_total", {"scope": "tenant", "window": "month"}) == 2

"""Several workers' metrics as one exposition."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.openmetrics import exposition, parser
from prometheus_client.parser import text_string_to_metric_families

from proxy.admin.expositions import joined, labelled

STRANGE = 'a "quoted" \\ {name}, \n of \u2028 lines # EOF'


def registry(n: int) -> CollectorRegistry:
    found = CollectorRegistry()
    Gauge("talkmeter_a", "a", registry=found).set(n)
    Counter("talkmeter_b", "b # {x}", ("tenant",), registry=found).labels(STRANGE).inc(n)
    Info("talkmeter_build", "which", registry=found).info({"version": "1"})
    seconds = Histogram("talkmeter_c_seconds", "c", buckets=(1, 2), registry=found)
    seconds.observe(n, {"session": f"ses_{n}"})
    return found


def test_each_family_once_each_series_by_worker() -> None:
    body = joined({str(n): generate_latest(registry(n)) for n in (1, 2)})
    families = list(text_string_to_metric_families(body.decode()))
    assert [one.name for one in families] == [
        "talkmeter_a",
        "talkmeter_b",
        "talkmeter_build_info",
        "talkmeter_c_seconds",
    ]
    values = {one.labels["worker"]: one.value for one in families[1].samples}
    assert values == {"1": 1, "2": 2}
    assert {one.labels["tenant"] for one in families[1].samples} == {STRANGE}


def test_openmetrics_keeps_its_exemplars() -> None:
    write: Any = exposition.generate_latest
    read: Any = parser.text_string_to_metric_families
    body = joined({str(n): write(registry(n)) for n in (1, 2)})
    assert b"# EOF\n" not in body.splitlines(keepends=True)
    families = {one.name: one for one in read(body.decode() + "# EOF\n")}
    exemplars = [one.exemplar.labels for one in families["talkmeter_c_seconds"].samples if one.exemplar]
    assert exemplars == [{"session": "ses_1"}, {"session": "ses_2"}]


def test_nobody_to_ask_is_nothing_to_show() -> None:
    assert joined({}) == b""


def test_samples_with_and_without_labels() -> None:
    assert labelled("x 2.0", "3") == 'x{worker="3"} 2.0'
    assert labelled("x{} 2.0", "3") == 'x{worker="3"} 2.0'
    assert labelled('x{a="b c{"} 2.0', "3") == 'x{worker="3",a="b c{"} 2.0'
    assert labelled('x_total 2.0 # {s="1"} 1.0', "3") == 'x_total{worker="3"} 2.0 # {s="1"} 1.0'

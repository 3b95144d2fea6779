"""The promotion gate counts samples of Prometheus."""

from datetime import timedelta

import pytest

from promotion_gate.evidence import Evidence, GateError, parse_window
from promotion_gate.prometheus import Prometheus, increase
from support.gate import CANARY, HEALTHY, NOW, WINDOW, answering, points, scraped


@pytest.mark.parametrize(
    ("values", "rise"),
    [
        pytest.param([3, 3, 3], 0, id="nothing happens"),
        pytest.param([3, 4, 6], 3, id="it rises"),
        pytest.param([None, 1, 1], 1, id="it appears with its first event"),
        pytest.param([7, 2, 3], 3, id="it restarts at zero"),
        pytest.param([7, 0, 0], 0, id="it restarts and nothing happens"),
        pytest.param([], 0, id="no samples"),
    ],
)
def test_the_increase_of_a_counter_includes_births_and_restarts(values, rise):
    samples = [(float(at), value) for at, value in enumerate(values) if value is not None]
    assert increase(samples, 0.0) == rise


def asks(url, **more):
    return Prometheus(url, **more).evidence(CANARY, now=NOW, window=WINDOW)


def test_counters_are_read_over_the_window_and_an_hour_before():
    with answering(scraped(**HEALTHY, tpot_parallel_fallbacks_total_canary=3)) as (url, asked):
        assert asks(url, token="secret") == Evidence(ended=25, fallbacks=3)
    path, form, headers = asked[1]
    assert path == "/api/v1/query_range"
    assert headers["Authorization"] == "Bearer secret"
    assert form["query"] == f"training_jobs_finished_total{{{CANARY}}}"
    assert float(form["end"]) == NOW.timestamp()
    assert float(form["start"]) == (NOW - WINDOW - timedelta(hours=1)).timestamp()


def test_events_before_the_window_do_not_count():
    start = (NOW - WINDOW).timestamp()

    def respond(form):
        return [
            points(
                form, lambda at: 1 if form["query"].startswith("trainingjobs{") else 40 if at > start else 39
            )
        ]

    with answering(respond) as (url, _):
        assert asks(url) == Evidence(ended=1, failed=1, fallbacks=1, overruns=1)


def test_pods_of_one_release_are_added_up():
    with answering(lambda form: [points(form, 2, since=NOW.timestamp() - 60), points(form, 0)]) as (url, _):
        assert asks(url).ended == 2


@pytest.mark.parametrize("window", ["7d", "90d"])
def test_a_long_window_stays_within_what_prometheus_answers(window):
    counts = []

    def respond(form):
        series = points(form, 0)
        counts.append(len(series["values"]))
        return [series]

    with answering(respond) as (url, _):
        Prometheus(url).evidence(CANARY, now=NOW, window=parse_window(window))
    assert max(counts) <= 11_000


@pytest.mark.parametrize(
    ("series", "message"),
    [
        pytest.param(lambda _: [], "up and scraped", id="no such release"),
        pytest.param(
            lambda form: [points(form, 1, until=NOW.timestamp() - 960)], "last seen 16 min", id="gone"
        ),
        pytest.param(
            lambda form: [
                points(form, 1, until=NOW.timestamp() - 4000),
                points(form, 1, since=NOW.timestamp() - 1000),
            ],
            "has gaps",
            id="gaps",
        ),
    ],
)
def test_a_release_without_samples_is_not_judged(series, message):
    with answering(series) as (url, _), pytest.raises(GateError, match=message):
        asks(url)


@pytest.mark.parametrize(
    ("respond", "message"),
    [
        pytest.param(
            lambda _: (400, '{"error": "parse error: bad"}', {}), "400 .*parse error: bad", id="selector"
        ),
        pytest.param(lambda _: (401, "who are you", {}), "401", id="token"),
        pytest.param(lambda _: (200, "<html>", {}), "no Prometheus", id="a web page"),
        pytest.param(lambda _: (200, '{"data": {}}', {}), "no Prometheus", id="another API"),
        pytest.param(lambda _: (302, "", {"Location": "http://127.0.0.1:9/"}), "302", id="a redirect"),
    ],
)
def test_an_answer_that_is_not_from_prometheus_is_rejected(respond, message):
    with answering(respond) as (url, _), pytest.raises(GateError, match=message):
        asks(url)


def test_a_server_that_does_not_answer_is_an_error():
    with answering(scraped()) as (url, _):
        pass
    with pytest.raises(GateError, match="does not answer"):
        asks(url)


@pytest.mark.parametrize("url", ["prometheus:9090", "file:///etc/passwd", "http://", "ftp://x"])
def test_an_invalid_address_is_rejected(url):
    with pytest.raises(GateError, match="--prometheus: an http"):
        Prometheus.from_environment(url, {})


def test_a_token_is_sent_over_https_only():
    with pytest.raises(GateError, match="only sent over https"):
        Prometheus.from_environment("http://prometheus.example", {"PROMETHEUS_TOKEN": "secret"})
    assert Prometheus.from_environment("https://p.example/", {"PROMETHEUS_TOKEN": "t"}).token == "t"

"""The promotion gate: what it counts, from either source, and what it concludes."""

import json
import os
import re
import stat
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest

from promotion_gate.__main__ import main, table
from promotion_gate.evidence import Evidence, GateError, parse_window
from promotion_gate.jobs import evidence, list_jobs, read_jobs
from promotion_gate.prometheus import Prometheus, increase
from promotion_gate.verdict import Limits, Verdict, judge, verdict

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
WINDOW = timedelta(hours=2)
CANARY, STABLE = 'namespace="trainingjob-canary"', 'namespace="trainingjob-system"'


# --- the verdict


def concluded(canary, stable):
    rules = judge(canary, stable, Limits())
    return verdict(rules), {rule.name for rule in rules if rule.verdict is Verdict.ROLL_BACK}


@pytest.mark.parametrize(
    ("canary", "stable", "found", "broken"),
    [
        pytest.param(Evidence(20), Evidence(200), Verdict.PROMOTE, set(), id="nothing happened"),
        pytest.param(Evidence(19), Evidence(200), Verdict.WAIT, set(), id="one job too few"),
        pytest.param(Evidence(0), Evidence(0), Verdict.WAIT, set(), id="no jobs at all"),
        pytest.param(Evidence(20, failed=1), Evidence(200), Verdict.PROMOTE, set(), id="at the margin"),
        pytest.param(Evidence(20, failed=2), Evidence(200), Verdict.ROLL_BACK, {"failed"}, id="above it"),
        pytest.param(
            Evidence(20, failed=2), Evidence(200, failed=20), Verdict.PROMOTE, set(), id="like stable"
        ),
        pytest.param(
            Evidence(20, failed=6),
            Evidence(200, failed=160),
            Verdict.ROLL_BACK,
            {"failed"},
            id="however bad it is",
        ),
        pytest.param(
            Evidence(2, failed=2), Evidence(200), Verdict.ROLL_BACK, {"failed"}, id="fails from the first"
        ),
        pytest.param(Evidence(1, failed=1), Evidence(200), Verdict.WAIT, set(), id="one failure is no proof"),
        pytest.param(Evidence(40, fallbacks=4), Evidence(200), Verdict.PROMOTE, set(), id="few fallbacks"),
        pytest.param(
            Evidence(40, fallbacks=5), Evidence(200), Verdict.ROLL_BACK, {"fallbacks"}, id="many fallbacks"
        ),
        pytest.param(Evidence(40, overruns=3), Evidence(200), Verdict.ROLL_BACK, {"overruns"}, id="overruns"),
        pytest.param(
            Evidence(20, failed=2),
            Evidence(5, failed=5),
            Verdict.ROLL_BACK,
            {"failed"},
            id="stable is no measure",
        ),
        pytest.param(
            Evidence(5, unminded=1),
            Evidence(9, unminded=0),
            Verdict.ROLL_BACK,
            {"nobody minds"},
            id="nobody minds",
        ),
        pytest.param(
            Evidence(30, unminded=0),
            Evidence(90, unminded=7),
            Verdict.PROMOTE,
            set(),
            id="stable's own trouble",
        ),
    ],
)
def test_a_verdict(canary, stable, found, broken):
    assert concluded(canary, stable) == (found, broken)


def test_the_table_says_why():
    rules = judge(Evidence(41, failed=5), Evidence(380, failed=8), Limits())
    lines = [re.split(r" {2,}", line.strip()) for line in table(rules).splitlines()]
    assert lines[1] == ["jobs ended", "41", "380", "at least 20", "ok"]
    assert lines[2] == ["failed", "5 (12.2 %)", "8 (2.1 %)", "at most 7.1 %", "broken"]


def test_the_page_shows_a_table_as_it_is_printed(root):
    canary = Evidence(41, failed=5, fallbacks=2)
    stable = Evidence(380, failed=8, fallbacks=9, overruns=1)
    assert f"\n\n{table(judge(canary, stable, Limits()))}\n" in (root / "docs/rollout.md").read_text()


@pytest.mark.parametrize(("text", "hours"), [("90m", 1.5), ("72h", 72), ("7d", 168)])
def test_a_window(text, hours):
    assert parse_window(text) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "0h", "72", "1w", "-1h", "91d", "1.5h", "999999d"])
def test_no_window(text):
    with pytest.raises(ValueError, match="no window"):
        parse_window(text)


# --- TrainingJobs


def job(name="a", operator_class=None, *, ended=1.0, phase="Succeeded", age=3.0, **status):
    labels = {"automl.trainingjob.dev/operator-class": operator_class} if operator_class else {}
    made = {
        "kind": "TrainingJob",
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "labels": labels,
            "creationTimestamp": (NOW - timedelta(hours=age)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
        "status": {"phase": phase, "conditions": [{}], **status},
    }
    if phase in {"Succeeded", "Failed"}:
        made["status"]["completionTime"] = (NOW - timedelta(hours=ended)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return made


def overrun(spent, budget=100):
    return {"resolved": {"timeLeftSeconds": budget}, "progress": {"elapsedSeconds": spent}}


def test_jobs_are_counted_for_the_class_that_minds_them():
    jobs = [job(), job(operator_class="stable"), job(operator_class="canary"), job(operator_class="other")]
    assert evidence(jobs, "canary", now=NOW, window=WINDOW).ended == 1
    assert evidence(jobs, "stable", now=NOW, window=WINDOW).ended == 2


def test_jobs_are_counted_by_what_became_of_them():
    steps = [{"from": "dask", "to": "local"}, {"from": "local", "to": "baseline"}]
    jobs = [
        job(),
        job(ended=1.9, phase="Failed"),
        job(ended=2.1, phase="Failed"),
        job(phase="Searching"),
        job(fallbacks=steps),
        job(**overrun(105)),
        job(**overrun(105.1)),
        job(**overrun(24, budget=20)),
    ]
    found = evidence(jobs, "stable", now=NOW, window=WINDOW)
    assert found == Evidence(ended=6, failed=1, fallbacks=1, overruns=1, unminded=0)


def test_the_two_sides_of_a_share_are_told_apart():
    sides = [{"resolved": {"automlEnabled": True}}, {"resolved": {"automlEnabled": False}}, {}]
    jobs = [job(**side) for side in sides] + [job(phase="Failed", **sides[0])]
    searching = evidence(jobs, "stable", searches=True, now=NOW, window=WINDOW)
    baseline = evidence(jobs, "stable", searches=False, now=NOW, window=WINDOW)
    assert (searching.ended, searching.failed) == (2, 1)
    assert (baseline.ended, baseline.failed) == (1, 0)


def test_a_job_that_no_operator_has_seen_counts_after_ten_minutes():
    fresh, old = job(age=0.16), job(age=0.17)
    for one in (fresh, old):
        del one["status"]
    assert evidence([fresh], "stable", now=NOW, window=WINDOW).unminded == 0
    assert evidence([old], "stable", now=NOW, window=WINDOW).unminded == 1


def test_overruns_and_fallbacks_are_counted_as_the_operator_counts_them():
    from trainingjob_api import TrainingJobStatus
    from trainingjob_operator import metrics

    steps = [
        {"from": "dask", "to": "local", "reason": "SchedulerLost", "time": "2026-11-01T11:00:00Z"},
        {"from": "local", "to": "baseline", "reason": "NoPipelineFitted", "time": "2026-11-01T11:00:00Z"},
    ]
    for spent in (100, 104, 105, 106, 200):
        one = job(**overrun(spent), fallbacks=steps)
        del one["status"]["conditions"]
        registry = metrics.CollectorRegistry()
        counted = metrics.Metrics(registry)
        counted.changed(TrainingJobStatus(), TrainingJobStatus.model_validate(one["status"]))
        found = evidence([one], "stable", now=NOW, window=WINDOW)
        assert found.overruns == registry.get_sample_value("training_budget_overruns_total")
        assert found.fallbacks == registry.get_sample_value(
            "tpot_parallel_fallbacks_total", {"reason": "SchedulerLost"}
        )
        assert (
            registry.get_sample_value("training_jobs_finished_total", {"phase": "Succeeded"}) == found.ended
        )


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"items": [{"kind": "Pod", "metadata": {"uid": "u"}}]}', '{"items": [7]}']
)
def test_another_list_is_refused(text):
    with pytest.raises(GateError, match="--jobs"):
        read_jobs(text)


@pytest.fixture
def kubectl(tmp_path, monkeypatch):
    """Return a function that puts a program named kubectl on the path."""

    def put(script):
        program = tmp_path / "kubectl"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    return put


def test_kubectl_is_asked_for_all_namespaces(kubectl, tmp_path):
    kubectl(f'echo "$@" > {tmp_path}/asked; echo \'{{"items": []}}\'')
    assert list_jobs("/kube/config", "prod") == []
    assert (tmp_path / "asked").read_text().split() == [
        "--kubeconfig=/kube/config",
        "--context=prod",
        "get",
        "trainingjobs.automl.trainingjob.dev",
        "--all-namespaces",
        "--output=json",
    ]


def test_what_kubectl_says_is_passed_on(kubectl):
    kubectl("echo 'error: You must be logged in' >&2; exit 1")
    with pytest.raises(GateError, match="You must be logged in"):
        list_jobs(None, None)


def test_without_kubectl_the_way_out_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GateError, match="--jobs FILE"):
        list_jobs(None, None)


# --- Prometheus


@pytest.mark.parametrize(
    ("values", "rise"),
    [
        pytest.param([3, 3, 3], 0, id="nothing happens"),
        pytest.param([3, 4, 6], 3, id="it rises"),
        pytest.param([None, 1, 1], 1, id="it appears with its first event"),
        pytest.param([7, 2, 3], 3, id="it restarts at zero"),
        pytest.param([7, 0, 0], 0, id="it restarts and nothing happens"),
        pytest.param([], 0, id="nobody counts"),
    ],
)
def test_how_far_a_counter_rose(values, rise):
    samples = [(float(at), value) for at, value in enumerate(values) if value is not None]
    assert increase(samples, 0.0) == rise


@contextmanager
def answering(respond):
    """Serve what *respond* makes of a query: a result list, or status, body and headers."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            length = int(self.headers["Content-Length"])
            form = {key: value for key, (value,) in parse_qs(self.rfile.read(length).decode()).items()}
            asked.append((self.path, form, dict(self.headers)))
            made = respond(form)
            status, body, headers = made if isinstance(made, tuple) else (200, answer(made), {})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def answer(result):
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}})


def points(form, value, since=0.0, until=1e12):
    """Return a series with *value* (a number or a function of the time) at each step of the query."""
    start, end, step = (float(form[name]) for name in ("start", "end", "step"))
    times = [start + number * step for number in range(int((end - start) / step) + 1)]
    return {
        "metric": {},
        "values": [
            [at, str(value(at) if callable(value) else value)] for at in times if since <= at <= until
        ],
    }


def scraped(**counters):
    """Return what a Prometheus answers that has these counters, each for canary and stable."""

    def respond(form):
        query = form["query"]
        which = "canary" if CANARY in query else "stable"
        if query.startswith("trainingjobs{"):
            return [points(form, 1)]
        name = query.partition("{")[0] + ("_failed" if 'phase="Failed"' in query else "")
        end = float(form["end"])
        value = counters.get(f"{name}_{which}", 0)
        return [points(form, value, since=end - 1800)] if value else []

    return respond


HEALTHY = {"training_jobs_finished_total_canary": 25, "training_jobs_finished_total_stable": 300}


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


def test_what_was_counted_before_the_window_does_not_count():
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
        one = points(form, 0)
        counts.append(len(one["values"]))
        return [one]

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
def test_a_release_that_was_not_watched_is_not_judged(series, message):
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
def test_an_answer_that_is_none(respond, message):
    with answering(respond) as (url, _), pytest.raises(GateError, match=message):
        asks(url)


def test_a_server_that_is_away():
    with answering(scraped()) as (url, _):
        pass
    with pytest.raises(GateError, match="does not answer"):
        asks(url)


@pytest.mark.parametrize("url", ["prometheus:9090", "file:///etc/passwd", "http://", "ftp://x"])
def test_an_address_that_is_none(url):
    with pytest.raises(GateError, match="--prometheus: an http"):
        Prometheus.from_environment(url, {})


def test_a_token_is_not_sent_in_the_clear():
    with pytest.raises(GateError, match="only sent over https"):
        Prometheus.from_environment("http://prometheus.example", {"PROMETHEUS_TOKEN": "secret"})
    assert Prometheus.from_environment("https://p.example/", {"PROMETHEUS_TOKEN": "t"}).token == "t"


# --- the command


@pytest.mark.parametrize(
    ("counters", "status", "word"),
    [
        (HEALTHY, 0, "PROMOTE"),
        (HEALTHY | {"training_jobs_finished_total_failed_canary": 4}, 1, "ROLL BACK"),
        (HEALTHY | {"training_jobs_finished_total_canary": 3}, 2, "WAIT"),
    ],
)
def test_the_command_asks_both_releases(counters, status, word, capsys, monkeypatch):
    monkeypatch.delenv("PROMETHEUS_TOKEN", raising=False)
    with answering(scraped(**counters)) as (url, asked):
        assert main(["--prometheus", url, "--window", "2h"]) == status
    assert word in capsys.readouterr().out
    assert {CANARY in form["query"] for _, form, _ in asked} == {True, False}


def test_the_command_counts_a_file_of_jobs(tmp_path, capsys):
    path = tmp_path / "jobs.json"
    jobs = [job(str(number), "canary") for number in range(25)] + [job(str(number)) for number in range(40)]
    now = datetime.now(UTC).isoformat()
    for one in jobs:
        one["status"]["completionTime"] = now
    path.write_text(json.dumps({"items": jobs}))
    assert main(["--jobs", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "PROMOTE"
    assert [rule["name"] for rule in found["rules"]] == [
        "jobs ended",
        "failed",
        "fallbacks",
        "overruns",
        "nobody minds",
    ]


def test_a_share_is_held_against_the_rest(tmp_path, capsys):
    path = tmp_path / "jobs.json"
    jobs = [job(str(number), resolved={"automlEnabled": number < 20}) for number in range(60)]
    jobs += [job("late", "canary", phase="Failed", resolved={"automlEnabled": True})] * 3
    for one in jobs:
        one["status"]["completionTime"] = datetime.now(UTC).isoformat()
    path.write_text(json.dumps({"items": jobs}))
    assert main(["--jobs", str(path), "--share"]) == 0
    assert re.search(r"jobs ended +20 +40 ", capsys.readouterr().out)


def test_a_release_alone_is_held_against_the_margins(tmp_path, capsys):
    path = tmp_path / "jobs.json"
    jobs = [job(str(number), phase="Failed" if number < 2 else "Succeeded") for number in range(25)]
    for one in jobs:
        one["status"]["completionTime"] = datetime.now(UTC).isoformat()
    path.write_text(json.dumps({"items": jobs}))
    assert main(["--jobs", str(path), "--canary-class", "stable", "--alone"]) == 1
    assert "at most 5.0 %" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--prometheus", "http://x", "--cluster"],
        ["--cluster", "--window", "soon"],
        ["--prometheus", "http://127.0.0.1:9", "--share"],
        ["--cluster", "--share", "--alone"],
        ["--cluster", "--min-jobs", "0"],
        ["--cluster", "--failures", "5"],
        ["--cluster", "--failures", "few"],
    ],
)
def test_a_mistake_on_the_command_line_never_promotes(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == Verdict.WAIT
    assert "usage" in capsys.readouterr().err


def test_a_source_that_fails_never_promotes(tmp_path, capsys):
    assert main(["--jobs", str(tmp_path / "absent.json")]) == Verdict.WAIT
    assert "absent.json" in capsys.readouterr().err

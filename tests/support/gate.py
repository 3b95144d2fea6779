"""Evidence for the promotion gate: TrainingJobs, and a simulated Prometheus."""

import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
WINDOW = timedelta(hours=2)
CANARY, STABLE = 'namespace="trainingjob-canary"', 'namespace="trainingjob-system"'


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

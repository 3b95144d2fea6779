"""The promotion gate: whether the canary release is no worse than the stable one.

It counts what both releases did over a window, from Prometheus or from the TrainingJobs themselves, and says
whether the next step of ``docs/rollout.md`` may be taken. It needs nothing but Python's own library::

    PYTHONPATH=tools python -m promotion_gate --prometheus https://prometheus.example --window 72h
    PYTHONPATH=tools python -m promotion_gate --jobs - < jobs.json

Exit status 0: promote. 1: the canary is worse, roll it back. 2: undecided, wait or fix the source of data.
"""

"""An operator that does nothing: what Kopf itself costs, for `bench_operator_scale.py`.

Its settings are those of the real one; its only handler forgets each event. It prints how many there were
when it is asked to stop.
"""

import asyncio
import logging
import sys
from typing import Any

import kopf

from trainingjob_api import GROUP, PLURAL, VERSION
from trainingjob_operator.__main__ import kopf_settings
from trainingjob_operator.settings import Settings


def main(namespace: str) -> None:
    """Watch the TrainingJobs of *namespace* until a signal comes."""
    registry = kopf.OperatorRegistry()
    events = 0

    async def on_job(**_: Any) -> None:
        nonlocal events
        events += 1

    kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)(on_job)
    kopf.on.login(registry=registry)(kopf.login_with_kubeconfig)
    kopf.configure(log_format=kopf.LogFormat.JSON, log_refkey=None)
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    settings = kopf_settings(Settings(trainer_image="none"))
    asyncio.run(kopf.operator(registry=registry, settings=settings, standalone=True, namespaces=[namespace]))
    print(events)


if __name__ == "__main__":
    main(sys.argv[1])

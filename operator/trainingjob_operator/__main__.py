"""Start-up: ``python -m trainingjob_operator``."""

import asyncio
import logging
import os
import sys
from collections.abc import Mapping

import kopf

from trainingjob_operator.errors import OperatorError
from trainingjob_operator.gateway import connect
from trainingjob_operator.service import Service
from trainingjob_operator.settings import Settings

__all__ = ["main"]


async def _serve(settings: Settings) -> None:
    async with await connect() as client:
        await Service(settings, client).run()


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Run the operator until it is asked to stop; return its exit status."""
    try:
        settings = Settings.from_environment(environment)
        kopf.configure(log_format=kopf.LogFormat.JSON, log_refkey=None)
        # It tells of each event of each object that it was taken; what came of it is told by the reconciler.
        logging.getLogger("kopf.objects").setLevel(logging.WARNING)
        asyncio.run(_serve(settings))
    except OperatorError as error:
        sys.stderr.write(f"trainingjob-operator: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Start-up: ``python -m trainingjob_operator``."""

import asyncio
import logging
import os
import sys
from collections.abc import Mapping
from importlib.metadata import version

from trainingjob_operator import logs
from trainingjob_operator.errors import OperatorError
from trainingjob_operator.gateway import connect
from trainingjob_operator.service import Service
from trainingjob_operator.settings import Settings

__all__ = ["main"]


_log = logging.getLogger("trainingjob_operator")


async def _serve(settings: Settings) -> None:
    async with await connect() as client:
        _log.info(
            "operator starts",
            extra={
                "version": version("trainingjob"),
                "scope": ",".join(settings.namespaces) or "cluster",
                "class": settings.operator_class,
                "image": settings.trainer_image,
                "workers": settings.workers,
            },
        )
        await Service(settings, client).run()


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Run the operator until it is asked to stop; return its exit status."""
    logs.configure()
    try:
        asyncio.run(_serve(Settings.from_environment(environment)))
    except OperatorError as error:
        _log.error("operator does not start", extra={"detail": str(error)})
        return 2
    except Exception:  # noqa: BLE001  # its end belongs into the log like everything else
        _log.exception("operator ends")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Writing ``model.joblib``."""

import gzip
import os
import pickle
from pathlib import Path
from typing import Any

from trainingjob_api import Reason
from trainingjob_trainer.errors import RunFailed

__all__ = ["save_model"]

# Protocol 5 is read by every Python that the project supports.
_PROTOCOL = 5
# Forests shrink to a third at the first level already; higher ones cost seconds for little.
_LEVEL = 1


def save_model(model: Any, path: Path) -> None:
    """Write a fitted model so that ``joblib.load`` reads it; the file appears whole or not at all.

    The stream is a plain pickle under gzip. joblib's own writer puts raw array blocks between the opcodes,
    and such a stream cannot be examined without being executed; joblib reads either.

    Parameters
    ----------
    model
        The fitted pipeline.
    path
        The file to write, usually ``model.joblib``; its folder must exist.

    Raises
    ------
    RunFailed
        With reason ``ModelNotSaved`` if the model cannot be pickled or the file cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as stream:
            # Without name and time of day the same model gives the same bytes.
            with gzip.GzipFile("", "wb", _LEVEL, stream, mtime=0) as packed:
                pickle.dump(model, packed, protocol=_PROTOCOL)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except (OSError, pickle.PicklingError, TypeError, AttributeError, RecursionError) as error:
        partial.unlink(missing_ok=True)
        raise RunFailed(
            Reason.MODEL_NOT_SAVED, f"{path.name} could not be written: {type(error).__name__}: {error}"
        ) from error

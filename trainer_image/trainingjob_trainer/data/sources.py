"""Where a table's bytes come from, by the scheme of its address."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from urllib.parse import unquote

from trainingjob_api import Reason
from trainingjob_api.spec import Dataset
from trainingjob_api.uris import Place, parse_uri
from trainingjob_trainer.data.files import CHUNK
from trainingjob_trainer.data.https_source import https_chunks
from trainingjob_trainer.data.s3_source import s3_chunks
from trainingjob_trainer.errors import DataError, SpecInvalid
from trainingjob_trainer.settings import TrainerSettings

__all__ = ["open_source", "public_uri"]


def public_uri(uri: str) -> str:
    """Return *uri* without query and fragment, where signed addresses keep their secret."""
    return uri.partition("?")[0].partition("#")[0] if uri.startswith("https://") else uri


def open_source(dataset: Dataset, settings: TrainerSettings) -> AbstractContextManager[Iterator[bytes]]:
    """Return a context that yields the bytes of the file, chunk by chunk.

    Raises
    ------
    SpecInvalid
        ``DatasetUriInvalid`` or ``HttpsNotAllowed``.
    DataError
        On entry or while iterating, if the file cannot be had.
    """
    try:
        place = parse_uri(dataset.uri)
    except ValueError as error:
        raise SpecInvalid(Reason.DATASET_URI_INVALID, f"spec.dataset.uri: {error}") from error
    match place.scheme:
        case "file":
            return _file_chunks(Path(unquote(dataset.uri.removeprefix("file://"))), dataset.uri)
        case "pvc":
            return _file_chunks(_claim_path(place, settings.pvc_root), dataset.uri)
        case "s3":
            return s3_chunks(dataset, settings)
        case "https":
            return https_chunks(dataset.uri, settings)
        case "http":
            raise SpecInvalid(
                Reason.DATASET_URI_INVALID, "spec.dataset.uri: http:// is not encrypted; use https://"
            )
        case _:
            raise SpecInvalid(
                Reason.DATASET_URI_INVALID,
                f"spec.dataset.uri {dataset.uri!r} has none of the schemes file://, pvc://, s3://, https://, sample://",
            )


def _claim_path(place: Place, root: Path) -> Path:
    claim, inside = place.root, place.path.lstrip("/")
    base = (root / claim).resolve()
    path = (base / inside).resolve()
    if not claim or not inside or base.parent != root.resolve() or not path.is_relative_to(base):
        raise SpecInvalid(
            Reason.DATASET_URI_INVALID,
            "spec.dataset.uri must be pvc://claim/path, with a path that stays inside the claim",
        )
    return path


@contextmanager
def _file_chunks(path: Path, uri: str) -> Iterator[Iterator[bytes]]:
    try:
        if not path.exists():
            raise DataError(Reason.DATASET_NOT_FOUND, f"{uri} does not exist; correct spec.dataset.uri")
        if not path.is_file():
            raise DataError(
                Reason.DATASET_NOT_FOUND, f"{uri} is not a regular file; name a CSV or Parquet file"
            )
        with path.open("rb") as file:
            yield iter(lambda: file.read(CHUNK), b"")
    except OSError as error:
        raise DataError(
            Reason.DATASET_UNREADABLE,
            f"{uri} cannot be read ({error.strerror}); check the file and its permissions",
        ) from error

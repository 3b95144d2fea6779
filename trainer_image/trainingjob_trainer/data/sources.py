"""The bytes of a dataset, by the scheme of its address: file, claim, bucket or HTTPS."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from urllib.parse import unquote

from trainingjob_api import CLUSTER_SCHEMES, OBJECT_STORAGE, Place, Reason, parse_uri
from trainingjob_api.storage import Dataset
from trainingjob_trainer.data.https_guard import https_chunks
from trainingjob_trainer.data.scratch import CHUNK
from trainingjob_trainer.errors import DataError, RunFailed, SpecInvalid
from trainingjob_trainer.settings import TrainerSettings
from trainingjob_trainer.storage import OBJECT_STORES, RetryPolicy, Store
from trainingjob_trainer.storage.store import Again, Hidden, Missing, Readable, StoreError

__all__ = ["object_chunks", "open_source"]

_OBJECT_RETRY = RetryPolicy(attempts=3, deadline_seconds=60.0)


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
        raise _uri_invalid(f": {error}") from error
    match place.scheme:
        case "file":
            return _file_chunks(Path(unquote(dataset.uri.removeprefix("file://"))), dataset.uri)
        case "pvc":
            return _file_chunks(_claim_path(place, settings.pvc_root), dataset.uri)
        case scheme if scheme in OBJECT_STORES:
            if not place.root or not place.path:
                raise _uri_invalid(f" must be {scheme}://{OBJECT_STORAGE[scheme].noun}/key; correct it")
            store = OBJECT_STORES[scheme](
                place.root,
                "",
                endpoint=dataset.endpoint,
                credentials_dir=settings.credentials_dir,
                settings=settings,
                field="spec.dataset",
            )
            return object_chunks(store, place.path, dataset.uri)
        case "https":
            return https_chunks(dataset.uri, settings)
        case "http":
            raise _uri_invalid(": http:// is not encrypted; use https://")
        case _:
            raise _uri_invalid(
                f" {dataset.uri!r} has none of the schemes {CLUSTER_SCHEMES}, https://, sample:// or file://"
            )


def _uri_invalid(what: str) -> SpecInvalid:
    return SpecInvalid(Reason.DATASET_URI_INVALID, f"spec.dataset.uri{what}")


def _claim_path(place: Place, root: Path) -> Path:
    claim, inside = place.root, place.path.lstrip("/")
    base = (root / claim).resolve()
    path = (base / inside).resolve()
    if not claim or not inside or base.parent != root.resolve() or not path.is_relative_to(base):
        raise _uri_invalid(" must be pvc://claim/path, with a path that stays inside the claim")
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


@contextmanager
def object_chunks(
    store: Store, key: str, uri: str, *, retry: RetryPolicy = _OBJECT_RETRY
) -> Iterator[Iterator[bytes]]:
    """Yield the bytes of an object in a bucket, chunk by chunk.

    Raises
    ------
    SpecInvalid
        ``DatasetUriInvalid``, ``BucketNotFound`` or ``CredentialsRefused``. Messages hold no credentials.
    DataError
        ``DatasetNotFound``, or ``DatasetUnreachable`` if the storage answers that it does not serve this
        address.
    RunFailed
        ``DatasetUnreachable`` if the storage does not answer, or the connection breaks.
    """
    try:
        with ExitStack() as stack:
            stream = _opened(store, key, retry, stack)
            yield iter(lambda: stream.read(CHUNK), b"")
    except StoreError as error:
        raise RunFailed(
            Reason.DATASET_UNREACHABLE, f"The connection broke while {uri} was read ({error})"
        ) from None


def _opened(store: Store, key: str, retry: RetryPolicy, stack: ExitStack) -> Readable:
    try:
        return retry.call(lambda: stack.enter_context(store.get(key)))
    except Hidden as error:
        raise error.refusal from None
    except Missing:
        raise DataError(
            Reason.DATASET_NOT_FOUND,
            f"spec.dataset.uri: {store.where} holds no object {key!r}; correct the key",
        ) from None
    except Again as error:
        raise RunFailed(
            Reason.DATASET_UNREACHABLE,
            f"spec.dataset: {store.where} cannot be reached ({error}); if this persists, check the endpoint "
            "and the network policy",
        ) from None
    except StoreError as error:
        raise DataError(
            Reason.DATASET_UNREACHABLE,
            f"spec.dataset.uri: {store.where} answers {error} for {key!r}; correct the address",
        ) from None
    except ValueError:  # the client checks names before it sends, and the answer after it
        raise _uri_invalid(
            f": the bucket or the key {key!r} is not a valid name, or {store.where} does not answer as its "
            "kind of storage does; correct it"
        ) from None

"""Buckets of Google Cloud Storage and containers of Azure Blob Storage, by obstore.

obstore is an extra: this module is imported when an address needs it. Its errors have no codes; the HTTP
status is read from their text, and nothing else of a text is ever shown.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import AzureStore, GCSStore, ObjectStore

from trainingjob_api import OBJECT_STORAGE, Reason
from trainingjob_trainer.errors import RunFailed, SpecInvalid, TrainingError
from trainingjob_trainer.settings import TrainerSettings
from trainingjob_trainer.storage.access import read_keys, trusted
from trainingjob_trainer.storage.store import (
    CHUNK,
    PROBE,
    Again,
    BucketStore,
    Hidden,
    Missing,
    Readable,
    StoreError,
    content_type,
    status_may_pass,
)

_PART = 5 * 1024 * 1024
"""A part must be sent and answered within the read time-out."""
_PARTS_AT_ONCE = 2
_LONGEST_REQUEST = timedelta(hours=1)
_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|bucket does not exist")
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
_IDENTITY = {
    "federated_token_file": "AZURE_FEDERATED_TOKEN_FILE",
    "client_id": "AZURE_CLIENT_ID",
    "tenant_id": "AZURE_TENANT_ID",
}
_ANONYMOUS_GOOGLE = {
    "skip_signature": True,
    # Without it a write would ask the metadata server for the node's own identity all the same.
    "service_account_key": json.dumps(
        {"disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
    ),
}


class CloudStore(BucketStore):
    """Objects in a bucket or container below a prefix.

    `connect` returns the store of obstore with the keys as they are now.
    """

    def __init__(
        self,
        connect: Callable[[], ObjectStore],
        scheme: str,
        bucket: str,
        prefix: str,
        *,
        host: str,
        field: str = "spec.output",
    ) -> None:
        super().__init__(scheme, bucket, prefix, host=host, field=field, retry=None)
        self._connect = connect

    def check(self) -> None:
        """Prove that objects can be written here; see `Store.check`."""
        self.put(PROBE, b"")
        # Credentials that may write need not be able to delete.
        with suppress(Hidden):
            self.delete(PROBE)

    def stat(self, key: str) -> int:
        """Return the size of an object."""
        with self._translated():
            return obstore.head(self._connect(), self._path(key))["size"]

    @contextmanager
    def get(self, key: str) -> Iterator[Readable]:
        """Open an object."""
        with self._translated():
            found = obstore.get(self._connect(), self._path(key))
        yield _Stream(map(bytes, found.stream(min_chunk_size=CHUNK)), self._translated)

    def put(self, key: str, content: Path | bytes, *, sha256: str | None = None) -> None:
        """Write an object, a large file in parts; its digest is noted in its metadata."""
        labels = {"sha256": sha256} if sha256 else {}
        try:
            with self._translated():
                obstore.put(
                    self._connect(),
                    self._path(key),
                    content,
                    attributes={"Content-Type": content_type(key), **labels},
                    chunk_size=_PART,
                    max_concurrency=_PARTS_AT_ONCE,
                )
        except Hidden:
            raise
        except Missing:
            raise self._no_bucket() from None

    def delete(self, key: str) -> None:
        """Remove an object, if it exists."""
        try:
            with self._translated():
                obstore.delete(self._connect(), self._path(key))
        except Hidden:
            raise
        except Missing:
            pass

    def _path(self, key: str) -> str:
        path = self._prefix + key
        if path.startswith("/"):
            raise ValueError("obstore would drop the slash at the beginning of the key")
        return path

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Translate what obstore raises into the errors of a store and of the user."""
        try:
            yield
        except FileNotFoundError as error:
            if _NO_BUCKET.search(str(error)):
                raise self._no_bucket() from None
            raise Missing("HTTP status 404") from None
        except PermissionDeniedError:
            # Without the right to list, a missing object looks like a forbidden one.
            raise Hidden(self._access_refused("HTTP status 403")) from None
        except UnauthenticatedError:
            raise self._access_refused("HTTP status 401") from None
        except BaseError as error:
            raise self._failure(str(error)) from None

    def _failure(self, text: str) -> Exception:
        found = _STATUS.search(text)
        status = int(found.group(1)) if found else None
        may_pass = status is None or status_may_pass(status)
        if "token file" in text or ("token request" in text and not may_pass):
            return self._access_refused("the cloud gives no token for the pod's service account")
        words = f"HTTP status {status}" if status else "the connection failed or broke"
        return (Again if may_pass else StoreError)(words)


class _Stream:
    """The bytes of an object, in the pieces that its reader asks for."""

    def __init__(self, chunks: Iterator[bytes], translated: Callable[[], Any]) -> None:
        self._chunks = chunks
        self._translated = translated
        self._rest = b""

    def read(self, amount: int, /) -> bytes:
        """Return the next bytes, fewer than *amount* at the end only."""
        while len(self._rest) < amount:
            with self._translated():
                chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._rest += chunk
        piece, self._rest = self._rest[:amount], self._rest[amount:]
        return piece


def open_cloud(
    scheme: str,
    bucket: str,
    prefix: str,
    *,
    endpoint: str | None,
    credentials_dir: Path | None,
    settings: TrainerSettings,
    field: str,
    environment: Mapping[str, str] = os.environ,
) -> CloudStore:
    """Return the store of a bucket or container; parameters and errors are those of `s3_client`.

    The keys are those that `OBJECT_STORAGE` lists. Without keys, Google's ``GOOGLE_APPLICATION_CREDENTIALS``
    and metadata server (where it is allowed) and Azure's workload identity are used; without an identity
    requests are anonymous.

    Raises
    ------
    ValueError
        If a part of the prefix is empty or a dot.
    """
    if endpoint is not None:
        raise SpecInvalid(
            Reason.INVALID_ENDPOINT,
            f"{field}.endpoint is of s3:// only; {scheme}:// is always at {OBJECT_STORAGE[scheme].host}; "
            "remove it",
        )
    if prefix and any(part in {"", "."} for part in prefix.split("/")):
        raise ValueError("no part of the path may be empty or a dot")
    connection = _Connection(
        scheme, bucket, credentials_dir, settings=settings, environment=environment, field=field
    )
    return CloudStore(connection, scheme, bucket, prefix, host=connection.host, field=field)


class _Connection:
    """Returns the store of obstore; it is made again when the keys of a mounted Secret change."""

    def __init__(
        self,
        scheme: str,
        bucket: str,
        folder: Path | None,
        *,
        settings: TrainerSettings,
        environment: Mapping[str, str],
        field: str,
    ) -> None:
        self._scheme, self._bucket, self._folder = scheme, bucket, folder
        self._settings, self._environment, self._field = settings, environment, field
        self._kind = OBJECT_STORAGE[scheme]
        self._read = self._google if scheme == "gs" else self._azure
        self._config = self._read()
        self._store = self._connect(self._config)
        self.host = urlsplit(self._address(self._config)).netloc

    def __call__(self) -> ObjectStore:
        # Storage may still take the last keys; if it does not, its refusal is the better message.
        with suppress(TrainingError, OSError):
            config = self._read()
            if config != self._config:
                self._store, self._config = self._connect(config), config
        return self._store

    def _google(self) -> dict[str, Any]:
        names = self._kind.required
        required = names if self._folder is not None else ()
        (text,) = read_keys(
            names, self._folder, self._environment, field=self._field, required=required, lines=True
        ).values()
        if text:
            return {"service_account_key": self._service_account(text)}
        if path := self._environment.get("GOOGLE_APPLICATION_CREDENTIALS"):
            return {"application_credentials": path}
        return {} if self._settings.allow_google_metadata else dict(_ANONYMOUS_GOOGLE)

    def _service_account(self, text: str) -> str:
        """Return the key without its addresses: obstore would send requests to any host that it names."""
        try:
            found = json.loads(text)
            key = {name: str(found[name]) for name in ("client_email", "private_key")}
            return json.dumps(key | {"private_key_id": str(found.get("private_key_id", ""))})
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._unusable("is not the JSON key of a service account") from None

    def _azure(self) -> dict[str, Any]:
        required = self._kind.required
        account, key, signature = read_keys(
            (*required, *self._kind.optional),
            self._folder,
            self._environment,
            field=self._field,
            required=required,
        ).values()
        if not _ACCOUNT.fullmatch(account):
            raise self._unusable("is not the name of a storage account")
        config: dict[str, Any] = {"account_name": account}
        identity = {option: self._environment.get(name, "") for option, name in _IDENTITY.items()}
        if key:
            return config | {"account_key": key, "credential_type": "access_key"}
        if signature:
            return config | {"sas_key": signature, "credential_type": "sas_token"}
        if all(identity.values()):
            authority = self._environment.get("AZURE_AUTHORITY_HOST")
            identity |= {"authority_host": authority} if authority else {}
            return config | identity | {"credential_type": "workload_identity"}
        return config | {"skip_signature": True}

    def _unusable(self, why: str) -> TrainingError:
        error = SpecInvalid if self._folder is None else RunFailed
        names = " or ".join((*self._kind.required, *self._kind.optional))
        return error(Reason.CREDENTIALS_MISSING, f"{names} of {self._field} {why}; write it again")

    def _address(self, config: Mapping[str, Any]) -> str:
        if self._scheme == "gs":
            return self._settings.google_endpoint or f"https://{self._kind.host}"
        return self._settings.azure_endpoint or f"https://{config['account_name']}.{self._kind.host}"

    def _connect(self, config: dict[str, Any]) -> ObjectStore:
        address, allowed = self._address(config), self._settings.allowed_endpoints
        host = urlsplit(address).hostname
        if allowed and host not in allowed and self._kind.host not in allowed:
            raise SpecInvalid(
                Reason.ENDPOINT_NOT_ALLOWED,
                f"the host {host} of {self._field}.uri is not among the allowed ones ({', '.join(allowed)}); "
                "use one of these",
            )
        seconds = self._settings.s3_timeout_seconds
        common: dict[str, Any] = {
            "client_options": {
                "allow_http": address.startswith("http://"),
                "connect_timeout": timedelta(seconds=min(seconds, 10.0)),
                "read_timeout": timedelta(seconds=seconds),
                "timeout": _LONGEST_REQUEST,
                "root_certificate": Path(trusted(self._environment)).read_bytes(),
            },
            # The caller retries: it knows how long that may take.
            "retry_config": {"max_retries": 0},
        }
        try:
            if self._scheme == "gs":
                return GCSStore(self._bucket, **config, base_url=address, **common)
            return AzureStore(self._bucket, **config, endpoint=address, **common)
        except (BaseError, OSError, ValueError):
            raise self._unusable("cannot be used as it is") from None

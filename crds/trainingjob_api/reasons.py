"""Reasons of conditions, fallbacks and failures: one registry for both planes.

A reason is API: it may be added, never renamed. The operator writes those of the first sections; the trainer
reports those that follow; the last ones end a command on a user's machine. ``docs/reference/conditions.md``
lists them all.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """The reason of a condition, a fallback or a failure: its word, and what has happened."""

    meaning: str

    def __new__(cls, word: str, meaning: str = "") -> Self:
        """Return a member that equals its word."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.meaning = meaning
        return member

    # The course of a job (Ready, Complete, Failed, Reconciling, Stalled, Suspended).

    PENDING = "Pending", "The job has been observed; no resource has been created yet."
    CREATING_RESOURCES = "CreatingResources", "Resources of the job are being created."
    WAITING_FOR_TRAINER = "WaitingForTrainer", "The trainer's pod has not started yet."
    WAITING_FOR_PREDECESSOR = (
        "WaitingForPredecessor",
        "Resources of an earlier job of the same name, or a pod of an earlier Job, are still being deleted.",
    )
    SEARCHING = "Searching", "The trainer runs the search, or the baseline before it."
    SAVING = "Saving", "The search has ended; artifacts are being written and uploaded."
    SUCCEEDED = "Succeeded", "A model has been saved and verified."
    SUSPENDED = "Suspended", "``spec.suspend`` is true; the results so far are kept."
    RESUMED = "Resumed", "``spec.suspend`` is false again."
    DEADLINE_EXCEEDED = "DeadlineExceeded", "The job exceeded ``activeDeadlineSeconds``."
    BACKOFF_LIMIT_EXCEEDED = (
        "BackoffLimitExceeded",
        "The trainer failed more often than ``backoffLimit`` allows.",
    )
    SPEC_INVALID = (
        "SpecInvalid",
        "The spec, or the environment it is resolved in, is wrong; the message names the field.",
    )
    NAME_CONFLICT = (
        "NameConflict",
        "An object with the name of one of the job's resources exists and has another owner.",
    )
    PLAN_CHANGED = (
        "PlanChanged",
        "A ConfigMap with the plan differs from the one that the operator recorded; delete it to restore it.",
    )
    REPORT_KEY_LOST = (
        "ReportKeyLost",
        "The Secret with the run's key was deleted; no further attempt can start.",
    )
    PLAN_LOST = "PlanLost", "The run's plan was deleted and cannot be recreated unchanged."
    NOT_ALLOWED = "NotAllowed", "An endpoint, bucket or scheme is not on the operator's allow-list."
    FORBIDDEN = (
        "Forbidden",
        "The API server does not allow the operator to create a resource (RBAC, admission, quota).",
    )

    # Why a pod cannot start.

    IMAGE_UNAVAILABLE = "ImageUnavailable", "The image cannot be pulled."
    UNSCHEDULABLE = "Unschedulable", "No node fits the pod."
    QUOTA_EXCEEDED = "QuotaExceeded", "The namespace's quota does not admit the pod."
    CLAIM_NOT_FOUND = "ClaimNotFound", "A persistent volume claim that the spec names does not exist."
    SECRET_NOT_FOUND = "SecretNotFound", "A Secret that the spec names does not exist."
    VOLUME_NOT_MOUNTED = (
        "VolumeNotMounted",
        "A volume of the pod cannot be mounted; the message quotes the kubelet.",
    )
    CONFIG_MAP_NOT_FOUND = (
        "ConfigMapNotFound",
        "The ConfigMap, or its key, that ``searchSpace.configMapRef`` names does not exist.",
    )
    TRAINER_EVICTED = (
        "TrainerEvicted",
        "The trainer's pod was evicted or its node failed; this does not count as a failure.",
    )
    TRAINER_CRASHED = "TrainerCrashed", "The trainer ended without a final report."
    OUT_OF_MEMORY = "OutOfMemory", "A container exceeded its memory limit and was killed."
    OUT_OF_STORAGE = (
        "OutOfStorage",
        "The trainer's pod exceeded its local storage and was evicted; this counts as a failure.",
    )
    REPORT_REFUSED = (
        "ReportRefused",
        "A report of the trainer was rejected (an event); the status is unchanged.",
    )

    # Dask (DaskReady, Degraded) and fallbacks.

    NOT_REQUESTED = "NotRequested", "The job does not run on a Dask cluster."
    DASK_READY = "DaskReady", "The scheduler responds and at least one worker is connected."
    WAITING_FOR_DASK = "WaitingForDask", "The cluster is not healthy yet."
    DASK_UNAVAILABLE = (
        "DaskUnavailable",
        "The Dask operator or its resource definition is missing, or it does not create the cluster.",
    )
    DASK_CRASHED = "DaskCrashed", "The scheduler or a worker crashes repeatedly."
    SCHEDULER_LOST = "SchedulerLost", "The scheduler stopped responding during the search."
    WORKERS_LOST = "WorkersLost", "All workers were lost during the search."
    AS_REQUESTED = "AsRequested", "The run uses what the spec requests."

    # Acceptance and artifacts.

    ACCEPTED = "Accepted", "The hold-out score meets ``acceptance``."
    BELOW_MIN_SCORE = "BelowMinScore", "The hold-out score is below ``acceptance.minScore``."
    NOT_BETTER_THAN_BASELINE = "NotBetterThanBaseline", "The hold-out score does not exceed the baseline's."
    ACCEPTANCE_NOT_ASKED = "AcceptanceNotAsked", "The spec has no ``acceptance``."
    NO_HOLDOUT_SCORE = "NoHoldoutScore", "There is no hold-out score to compare with ``acceptance``."
    UPLOADED = "Uploaded", "Every artifact is stored where the status says, and its digest is verified."
    UPLOADING = "Uploading", "Artifacts are being uploaded."

    # The file.

    DATASET_URI_INVALID = (
        "DatasetUriInvalid",
        "The address has no known scheme, leaves its claim, or redirects away from https.",
    )
    DATASET_NOT_FOUND = "DatasetNotFound", "There is no file or object at the address."
    DATASET_UNREADABLE = "DatasetUnreadable", "The file cannot be read: its permissions or its disk."
    DATASET_UNREACHABLE = (
        "DatasetUnreachable",
        "The dataset's storage does not respond, or responds with an error.",
    )
    HTTPS_NOT_ALLOWED = "HttpsNotAllowed", "``https://`` datasets are disabled."
    ADDRESS_NOT_ALLOWED = (
        "AddressNotAllowed",
        "The host of a dataset or S3 endpoint has a forbidden address, such as that of a metadata service.",
    )
    ENDPOINT_NOT_ALLOWED = "EndpointNotAllowed", "The host, or that of a redirect, is not on the allow-list."
    UNKNOWN_SAMPLE = "UnknownSample", "There is no such sample."
    DIGEST_MISMATCH = "DigestMismatch", "The file does not have the digest ``dataset.sha256``."
    DATASET_TOO_LARGE = "DatasetTooLarge", "The file has more bytes than the limit."
    DECOMPRESSED_TOO_LARGE = "DecompressedTooLarge", "The decompressed file has more bytes than the limit."
    TOO_MANY_COLUMNS = "TooManyColumns", "The table has more columns than the limit."
    TOO_MANY_ROWS = "TooManyRows", "The table has more rows than the limit."
    DATASET_EMPTY = "DatasetEmpty", "The file is empty, has a header without rows, or has no header."
    DATASET_FORMAT_INVALID = "DatasetFormatInvalid", "The file's format is unknown or not the requested one."
    DATASET_CORRUPT = "DatasetCorrupt", "The gzip or Parquet file is damaged."
    ENCODING_INVALID = "EncodingInvalid", "The file is not UTF-8."
    RAGGED_ROWS = "RaggedRows", "A row has more or fewer fields than the header."
    DUPLICATE_COLUMNS = "DuplicateColumns", "Two columns have the same name."

    # Target and metric.

    TARGET_COLUMN_MISSING = "TargetColumnMissing", "The table has no such target column."
    TARGET_ALL_MISSING = "TargetAllMissing", "No row has a target value."
    TARGET_SINGLE_CLASS = "TargetSingleClass", "The target has a single label."
    TARGET_CONSTANT = "TargetConstant", "The target has a single value."
    TARGET_NOT_NUMERIC = "TargetNotNumeric", "Regression on values that are not numbers."
    TARGET_TYPE_UNSUPPORTED = "TargetTypeUnsupported", "The target contains dates, durations, lists or bytes."
    TARGET_OUT_OF_RANGE = "TargetOutOfRange", "The metric is not defined for some values of the target."
    POSITIVE_LABEL_UNKNOWN = "PositiveLabelUnknown", "``positiveLabel`` is not one of the labels."
    UNKNOWN_METRIC = "UnknownMetric", "scikit-learn has no such scorer."
    METRIC_DOES_NOT_FIT = (
        "MetricDoesNotFit",
        "The scorer is for another task or number of classes, or undefined on the hold-out set or a fold.",
    )

    # Rows, folds and columns.

    CLASS_TOO_SMALL = "ClassTooSmall", "A class has fewer than two rows outside the hold-out set."
    TOO_FEW_ROWS = "TooFewRows", "Too few rows for a hold-out set and folds."
    TOO_FEW_GROUPS = "TooFewGroups", "Fewer than three groups."
    FOLDS_SINGLE_CLASS = (
        "FoldsSingleClass",
        "Every split into folds leaves one with a single class to train on.",
    )
    UNKNOWN_COLUMN = "UnknownColumn", "The spec names a column that does not exist, or the target."
    FEATURE_TYPE_IMPOSSIBLE = (
        "FeatureTypeImpossible",
        "No value of a column has the type given in ``featureTypes``.",
    )
    VALIDATION_COLUMN_MISSING = "ValidationColumnMissing", "The table has no such group or time column."
    TIME_COLUMN_UNREADABLE = "TimeColumnUnreadable", "No value of the time column is a date or a number."
    NO_FEATURES = "NoFeatures", "No feature column is left."

    # The search space.

    UNKNOWN_PRESET = "UnknownPreset", "There is no preset, group or estimator of that name."
    UNKNOWN_ESTIMATOR = "UnknownEstimator", "The estimator is not on the allow-list."
    UNKNOWN_HYPERPARAMETER = (
        "UnknownHyperparameter",
        "The estimator has no such hyperparameter, or it may not be set.",
    )
    INVALID_HYPERPARAMETER = "InvalidHyperparameter", "The estimator rejects the value."
    WRONG_STEP = "WrongStep", "A step is not allowed at its position."
    INVALID_SEARCH_SPACE = "InvalidSearchSpace", "The tree is malformed or too large."
    PIPELINE_TOO_DEEP = "PipelineTooDeep", "A pipeline is nested too deeply."
    UNKNOWN_VALUE = "UnknownValue", "The description of a pipeline has a malformed part."

    # Environment and storage; exit status 2, except ``StorageUnreachable`` and ``UploadFailed``.

    INVALID_ENVIRONMENT = "InvalidEnvironment", "A variable of the trainer's environment cannot be read."
    INVALID_OUTPUT = "InvalidOutput", "``output.uri`` is not a valid output."
    INVALID_ENDPOINT = "InvalidEndpoint", "The S3 endpoint is not a valid address."
    OUTPUT_NOT_WRITABLE = "OutputNotWritable", "The output is not writable."
    CLAIM_NOT_MOUNTED = "ClaimNotMounted", "The claim of a ``pvc://`` address is not mounted."
    BUCKET_NOT_FOUND = "BucketNotFound", "There is no such bucket."
    CREDENTIALS_MISSING = (
        "CredentialsMissing",
        "Credentials are missing, empty or malformed; a pod waits for the Secret and its keys.",
    )
    CREDENTIALS_REFUSED = (
        "CredentialsRefused",
        "The storage rejects the credentials, they lack permissions, or a cloud role provides none.",
    )
    STORAGE_UNREACHABLE = (
        "StorageUnreachable",
        "The storage does not respond at the start of the run; the attempt is retried.",
    )
    UPLOAD_FAILED = "UploadFailed", "The storage did not accept an artifact within the retries."

    # Fallbacks (Degraded).

    TRAINER_HUNG = "TrainerHung", "The search stopped responding."
    BUDGET_OVERRUN = "BudgetOverrun", "The search exceeded its budget and was stopped."
    NO_PIPELINE_FITTED = "NoPipelineFitted", "No pipeline of the search could be fitted to all rows."
    NO_WORKERS = "NoWorkers", "The Dask cluster had no worker in time."
    VERSION_MISMATCH = (
        "VersionMismatch",
        "Workers of the Dask cluster have different versions of required packages.",
    )
    SETTINGS_MISMATCH = "SettingsMismatch", "The Dask scheduler lacks the settings that a search needs."
    TABLE_TOO_LARGE = "TableTooLarge", "The table is too large to send to the workers of the Dask cluster."
    BASELINE_FAILED = "BaselineFailed", "The baseline could not be fitted; a dummy model replaces it."

    # The run failed; exit status 1, retried within ``backoffLimit``.

    SCRATCH_UNUSABLE = "ScratchUnusable", "The scratch disk is full or read-only."
    ENCODING_FAILED = "EncodingFailed", "The table could not be encoded."
    NO_MODEL = "NoModel", "Not even a dummy model could be fitted, or none was saved."
    MODEL_NOT_SAVED = (
        "ModelNotSaved",
        "No longer used: a model that cannot be written is replaced by the next best.",
    )
    MODEL_NOT_PORTABLE = "ModelNotPortable", "The model refers to code that its users do not have."
    MODEL_UNREADABLE = "ModelUnreadable", "The written model cannot be read."
    ARTIFACTS_NOT_WRITTEN = "ArtifactsNotWritten", "Report or tables could not be written."
    MANIFEST_MISSING = "ManifestMissing", "The manifest of the run is missing."
    MANIFEST_INVALID = "ManifestInvalid", "The manifest was not written by a run."
    ARTIFACT_MISMATCH = "ArtifactMismatch", "An artifact differs from the manifest."
    STATE_NOT_SAVED = "StateNotSaved", "The journal could not be mirrored."
    STATE_NOT_READ = "StateNotRead", "The mirrored journal could not be read."
    REPORT_NOT_POSSIBLE = "ReportNotPossible", "The report cannot be created from the artifacts."
    RUN_REFUSED = "RunRefused", "The mounted run is not the one that the pod was created for."
    REPORT_KEY_MISSING = "ReportKeyMissing", "The key that signs reports cannot be read."
    REPORT_UNREADABLE = "ReportUnreadable", "The report of an earlier attempt cannot be read."
    REPORT_NOT_READ = "ReportNotRead", "The API server did not return the report of the previous attempt."
    REPORT_NOT_WRITTEN = (
        "ReportNotWritten",
        "The model is complete, but the API server did not accept its report.",
    )
    WORK_FOLDER_UNUSABLE = "WorkFolderUnusable", "The run's folder is full or not writable."
    FOLDER_IN_USE = "FolderInUse", "Another run uses the same folder."
    DISK_FULL = "DiskFull", "No space is left on the device."
    INTERRUPTED = "Interrupted", "The run was stopped before it had a model."
    UNEXPECTED_ERROR = "UnexpectedError", "A bug in the program; the log contains the traceback."

    # The cluster's commands: submit, watch, logs.

    CLIENT_MISSING = "ClientMissing", "The Kubernetes client is not installed."
    KUBECONFIG_INVALID = "KubeconfigInvalid", "The kubeconfig names no usable cluster."
    NOT_INSTALLED = "NotInstalled", "TrainingJobs are not installed in the cluster."
    NOT_FOUND = "NotFound", "There is no such job or namespace."
    ALREADY_EXISTS = "AlreadyExists", "The job exists already."
    REFUSED = "Refused", "The API server rejects the job; the message quotes it."
    CLUSTER_UNREACHABLE = "ClusterUnreachable", "The API server does not respond."
    CLUSTER_FAULT = "ClusterFault", "The API server responds with an error."
    NO_POD = "NoPod", "The job has no pod."
    FAILED = "Failed", "The job failed without a reason."

    # Results.

    RUN_FOLDER_NOT_FOUND = "RunFolderNotFound", "The folder contains no finished run."
    ARTIFACT_INVALID = "ArtifactInvalid", "A file was not written by a run."

    # Dask by hand: scheduler, workers, certificates.

    OPTIONS_CONTRADICT = "OptionsContradict", "Two options contradict each other."
    HOST_INVALID = "HostInvalid", "A host name or address is invalid."
    SCHEDULER_ADDRESS_INVALID = "SchedulerAddressInvalid", "The address is not that of a scheduler."
    SCHEDULER_UNAVAILABLE = "SchedulerUnavailable", "The scheduler, or its file, cannot be reached."
    SCHEDULER_NOT_STARTED = "SchedulerNotStarted", "The scheduler did not start."
    SCHEDULER_FILE_IN_USE = "SchedulerFileInUse", "Another scheduler uses the file."
    SCHEDULER_FILE_UNWRITABLE = "SchedulerFileUnwritable", "The scheduler's file cannot be written."
    WORKER_UNAVAILABLE = "WorkerUnavailable", "A worker does not accept tasks."
    WORKER_NAME_TAKEN = "WorkerNameTaken", "Another worker has the name."
    CERTIFICATES_INVALID = "CertificatesInvalid", "The certificates cannot be used."
    CERTIFICATES_EXIST = "CertificatesExist", "Certificates exist already."
    CERTIFICATES_UNWRITABLE = "CertificatesUnwritable", "The certificates cannot be written."


@dataclass(frozen=True, slots=True)
class Cause:
    """Why something is as it is, for a condition or an event."""

    reason: str
    """A :class:`Reason`, or the word in a trainer's report, which may be of another release."""
    message: str = ""

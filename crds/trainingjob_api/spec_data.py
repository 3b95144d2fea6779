"""The parts of the spec about data: where it is, how it is split, where the model goes, what is good."""

from typing import Annotated

from pydantic import ConfigDict, Field, StrictFloat, StrictInt, StringConstraints

from trainingjob_api.base import Bool, ColumnName, Digest, SpecModel, UriOrigin, rules
from trainingjob_api.scheduling import SecretRef
from trainingjob_api.uris import DatasetUri, OutputUri, uri_rules
from trainingjob_api.vocabulary import DatasetFormat, DecimalMark, Encoding, ThousandsMark, ValidationStrategy

__all__ = ["Acceptance", "Csv", "Dataset", "Output", "Validation"]

_LOCAL_ONLY = "file:// is for local runs (trainingjob run) only; use s3:// or pvc://"


class Csv(SpecModel):
    """How values are written as text; what is not given is found in the file and reported.

    The separator and the encoding are those of a CSV file; all other fields also hold for columns of text in
    Parquet.
    """

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.decimal) || !has(self.thousands) || self.decimal != self.thousands",
                "decimal and thousands must differ",
            )
        )
    )

    separator: (
        Annotated[str, StringConstraints(min_length=1, max_length=1, pattern=r"^[^\"\r\n]$")] | None
    ) = Field(default=None, description="Character between the fields of a CSV file, such as ';' or a tab.")
    encoding: Encoding | None = Field(
        default=None, description="Encoding of a CSV file; utf-8 (the default) takes a byte order mark too."
    )
    decimal: DecimalMark | None = Field(default=None, description="Decimal mark of numbers: '.' or ','.")
    thousands: ThousandsMark | None = Field(
        default=None,
        description="Mark between thousands: '.', ',', an apostrophe, space (any kind), or none, which "
        "reads 1.234 and 1,234 as fractions or not at all.",
    )
    missing_values: (
        Annotated[list[Annotated[str, StringConstraints(max_length=64)]], Field(max_length=32)] | None
    ) = Field(
        default=None,
        description="The texts that count as missing, in every column and beside empty cells; [] for none. "
        "By default NA, NaN, null, None, N/A and the like, and in columns of numbers also placeholders such "
        "as '?' and '-'.",
    )
    day_first: Bool | None = Field(
        default=None,
        description="Whether the day comes before the month where dates such as 03/04/2025 leave it open.",
    )
    time_zone: (
        Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_+/-]+$")] | None
    ) = Field(
        default=None,
        description="Zone whose hours and weekdays are used of time stamps with an offset, such as "
        "Europe/Berlin; by default that of a Parquet column, else UTC.",
    )


class Dataset(SpecModel):
    """The table to learn from."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!self.uri.startsWith('file://')",
                "file:// is for local runs (trainingjob run) only; use s3://, pvc://, https:// or sample://",
            ),
            *uri_rules("self.uri"),
        )
    )

    uri: DatasetUri = Field(
        description="Address of the table: s3://bucket/key, pvc://claim/path, https://host/path (where "
        "the operator allows it), sample://name (breast_cancer, iris, wine, digits, diabetes,"
        " messy_churn, messy_prices), or file://path (local runs only)."
    )
    endpoint: UriOrigin | None = Field(
        default=None,
        description="S3 endpoint of the dataset, if not the default one, such as https://minio.example.",
    )
    format: DatasetFormat | None = Field(
        default=None, description="Format of the table; auto (the default) looks at its name and first bytes."
    )
    csv: Csv | None = Field(
        default=None,
        description="How the file writes its values, where what is found in it is not what is meant.",
    )
    credentials_secret_ref: SecretRef | None = Field(
        default=None, description="Secret with the S3 credentials that read the dataset."
    )
    sha256: Digest | None = Field(
        default=None,
        description="Pin: the run is refused unless the file has this SHA-256 digest (64 hex digits).",
    )


class Validation(SpecModel):
    """How the rows are split into hold-out and folds."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!(has(self.groupColumn) && has(self.timeColumn))",
                "groupColumn and timeColumn exclude each other",
            ),
            (
                "!(has(self.strategy) && self.strategy == 'group') || has(self.groupColumn)",
                "strategy group needs groupColumn",
            ),
            (
                "!(has(self.strategy) && self.strategy == 'time') || has(self.timeColumn)",
                "strategy time needs timeColumn",
            ),
            (
                "!has(self.groupColumn) || !has(self.strategy) || self.strategy in ['auto', 'group']",
                "groupColumn needs strategy group or auto",
            ),
            (
                "!has(self.timeColumn) || !has(self.strategy) || self.strategy in ['auto', 'time']",
                "timeColumn needs strategy time or auto",
            ),
            (
                # An API server rounds a bound down to compare it with a number written as 0.
                "!has(self.holdoutFraction) || self.holdoutFraction >= 0.05",
                "holdoutFraction must be at least 0.05",
            ),
        )
    )

    holdout_fraction: Annotated[StrictFloat, Field(ge=0.05, le=0.5)] | None = Field(
        default=None, description="Share of the rows that is set aside for the hold-out score; default 0.2."
    )
    strategy: ValidationStrategy | None = Field(
        default=None,
        description="kfold (shuffled, stratified for classification), group (no group on both sides), "
        "time (later rows are the test) or auto (group or time where their column is given, "
        "else kfold); default auto.",
    )
    group_column: ColumnName | None = Field(
        default=None, description="Column whose equal values stay on one side of every split."
    )
    time_column: ColumnName | None = Field(default=None, description="Column that orders the rows in time.")


class Output(SpecModel):
    """Where the model and its reports go."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("!has(self.uri) || !self.uri.startsWith('file://')", _LOCAL_ONLY),
            *((f"!has(self.uri) || {rule}", message) for rule, message in uri_rules("self.uri")),
        )
    )

    uri: OutputUri | None = Field(
        default=None,
        description="Folder of all runs: s3://bucket/prefix, pvc://claim/path, or file://path (local runs"
        " only).",
    )
    endpoint: UriOrigin | None = Field(
        default=None, description="S3 endpoint of the output, if not the default one."
    )
    credentials_secret_ref: SecretRef | None = Field(
        default=None, description="Secret with the S3 credentials that write the output."
    )
    leaderboard_top_k: Annotated[StrictInt, Field(ge=1, le=100)] | None = Field(
        default=None, description="Rows of the leaderboard (the status holds at most 10); default 10."
    )


class Acceptance(SpecModel):
    """When a model counts as good enough; read against the hold-out score."""

    min_score: Annotated[StrictFloat, Field(ge=-1e18, le=1e18)] | None = Field(
        default=None, description="The hold-out score must be at least this, in the units of the metric."
    )
    must_beat_baseline: Bool | None = Field(
        default=None, description="Whether the hold-out score must be above the baseline's; default false."
    )

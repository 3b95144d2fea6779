"""The conditions that the table of ``docs/reference/conditions.md`` shows, in the order of its columns."""

COLUMNS = (
    "Ready",
    "Complete",
    "Failed",
    "Suspended",
    "Reconciling",
    "Stalled",
    "AcceptanceMet",
    "ArtifactsUploaded",
    "Degraded",
)

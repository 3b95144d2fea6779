"""The contract of the TrainingJob operator: models of spec, status and report, and resolve()."""

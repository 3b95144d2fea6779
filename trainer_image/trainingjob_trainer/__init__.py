"""The data plane of the TrainingJob operator: from a table and a TrainingJob to a verified model."""

"""The control plane of the TrainingJob operator."""

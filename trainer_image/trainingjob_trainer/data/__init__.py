"""From the address of a table to features, target, metric, splits and the encoder of raw rows."""

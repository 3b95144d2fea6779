"""The search: TPOT's individuals bred and evaluated inside hard limits, committed in a fixed order."""

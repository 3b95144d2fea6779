"""Fixes around TPOT 1.1.0: its search spaces, its ranges, and the pipelines that it exports."""

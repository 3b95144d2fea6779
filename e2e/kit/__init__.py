"""Helpers of the end-to-end tests: the cluster, the installation, the bucket, jobs, evidence."""

"""What the end-to-end tests stand on: the cluster, the installation, the bucket, jobs, evidence."""

"""What is generated into ``helm/``: copies, the packed Dask operator, the README of the values."""

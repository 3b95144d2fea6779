"""A remote Dask cluster: its scheduler and workers, whether they answer, and the search's connection to it.

`scheduler` and `worker` run the processes, `connection` says how to reach them, `probe` asks from outside,
and `remote` is for the trainer.
"""

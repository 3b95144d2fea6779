"""A remote Dask cluster: its scheduler and workers, whether they answer, and the search's connection to it.

`scheduler` and `worker` run the processes; `probe` asks from outside; `remote` is for the trainer.
"""

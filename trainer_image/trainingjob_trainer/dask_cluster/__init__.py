"""A remote Dask cluster: its processes, whether they are there, and how a run joins them.

``scheduling`` and ``working`` run a scheduler and a worker as the search needs them, ``departure`` is how a
worker leaves, ``address`` finds the one from the other, ``security`` and ``certificates`` are who may talk to
whom, ``probe`` and ``health`` ask from outside. ``joining`` and ``remote`` are for the trainer.
"""

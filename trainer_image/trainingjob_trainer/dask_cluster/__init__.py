"""The processes of a remote Dask cluster, and whether they are there.

``scheduling`` and ``working`` run a scheduler and a worker as the search needs them, ``address`` finds the
one from the other, ``security`` and ``certificates`` are who may talk to whom, ``probe`` asks from outside.
"""

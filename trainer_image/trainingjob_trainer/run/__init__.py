"""A run is a parent that supervises and a child that searches.

The child may crash in native code, be killed for its memory or hang; the parent notices, starts it again on
the same journal and clock, and steps down the ladder until there is a model.
"""

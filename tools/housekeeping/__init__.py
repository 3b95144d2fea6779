"""House rules that no linter knows: what the tree may name, where things stand, whether docs and lock hold.

``make house`` runs them over the tracked files; each rule is a pure function of a :class:`Tree` that returns
the problems it found.
"""

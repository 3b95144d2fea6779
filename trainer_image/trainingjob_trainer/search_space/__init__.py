"""Search spaces: from a preset or a tree to TPOT individuals, and from those to plain scikit-learn."""

"""Fixes around TPOT 1.1.0: in its search spaces, its ranges, and the pipelines that it exports.

- `spaces`: defects of search spaces and individuals, fixed in subclasses. A test shows each on stock TPOT,
  and fails when TPOT has fixed it.
- `ranges`: ranges of hyperparameters in which a fit takes minutes narrowed, and ranges of boosting replaced.
- `repairs`, `transformers`: estimators that would fail or need TPOT to load, replaced when a pipeline is
  translated.

``docs/tpot.md`` lists each fix with the defect and how to see that it is no longer needed.
"""

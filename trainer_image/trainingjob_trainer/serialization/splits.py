"""The parts of ``pipeline.py`` that repeat how the run read the target and set its hold-out rows aside."""

__all__ = ["SPLITS", "SPLIT_IMPORTS", "TARGETS", "TARGET_RULES"]

TARGET_RULES = '''
# What the texts of the target become, in order; numbers and booleans stay as they are.
TARGET_RULES = [
{rules}]


def read_target(table):
    """Return the target's values; what is missing is missing."""
    values = table[TARGET]
    for pattern, value in TARGET_RULES:
        values = values.replace(pattern, value, regex=True)
    return values

'''
"""Source of what all kinds of targets need."""

TARGETS = {
    "text": '''
def target_of(table):
    """Return the rows that have a label, and the labels."""
    labels = read_target(table)
    keep = labels.notna()
    return table[keep].reset_index(drop=True), labels[keep].astype("str").to_numpy(dtype=object)

''',
    "bool": '''
def target_of(table):
    """Return the rows that have a label, and the labels."""
    labels = read_target(table)
    keep = labels.notna()
    truths = labels[keep].astype("str").str.casefold() == "true"
    return table[keep].reset_index(drop=True), truths.to_numpy(dtype=bool)

''',
    "number": '''
def target_of(table):
    """Return the rows that have a target, and their targets."""
    values = pd.to_numeric(read_target(table), errors="coerce").to_numpy(dtype="float64")
    keep = np.isfinite(values)
    return table[keep].reset_index(drop=True), values[keep].astype({dtype!r})

''',
}
"""Source by kind of target; that of numbers takes the dtype."""

SPLITS = {
    "stratified": '''
def split(table, target):
    """Set a part of the rows of each class aside, the same as in the run; return positions."""
    codes = np.unique(target, return_inverse=True)[1]
    shuffled = np.random.default_rng(RANDOM_STATE).permutation(len(codes))
    by_class = shuffled[np.argsort(codes[shuffled], kind="stable")]
    members = np.split(by_class, np.cumsum(np.bincount(codes))[:-1])
    sizes = [min(round(HOLDOUT_FRACTION * len(rows)), max(0, len(rows) - 2)) for rows in members]
    chosen = [rows[:size] for rows, size in zip(members, sizes)]
    test = np.sort(np.concatenate(chosen))
    return np.setdiff1d(np.arange(len(table)), test), test

''',
    "random": '''
def split(table, target):
    """Set a part of the rows aside, the same as in the run; return positions."""
    size = min(max(1, round(HOLDOUT_FRACTION * len(table))), len(table))
    test = np.sort(np.random.default_rng(RANDOM_STATE).permutation(len(table))[:size])
    return np.setdiff1d(np.arange(len(table)), test), test

''',
    "group": '''
def split(table, target):
    """Set whole groups of rows aside; return positions."""
    groups = table[GROUP].astype("str").fillna("(missing)")
    cut = GroupShuffleSplit(n_splits=1, test_size=HOLDOUT_FRACTION, random_state=RANDOM_STATE)
    return next(cut.split(table, groups=groups))

''',
    "time": '''
def split(table, target):
    """Set the latest rows aside; return positions."""
    times = table[TIME]
    if not pd.api.types.is_numeric_dtype(times):
        times = pd.to_datetime(times, format="mixed", errors="coerce", utc=True)
    order = np.argsort(times.to_numpy(), kind="stable")
    order = order[times.notna().to_numpy()[order]]
    cut = len(order) - max(1, round(HOLDOUT_FRACTION * len(order)))
    return order[:cut], order[cut:]

''',
}
"""Source by strategy."""

SPLIT_IMPORTS: dict[str, set[str]] = {
    "stratified": set(),
    "random": set(),
    "group": {"from sklearn.model_selection import GroupShuffleSplit"},
    "time": set(),
}

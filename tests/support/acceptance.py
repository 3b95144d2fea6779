"""Cases of `spec.acceptance`: what the spec asks, what the model has, what follows."""

import pytest

from trainingjob_api import Acceptance, Best


def _asked(minimum=None, *, beat=None):
    return Acceptance(min_score=minimum, must_beat_baseline=beat)


def _best(score, baseline="0.5"):
    return Best(pipeline="p", score="0.99", holdout_score=score, baseline_holdout_score=baseline)


# Asked, the model, whether it is accepted (None: nothing is asked), the operator's reason.
ROWS = [
    ("nothing", None, _best("0.1"), None, "AcceptanceNotAsked"),
    ("nothing of an empty field", _asked(), _best("0.1"), None, "AcceptanceNotAsked"),
    ("nothing of a false one", _asked(beat=False), _best("0.1"), None, "AcceptanceNotAsked"),
    ("above", _asked(0.8), _best("0.9"), True, "Accepted"),
    ("exactly the score", _asked(0.8), _best("0.8"), True, "Accepted"),
    ("exactly a score of more digits", _asked(0.8), _best("0.800000"), True, "Accepted"),
    ("a hair below", _asked(0.8), _best("0.799999"), False, "BelowMinScore"),
    ("below zero, exactly", _asked(-12.5), _best("-12.5", "-20"), True, "Accepted"),
    ("below zero, below", _asked(-12.5), _best("-12.51", "-20"), False, "BelowMinScore"),
    ("zero is asked, too", _asked(0.0), _best("-0.1"), False, "BelowMinScore"),
    ("better than the baseline", _asked(beat=True), _best("0.51"), True, "Accepted"),
    ("equal to the baseline", _asked(beat=True), _best("0.5"), False, "NotBetterThanBaseline"),
    ("equal in other digits", _asked(beat=True), _best("0.50"), False, "NotBetterThanBaseline"),
    ("worse than the baseline", _asked(beat=True), _best("0.49"), False, "NotBetterThanBaseline"),
    ("both", _asked(0.5, beat=True), _best("0.51"), True, "Accepted"),
    ("both, the baseline is as good", _asked(0.5, beat=True), _best("0.5"), False, "NotBetterThanBaseline"),
    ("both, below", _asked(0.8, beat=True), _best("0.6"), False, "BelowMinScore"),
    ("enough, whatever the baseline", _asked(0.4, beat=False), _best("0.4"), True, "Accepted"),
    ("the score of the folds does not count", _asked(0.9), _best("0.8"), False, "BelowMinScore"),
    ("no score to hold against a minimum", _asked(0.1), _best(None), False, "NoHoldoutScore"),
    ("no score to hold against the baseline", _asked(beat=True), _best(None), False, "NoHoldoutScore"),
    ("no baseline", _asked(beat=True), _best("0.9", None), False, "NoHoldoutScore"),
    ("no baseline, and none is asked for", _asked(0.9), _best("0.9", None), True, "Accepted"),
]
each_row = pytest.mark.parametrize(
    ("asked", "best", "met", "reason"), [pytest.param(*row[1:], id=row[0]) for row in ROWS]
)

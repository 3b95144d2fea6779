import numpy as np
import pandas as pd
import pytest

from trainingjob_api.vocabulary import FeatureType
from trainingjob_trainer.data.column_format import ColumnFormat, NumberFormat, infer_date_format
from trainingjob_trainer.data.encoder import build_encoder

NUMERIC, DATETIME = FeatureType.NUMERIC, FeatureType.DATETIME
RNG = np.random.default_rng(0)
ROWS = 300


@pytest.mark.parametrize(
    ("column", "zone", "hours"),
    [
        pytest.param(
            pd.date_range("2024-01-01", periods=ROWS, freq="h", tz="Asia/Tokyo"), None, 0, id="own zone"
        ),
        pytest.param(pd.date_range("2024-01-01", periods=ROWS, freq="h"), None, 0, id="none"),
        pytest.param(
            pd.date_range("2024-01-01", periods=ROWS, freq="h", tz="UTC").strftime("%Y-%m-%dT%H:%M:%S+00:00"),
            "Asia/Tokyo",
            9,
            id="as the job says",
        ),
        pytest.param(
            pd.date_range("2024-01-01", periods=ROWS, freq="h", tz="Asia/Tokyo").strftime(
                "%Y-%m-%dT%H:%M:%S%z"
            ),
            None,
            -9,
            id="an offset alone is UTC",
        ),
    ],
)
def test_hours_and_weekdays_are_those_of_the_zone(column: pd.Index, zone: str | None, hours: int) -> None:
    frame = pd.DataFrame({"at": column})
    reading = ColumnFormat(date=infer_date_format(frame["at"], zone=zone))
    encoder = build_encoder({"at": DATETIME}, frame=frame, formats={"at": reading}).fit(frame)
    names = [str(name) for name in encoder.get_feature_names_out()]
    matrix = encoder.transform(frame)
    local = pd.date_range("2024-01-01", periods=ROWS, freq="h") + pd.Timedelta(hours=hours)
    for part, values in (("_hour", local.hour), ("_weekday", local.day_of_week + 1)):
        found = matrix[:, next(i for i, name in enumerate(names) if name.endswith(part))]
        assert np.array_equal(found, values.to_numpy(dtype="float64"))


def test_dates_keep_their_seconds_in_single_precision() -> None:
    at = pd.date_range("2024-05-01 10:00:00", periods=ROWS, freq="s")
    frame = pd.DataFrame({"at": at})
    matrix = build_encoder({"at": DATETIME}, frame=frame).fit_transform(frame).astype("float32")
    days = matrix[
        :, [column for column in range(matrix.shape[1]) if len(np.unique(matrix[:, column])) == ROWS]
    ]
    assert days.shape[1] == 1, "one column tells every second apart"
    assert (np.diff(days[:, 0]) > 0).all()


def test_a_single_unreadable_value_counts_as_missing() -> None:
    frame = pd.DataFrame({"x": ["1.5", "2.5", "3.5", "4.5"] * 20}, dtype="str")
    encoder = build_encoder({"x": NUMERIC}, frame=frame).fit(frame)
    assert encoder.transform(pd.DataFrame({"x": ["about 3", "4.5"]}))[:, 0].tolist() == [3.0, 4.5]
    with pytest.raises(ValueError, match="the column 'x' cannot be read: none of its values is a number"):
        encoder.transform(pd.DataFrame({"x": ["about 3", None]}))
    assert encoder.transform(pd.DataFrame({"x": [None, None]}))[:, 0].tolist() == [3.0, 3.0]


def test_each_unreadable_column_of_many_can_be_named() -> None:
    frame = pd.DataFrame(RNG.normal(size=(ROWS, 5)), columns=list("abcde"))
    encoder = build_encoder(dict.fromkeys("abcde", NUMERIC), frame=frame).fit(frame)
    for name in "abcde":
        with pytest.raises(ValueError, match=f"the column '{name}' cannot be read"):
            encoder.transform(frame.assign(**{name: "1,5"}))


def test_fractions_are_rejected_if_the_table_had_points_between_thousands() -> None:
    notation = NumberFormat(decimal=",", thousands=".")
    frame = pd.DataFrame({"x": ["1.252", "847", "12.500"] * 20}, dtype="str")
    whole = {"x": ColumnFormat(number=notation, whole=True)}
    encoder = build_encoder({"x": NUMERIC}, frame=frame, formats=whole).fit(frame)
    assert encoder.transform(frame)[:3, 0].tolist() == [1252, 847, 12500]
    assert encoder.transform(pd.DataFrame({"x": [1252, 847]}))[:, 0].tolist() == [1252, 847]
    with pytest.raises(ValueError, match="'x' holds fractions, where the table had whole numbers"):
        encoder.transform(pd.DataFrame({"x": [1.252, 847.0]}))
    free = build_encoder({"x": NUMERIC}, frame=frame, formats={"x": ColumnFormat(number=notation)}).fit(frame)
    assert free.transform(pd.DataFrame({"x": [1.252, 847.0]}))[:, 0].tolist() == [1.252, 847.0]

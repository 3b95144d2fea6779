"""Load ``model.joblib`` of a run where only its requirements are installed, and predict the raw test rows."""

import joblib
import pandas as pd
from protocol import Request, answer


def main() -> None:
    """Predict the test rows as someone does who has the model and the table only."""
    request = Request.from_command_line()
    model = joblib.load(request.folder / "model.joblib")
    test = pd.read_csv(request.data / "test.csv")
    answer(
        request,
        model.predict,
        getattr(model, "predict_proba", None),
        getattr(model, "classes_", None),
        test,
    )


if __name__ == "__main__":
    main()

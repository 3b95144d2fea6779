"""Write a table's training and test rows as CSV: ``write_table.py NAME SEED FOLDER``.

It runs in the environment ``data``. ``train.csv`` has the target, ``test.csv`` has not, ``truth.csv`` is the
target of the test rows. A quarter of the rows is for the test, at most 20,000; classes keep their shares.
"""

import json
import sys
from pathlib import Path

import pandas as pd
from catalog import TABLES
from sklearn.model_selection import train_test_split

TEST_ROWS = 20_000


def write(name: str, seed: int, folder: Path) -> None:
    """Write the files of a table; ``table.json`` comes last and says that they are complete."""
    table = TABLES[name]
    frame = table.make().reset_index(drop=True)
    assert frame[table.target].notna().all(), f"{name} has rows without a target"
    classes = frame[table.target] if table.task == "classification" else None
    if classes is not None and pd.api.types.is_float_dtype(classes):
        frame[table.target] = classes.astype(int)
    train, test = train_test_split(
        frame, test_size=min(len(frame) // 4, TEST_ROWS), random_state=seed, stratify=classes
    )
    assert not set(train.index) & set(test.index), "a row is on both sides"
    folder.mkdir(parents=True, exist_ok=True)
    train.to_csv(folder / "train.csv", index=False)
    test.drop(columns=table.target).to_csv(folder / "test.csv", index=False)
    test[[table.target]].to_csv(folder / "truth.csv", index=False)
    facts = {"rows": len(train), "columns": frame.shape[1] - 1, "test_rows": len(test)}
    (folder / "table.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    write(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))

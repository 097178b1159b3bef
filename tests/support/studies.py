"""Studies of the tiny data set, as people write them: a file of YAML that names its data and its summary."""

from pathlib import Path
from typing import Any

import yaml

LSTM = {"embedding_units": 6, "lstm_units": 5, "dropout": 0.2}
# A trial of these goes on for nine seconds, in which it computes for one.
LONG = {
    "model": {"factory": "tests.support.unhurried:build"},
    "axes": {"global_batch": [17], "learning_rate": 0.01, "seeds": 2},
    "budget": {"updates": 300},
    "evaluate_every": {"updates": 30},
    "checkpoint_every_seconds": 0.5,
}


def write_study(folder: Path, **changes: Any) -> Path:
    """Write `study.yaml` in `folder`, with its data and summary beside it; keywords change its keys."""
    spec = {
        "study": "tiny",
        "data": str(folder / "data"),
        "summary": str(folder / "summary"),
        "task": "classification",
        "model": {"factory": "tests.support.models:bag"},
        "axes": {"global_batch": [17, "full"], "learning_rate": 0.01, "seeds": 2},
        "budget": {"updates": 6},
        "evaluate_every": {"updates": 3},
        "resources": {"lanes": 1, "workers": 1},
        **changes,
    }
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(spec))
    return file

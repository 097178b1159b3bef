"""One's own `model.fit` in a summary: a foreign run, read only by who asks for it, never in the way of training."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

import batchscope
from cluster.api.fit_log import _Fit, log_fit, measured
from cluster.summary import query
from cluster.summary.store import Summary
from cluster.summary.tables import FITS
from tests.support import simulated
from tests.support.stored import changed, store


@dataclass
class Adam:
    """As much of a Keras optimizer as is read."""

    iterations: int = 100
    learning_rate: float = 0.0


@dataclass
class Model:
    """As much of a Keras model as is read."""

    optimizer: Adam = field(default_factory=Adam)


def fitted(uri: str, epochs: int = 3, study: str = "simulated") -> _Fit:
    """A run of `fit` as Keras reports it: 10 updates an epoch of a model that had made 100 before."""
    fit, model = _Fit(stored=Summary(uri), study=study, batch_size=64), Model()
    fit.begin(model)
    for epoch in range(epochs):
        model.optimizer.iterations += 10
        fit.epoch(model, epoch, {"loss": 1.0, "val_loss": 0.01, "sparse_categorical_accuracy": 0.5, "val_acc": 0.25})
    fit.write()
    return fit


def test_a_fit_is_a_foreign_run_with_its_epochs(tmp_path: Path) -> None:
    fit = fitted(str(tmp_path))
    summary = batchscope.Summary(tmp_path)
    rows = summary.fits("simulated").to_pylist()
    assert [(row["epoch"], row["updates"]) for row in rows] == [(1, 10), (2, 20), (3, 30)]
    assert {(row["origin"], row["fit_id"], row["global_batch"], row["keras_optimizer"]) for row in rows} == {
        ("foreign", fit.fit_id, 64, "Adam")
    }
    assert [(row["training_accuracy"], row["validation_accuracy"]) for row in rows] == [(0.5, 0.25)] * 3
    [answer] = summary.sql(
        "select origin, min(validation_loss) as least, count(*) as epochs from fits group by all"
    ).to_pylist()
    assert answer == {"origin": "foreign", "least": 0.01, "epochs": 3}
    assert "foreign" in summary.fits()._repr_html_()


def test_a_fit_changes_nothing_that_is_said_about_a_study(tmp_path: Path) -> None:
    tables = simulated.study(simulated.spec_of(), simulated.World())
    before = store(tmp_path, tables)
    said = batchscope.Summary(tmp_path).verdict("simulated").to_json()
    asked, overview = query.asked(before, "simulated"), query.overview(before)
    points, trials = query.points(query.trials(before)), query.trials(before)
    fitted(str(tmp_path))
    fitted(str(tmp_path), study="another")
    assert batchscope.Summary(tmp_path).verdict("simulated").to_json() == said
    assert (query.asked(before, "simulated"), query.names(before)) == (asked, ["simulated"])
    assert query.overview(before).equals(overview)
    assert query.trials(before).equals(trials)
    assert query.points(query.trials(before)).equals(points)


def test_a_row_that_does_not_say_that_it_is_foreign_is_left_out(tmp_path: Path) -> None:
    fitted(str(tmp_path))
    rows = query.fits(Summary(str(tmp_path)))
    with pytest.raises(ValueError, match="origin cannot be 'ours'"):
        Summary(str(tmp_path)).write_fit([row | {"origin": "ours"} for row in rows.to_pylist()], part=1)
    [file] = (tmp_path / "fits" / "study=simulated").glob("*.parquet")
    from cluster.summary.encoding import encode

    file.write_bytes(encode(changed(rows, origin="ours").drop_columns(["study"])))
    with pytest.warns(match="have an unknown origin"):
        assert query.fits(Summary(str(tmp_path))).num_rows == 0


def test_a_training_goes_on_without_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit, model = _Fit(stored=Summary(str(tmp_path)), study="mine", batch_size=8), Model()
    fit.begin(model)
    monkeypatch.setattr("cluster.api.fit_log.SECONDS_BETWEEN_PARTS", 0.0)
    full = SimpleNamespace(write_fit=lambda rows, part: (_ for _ in ()).throw(OSError("no space left on device")))
    fit.stored, stored = full, fit.stored
    with pytest.warns(match="1 epochs are not in the log yet: no space left"):
        fit.epoch(model, 0, {"loss": math.nan})
    fit.stored = stored
    fit.epoch(model, 1, {"loss": 2.0})
    rows = query.fits(stored).to_pylist()
    assert [row["epoch"] for row in rows] == [1, 2]
    assert math.isnan(rows[0]["training_loss"])
    assert rows[0].keys() == set(FITS.names)


@pytest.mark.parametrize(
    ("logs", "columns"),
    [
        ({}, {}),
        (
            {"loss": 1, "accuracy": 0.5, "val_accuracy": 0.25},
            {"training_loss": 1.0, "training_accuracy": 0.5, "validation_accuracy": 0.25},
        ),
        (
            {"val_loss": 2.0, "val_top_k_categorical_accuracy": 0.75, "mae": 3.0},
            {"validation_loss": 2.0, "validation_accuracy": 0.75},
        ),
    ],
)
def test_what_keras_logs_gets_its_column(logs: dict[str, float], columns: dict[str, float]) -> None:
    assert measured(logs) == columns


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"study": "../etc", "batch_size": 8}, "cannot be a name"),
        ({"study": "mine", "batch_size": 0}, "a whole number from 1"),
        ({"study": "mine", "batch_size": True}, "a whole number from 1"),
    ],
)
def test_a_fit_that_cannot_be_kept_is_refused_before_it_begins(arguments: dict[str, object], problem: str) -> None:
    with pytest.raises(batchscope.InputError, match=problem):
        log_fit("summary", **arguments)  # type: ignore[arg-type]


@pytest.mark.tf
def test_keras_own_fit_is_logged(tmp_path: Path) -> None:
    import keras
    import numpy as np

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.01), loss="mse", metrics=["accuracy"])
    rows, targets = np.ones([20, 3]), np.zeros([20, 2])
    log = log_fit(tmp_path, study="mine", batch_size=8)
    for _ in range(2):
        history = model.fit(rows, targets, batch_size=8, epochs=2, validation_split=0.2, verbose=0, callbacks=[log])
    found = batchscope.Summary(tmp_path).fits("mine").to_pylist()
    assert [(row["epoch"], row["updates"]) for row in found] == [(1, 2), (2, 4)] * 2
    assert len({row["fit_id"] for row in found}) == 2
    newest = sorted(found, key=lambda row: row["started_at"])[-2:]
    assert [row["validation_loss"] for row in newest] == history.history["val_loss"]
    assert [row["training_accuracy"] for row in newest] == history.history["accuracy"]
    assert {(row["keras_optimizer"], round(row["learning_rate"], 6)) for row in found} == {("SGD", 0.01)}

"""Where no batch size beats a guess that looks at no input, nothing is compared, and every surface says so."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from cluster.analysis.learnt import nothing_learnt
from cluster.analysis.scaling import Scaling
from cluster.analysis.verdict import judge
from cluster.cli.results import command
from cluster.prepare import prepare
from cluster.prepare.moments import RunningMoments
from cluster.report.page.page import page
from cluster.report.verdict import sentences, warnings
from cluster.report.verdict_table import table, to_json
from tests.support.simulated import Tables, World, spec_of, study
from tests.support.stored import changed, store
from trainer.data import guess
from trainer.data import manifest as prepared
from trainer.data.manifest import Manifest
from trainer.data.store import Folder

AXES = {**spec_of().axes.model_dump(), "global_batch": [16, 64, 512]}
GRID = {"global_batch": [16, 64, 512], "learning_rate": 0.01, "seeds": 3}
GUESS = 2.2
BY_CLASSES = "o batch size beats a guess by label frequencies (2.2)"
BY_MEAN = "o batch size beats predicting the mean label (2.2)"
END = ": nothing was learnt, so nothing is shown about batch sizes"
SAID = BY_CLASSES + END


def guessed(tables: Tables, loss: float | None = GUESS, **columns: Any) -> Tables:
    """The tables of a study whose labels a guess predicts with this loss."""
    return changed(tables[0], baseline_loss=loss, best_constant_loss=loss, **columns), *tables[1:]


# Every loss comes to that of the guess, but for what seeds and runs deviate.
FLAT = World(floor=GUESS, rate_penalty=0.001, random_seed=1)


@pytest.mark.slow
def test_a_study_that_learnt_nothing_compares_nothing(tmp_path: Any) -> None:
    tables = guessed(study(spec_of(axes=AXES, target="auto"), FLAT))
    verdict = judge(*tables)
    [group] = verdict.groups
    assert group.nothing_learnt
    assert (group.reference, group.arms, group.soonest, group.scaling) == (None, (), (), Scaling())
    assert group.cannot[0].code == "nothing_learnt"
    assert SAID in group.cannot[0].text
    assert sentences(verdict)[0] == f"N{SAID}."
    assert not [line for line in sentences(verdict) if "equivalent" in line or "soonest" in line]
    assert any(line.startswith(f"cannot say: n{SAID}; ") for line in warnings(verdict))
    assert set(table(verdict)["against_reference"].to_pylist()) == {"nothing learnt"}
    found = json.loads(to_json(verdict, sentences(verdict)))
    assert found["groups"][0]["nothing_learnt"] is True
    shown = page(store(tmp_path, tables), "simulated")
    assert f'<p class="lead">N{SAID}.</p>' in shown


def test_the_same_study_with_a_worse_guess_or_none_is_compared() -> None:
    tables = study(spec_of(axes=AXES, target="auto"), FLAT)
    for loss in (GUESS + 0.5, None):
        [group] = judge(*guessed(tables, loss)).groups
        assert not group.nothing_learnt
        assert group.arms
    # What was run before there was this column has only the first guess.
    [group] = judge(changed(tables[0], baseline_loss=GUESS), *tables[1:]).groups
    assert group.nothing_learnt


def test_one_batch_size_that_learnt_is_enough() -> None:
    [group] = judge(*guessed(study(spec_of(axes=AXES), World(floor=GUESS, floors={64: 2.0})))).groups
    assert not group.nothing_learnt
    assert group.arms


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_grid_says_it_too(task: str, tmp_path: Any) -> None:
    tables = guessed(study(spec_of(axes=GRID, protocol=None, target=None, task=task), FLAT), task=task)
    said = (BY_CLASSES if task == "classification" else BY_MEAN) + END
    summary = store(tmp_path, tables)
    arguments = ["simulated", "--summary", summary.uri]
    for more in ([], ["--verdict"]):
        shown = CliRunner().invoke(command, [*arguments, *more], standalone_mode=False)
        assert shown.exception is None
        assert said in shown.output
    assert f'<p class="lead">N{said}.</p>' in page(summary, "simulated")
    # Two lines that compare would contradict it.
    assert "Lowest mean validation loss" not in page(summary, "simulated")


def test_a_grid_that_learnt_says_nothing_of_it(tmp_path: Any) -> None:
    tables = guessed(study(spec_of(axes=GRID, protocol=None, target=None), World()))
    shown = CliRunner().invoke(command, ["simulated", "--summary", store(tmp_path, tables).uri], standalone_mode=False)
    assert shown.exception is None
    assert "nothing was learnt" not in shown.output


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([[0.40, 0.41, 0.39], [0.33, 0.34, 0.32]], True),
        # Below, but by less than the noise.
        ([[0.40, 0.41, 0.39], [0.30, 0.34, 0.32]], True),
        ([[0.40, 0.41, 0.39], [0.20, 0.21, 0.19]], False),
        # A rate at which losses are wild and high says nothing of the noise of one that learnt.
        ([[90.0, 1.0, 8.0], [0.20, 0.21, 0.19]], False),
        # Two seeds each: eight points know the noise together.
        ([[0.25, 0.27]] * 8, False),
        ([[0.25, 0.45]], True),
        # One run each: no noise is known, and what is below counts.
        ([[0.32], [0.40]], False),
        ([[0.34], [0.40]], True),
        ([[0.33, 0.33]], True),
        ([[0.2, 0.2]], False),
        ([], False),
    ],
)
def test_the_rule(points: list[list[float]], expected: bool) -> None:
    assert nothing_learnt(points, 0.33) is expected


def test_noise_is_rarely_taken_for_learning() -> None:
    random = np.random.default_rng(0)
    wrong = sum(not nothing_learnt(random.normal(0.33, 0.02, (6, 4)).tolist(), 0.33) for _ in range(400))
    assert wrong <= 0.07 * 400


def test_the_mean_label_is_the_guess_of_a_regression(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    prices = np.float32(250_000 + 80_000 * random.normal(size=400))
    rows = [{"numbers": [float(n), 1.0], "price": float(price)} for n, price in enumerate(prices)]
    (tmp_path / "prices.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    whole = prepare([str(tmp_path / "prices.jsonl")], str(tmp_path / "out"), features="numbers", label="price")
    found = prepared.read(Folder(str(tmp_path / "out")))
    assert found == whole
    labels = {name: _labels(tmp_path / "out", found, name) for name in ("train", "validation")}
    train, asked = labels["train"].mean(), labels["validation"]
    assert guess.baseline_loss(found) == pytest.approx(((asked - train) ** 2).mean(), rel=1e-9)
    assert guess.best_constant_loss(found) == pytest.approx(asked.var(), rel=1e-9)
    # Prepared before there were these figures: no guess is known.
    text = json.loads(found.to_json())
    for split in text["splits"].values():
        del split["label_mean"], split["label_variance"], split["digest"]
    del text["sha256"]
    old = prepared.parse(json.dumps(text | {"schema_version": 1}), where="old")
    assert (guess.baseline_loss(old), guess.best_constant_loss(old)) == (None, None)


def test_moments_are_the_same_however_numbers_are_cut() -> None:
    numbers = np.float32(1e6 + np.random.default_rng(2).normal(size=200_000))
    found = set()
    for part in (999, 65_536, 200_000):
        moments = RunningMoments()
        for start in range(0, len(numbers), part):
            moments.add(numbers[start : start + part])
        found.add((moments.mean, moments.variance))
    [(mean, variance)] = found
    assert mean == pytest.approx(numbers.astype(np.float64).mean(), rel=1e-14)
    assert variance == pytest.approx(numbers.astype(np.float64).var(), rel=1e-9)
    assert (RunningMoments().mean, RunningMoments().variance) == (None, None)


def _labels(folder: Path, found: Manifest, name: str) -> Any:
    import pyarrow.parquet as pq

    files = [folder / shard.file for shard in found.splits[name].shards]
    return np.concatenate([pq.read_table(str(file))["label"].to_numpy() for file in files]).astype(np.float64)


def test_the_best_constant_guess_knows_the_validation_labels() -> None:
    from tests.unit.study.test_target import manifest

    assert guess.best_constant_loss(manifest((50, 50), (3, 7))) == pytest.approx(
        -(0.3 * math.log(0.3) + 0.7 * math.log(0.7))
    )
    assert guess.best_constant_loss(manifest((75, 0), (4, 4))) == pytest.approx(math.log(2))
    assert guess.best_constant_loss(manifest((), ())) is None

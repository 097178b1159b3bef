"""The journey of a trial: when it evaluates and ends, how it is stopped and resumed, and what its scores are of."""

import copy
import json
import types
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from tests.support import bodies
from trainer import evaluate, journey
from trainer.checkpoint import Checkpoints, Progress
from trainer.data.rows import Rows
from trainer.data.splits import Data
from trainer.data.store import Folder
from trainer.loop import train
from trainer.model import model
from trainer.order import evaluation as cut
from trainer.order import measuring
from trainer.order.world import World
from trainer.report import Evaluation, Outcome, State
from trainer.trial import Duration, ModelSpec, TrialSpec
from trainer.update import noise
from trainer.update.collective import Collective
from trainer.update.shape import Shape
from trainer.update.update import Learner, Updated

pytestmark = pytest.mark.tf
TRAIN_ROWS = 51
BAG = ModelSpec(factory="tests.parity.test_loop:bag")
LSTM = ModelSpec(embedding_units=4, lstm_units=3, dropout=0.5)
CLOCKS = ("seconds", "seconds_training", "seconds_resumed", "seconds_evaluating", "seconds_saving", "first_update_at")


def bag(vocabulary_size: int, outputs: int) -> keras.Model:
    """The mean of a row's embeddings, with dropout, through one dense layer: small, and quick to trace."""
    tokens = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(vocabulary_size, 6, mask_zero=True)(tokens)
    x = keras.layers.Dropout(0.3)(keras.layers.GlobalAveragePooling1D()(x))
    return keras.Model(tokens, keras.layers.Dense(outputs, activation="softmax" if outputs > 1 else None)(x))


@pytest.fixture(scope="module")
def data(prepared: Path) -> Any:
    return bodies.open_data(str(prepared))


@pytest.fixture
def trial(tiny_trial: Callable[..., TrialSpec]) -> Callable[..., TrialSpec]:
    """The tiny trial with the quick model; durations may be given as (amount, unit)."""

    def change(**changes: Any) -> TrialSpec:
        for name in ("budget", "evaluate_every"):
            if name in changes:
                amount, unit = changes[name]
                changes[name] = Duration(unit=unit, amount=amount)
        return replace(tiny_trial(model=BAG), **changes)

    return change


LEARNERS: dict[Shape, Learner] = {}


def learner_of(trial: TrialSpec) -> Learner:
    """The one learner of the trial's shape, whatever it trained before: as in a lane."""
    shape = Shape(
        model=trial.model,
        vocabulary_size=40,
        outputs=3 if trial.task == "classification" else 1,
        task=trial.task,
        optimizer=trial.optimizer,
        dtype=trial.dtype,
    )
    if shape not in LEARNERS:
        LEARNERS[shape] = Learner(shape, Collective(World()))
    return LEARNERS[shape]


class Run:
    """One attempt at a trial: what it published, the weights at that time, and its outcome."""

    def __init__(
        self,
        trial: TrialSpec,
        data: Any,
        folder: Path,
        *,
        stop: tuple[State, int] | None = None,
        crash_at: int | None = None,
        checkpoint_every_seconds: float = 1e9,
        micro_batch: int = 5,
    ) -> None:
        self.published: list[Evaluation] = []
        self.weights: list[list[np.ndarray]] = []
        self.checkpoints = Checkpoints(Folder(str(folder)), trial.trial_id)
        self.outcome: Outcome | None = None
        self._asked, self._stop, self._crash_at = 0, stop, crash_at
        self.learner = learner_of(trial)
        self.outcome = train(
            trial,
            learner=self.learner,
            data=data,
            micro_batch=micro_batch,
            checkpoints=self.checkpoints,
            checkpoint_every_seconds=checkpoint_every_seconds,
            publish=self._publish,
            heartbeat=self._heartbeat,
        )

    @property
    def updates(self) -> list[int]:
        return [evaluation.update for evaluation in self.published]

    def _publish(self, evaluation: Evaluation) -> None:
        if evaluation.update == self._crash_at:
            raise ConnectionError("the machine went away")
        self.published.append(evaluation)
        self.weights.append(self.learner.weights())

    def _heartbeat(self, progress: Progress) -> State | None:
        """From the given number of updates on, the wish to stop."""
        self._asked += 1
        return self._stop[0] if self._stop and self._asked >= self._stop[1] else None


def numbers(report: Evaluation | Outcome) -> dict[str, Any]:
    """All that a clock does not change."""
    return {key: value for key, value in asdict(report).items() if key not in CLOCKS and "per_second" not in key}


def same(one: list[np.ndarray] | None, other: list[np.ndarray] | None) -> bool:
    assert one
    assert other
    return all(a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


def plain_score(trial: TrialSpec, weights: list[np.ndarray], rows: Rows) -> tuple[float, float]:
    """The mean loss and the accuracy of plain Keras on all rows, row by row, in float64."""
    outputs = 3 if trial.task == "classification" else 1
    plain = model.build(trial.model, vocabulary_size=40, outputs=outputs, task=trial.task, dtype="float64", seed=0)
    plain.set_weights([array.astype("float64") for array in weights])
    losses, right = [], []
    for row in range(len(rows)):
        number = np.array([row])
        tokens = rows.tokens(number)[:, : int(rows.lengths(number)[0])]
        found, label = np.asarray(plain(tokens))[0], rows.labels(number)[0]
        if trial.task == "classification":
            losses.append(-np.log(found[label]))
            right.append(found.argmax() == label)
        else:
            losses.append((found[0] - label) ** 2)
    return float(np.mean(losses)), float(np.mean(right)) if right else float("nan")


@pytest.mark.parametrize(
    ("global_batch", "budget", "every", "due"),
    [
        (17, (6, "updates"), (2, "updates"), [2, 4, 6]),
        (17, (5, "updates"), (2, "updates"), [2, 4, 5]),
        (17, (2, "epochs"), (30, "examples"), [2, 4, 6]),
        (20, (2, "epochs"), (1, "epochs"), [3, 6]),
        (20, (100, "examples"), (45, "examples"), [3, 5]),
        (51, (3, "epochs"), (0.5, "epochs"), [1, 2, 3]),
        (7, (0.5, "epochs"), (1, "epochs"), [4]),
    ],
)
def test_evaluations_come_at_the_first_update_that_reaches_them_and_at_the_end(
    trial: Any, data: Any, tmp_path: Path, global_batch: int, budget: Any, every: Any, due: list[int]
) -> None:
    spec = trial(global_batch=global_batch, budget=budget, evaluate_every=every)
    run = Run(spec, data, tmp_path)
    assert run.updates == due
    for evaluation in run.published:
        assert evaluation.examples == evaluation.update * global_batch
        assert evaluation.epoch == evaluation.examples / TRAIN_ROWS
        assert evaluation.learning_rate == spec.learning_rate
        assert evaluation.gradient_norm > 0
    outcome = run.outcome
    assert (outcome.state, outcome.error) == (State.COMPLETED, None)
    assert (outcome.updates, outcome.examples) == (due[-1], due[-1] * global_batch)
    assert outcome.epochs == outcome.examples / TRAIN_ROWS
    assert outcome.final_validation_loss == run.published[-1].validation_loss
    assert outcome.final_training_loss == run.published[-1].training_loss
    assert run.checkpoints.newest() is None


def test_a_training_loss_is_the_mean_of_the_updates_since_the_evaluation_before(
    trial: Any, data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses, norms = [], []
    update = Learner.update

    def recorded(self: Learner, **options: Any) -> Updated:
        updated = update(self, **options)
        losses.append(updated.loss)
        norms.append(updated.gradient_norm)
        return updated

    monkeypatch.setattr(Learner, "update", recorded)
    run = Run(trial(budget=(7, "updates"), evaluate_every=(3, "updates")), data, tmp_path)
    expected = [np.mean(losses[:3]), np.mean(losses[3:6]), losses[6]]
    assert [e.training_loss for e in run.published] == pytest.approx(expected, rel=1e-12)
    assert [e.gradient_norm for e in run.published] == [norms[2], norms[5], norms[6]]


def test_padding_is_counted_over_all_updates(trial: Any, data: Any, tmp_path: Path) -> None:
    fractions = {}
    real = int(data.train.lengths(np.arange(TRAIN_ROWS)).sum())
    for micro_batch in (1, 51):
        spec = trial(global_batch=51, budget=(2, "updates"))
        fractions[micro_batch] = Run(spec, data, tmp_path, micro_batch=micro_batch).outcome.padding_fraction
    lengths = data.train.lengths(np.arange(TRAIN_ROWS))
    alone = int((-(-lengths // 8) * 8).sum())
    assert fractions[1] == pytest.approx(1 - real / alone)
    assert fractions[51] == pytest.approx(1 - real / (51 * 16))


def test_a_curve_improves(trial: Any, data: Any, tmp_path: Path) -> None:
    spec = trial(
        model=LSTM, optimizer="nesterov", learning_rate=0.5, budget=(30, "updates"), evaluate_every=(15, "updates")
    )
    run = Run(spec, data, tmp_path)
    assert run.published[-1].training_loss < run.published[0].training_loss
    assert run.outcome.best_validation_loss < np.log(3)


def test_a_rate_too_high_diverges_at_a_named_update_and_keeps_weights(trial: Any, data: Any, tmp_path: Path) -> None:
    spec = trial(optimizer="sgd", learning_rate=1e30, evaluate_every=(100, "updates"))
    run = Run(spec, data, tmp_path)
    outcome = run.outcome
    assert outcome.state is State.DIVERGED
    assert "at update 1: a lower learning rate may help" in outcome.error
    assert outcome.error.startswith(("the loss is not finite", "the gradient is not finite"))
    assert (outcome.updates, outcome.test_loss, outcome.best_validation_loss) == (1, None, None)
    assert run.published == []
    assert run.checkpoints.newest() is None
    assert same(run.checkpoints.weights("last"), run.checkpoints.weights("best"))
    assert all(np.isfinite(array).all() for array in run.checkpoints.weights("last"))
    # The learner is none the worse for it.
    first = Run(replace(spec, learning_rate=0.1), data, tmp_path / "next")
    assert first.outcome.state is State.COMPLETED


@pytest.mark.parametrize(("loss", "what"), [(np.inf, "the loss"), (np.nan, "the loss"), (1.5, "the gradient")])
def test_a_divergence_says_what_was_not_finite_and_keeps_the_best_weights(
    trial: Any, data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: float, what: str
) -> None:
    update, made = Learner.update, []

    def failing(self: Learner, **options: Any) -> Updated:
        made.append(update(self, **options))
        return replace(made[-1], finite=False, loss=loss) if len(made) == 4 else made[-1]

    monkeypatch.setattr(Learner, "update", failing)
    run = Run(trial(evaluate_every=(2, "updates")), data, tmp_path)
    assert run.outcome.state is State.DIVERGED
    assert run.outcome.error == f"{what} is not finite at update 3: a lower learning rate may help"
    assert run.updates == [2]
    assert run.outcome.updates == 3
    assert run.outcome.best_validation_loss == run.published[0].validation_loss
    assert same(run.checkpoints.weights("best"), run.weights[0])


def test_a_training_loss_far_above_a_guess_is_a_divergence_and_not_a_learnt_split(
    trial: Any, data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = trial(optimizer="sgd", learning_rate=3e3, budget=(40, "updates"), evaluate_every=(4, "updates"))
    outcome = Run(spec, data, tmp_path / "high").outcome
    assert outcome.state is State.DIVERGED
    assert "nats is 3 above that of a guess at update" in outcome.error
    assert outcome.updates < 40
    # Its validation loss may rise as far as it likes.
    monkeypatch.setattr(journey, "score", lambda learner, rows, at_once: evaluate.Score(loss=50.0, accuracy=0.1))
    assert Run(trial(), data, tmp_path / "learnt").outcome.state is State.COMPLETED


def test_a_validation_loss_that_is_not_finite_is_a_divergence(trial: Any, data: Any, tmp_path: Path) -> None:
    spec = trial(task="regression", optimizer="sgd", learning_rate=1e25, evaluate_every=(1, "updates"))
    run = Run(spec, as_regression(data), tmp_path)
    assert run.outcome.state is State.DIVERGED
    assert run.outcome.error == "the validation loss is not finite at update 1: a lower learning rate may help"
    assert run.published == []
    assert run.outcome.best_validation_loss is None


@pytest.mark.parametrize(
    ("spec_changes", "after"),
    [
        ({}, 1),
        ({}, 4),
        ({}, 5),
        ({"model": LSTM, "optimizer": "nesterov"}, 5),
        ({"schedule": "cosine", "warmup_examples": 70}, 4),
    ],
    ids=str,
)
def test_a_cancelled_trial_resumed_goes_on_to_the_last_bit(
    trial: Any, data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec_changes: dict[str, Any], after: int
) -> None:
    monkeypatch.setattr(measuring, "EVERY", 2)
    # A small batch's scale is often left unsaid; this always is what was measured.
    monkeypatch.setattr(noise, "scale", lambda measured: float(np.sum(measured)))
    # 20 rows straddle the epochs of 51.
    spec = trial(
        global_batch=20, budget=(9, "updates"), evaluate_every=(2, "updates"), learning_rate=0.05, **spec_changes
    )
    whole = Run(spec, data, tmp_path / "whole")
    cut = Run(spec, data, tmp_path / "cut", stop=(State.CANCELLED, after))
    assert (cut.outcome.state, cut.outcome.updates) == (State.CANCELLED, after)
    assert (cut.outcome.test_loss, cut.checkpoints.weights("best")) == (None, None)
    assert cut.updates == [update for update in whole.updates if update <= after]
    # Something else is trained on the same learner meanwhile.
    Run(replace(spec, seed=8, budget=Duration(unit="updates", amount=2)), data, tmp_path / "other")
    resumed = Run(spec, data, tmp_path / "cut")
    # The whole curve, since what the attempt before had published may have been lost on its way.
    assert [numbers(e) for e in resumed.published] == [numbers(e) for e in whole.published]
    assert numbers(resumed.outcome) == numbers(whole.outcome)
    assert whole.outcome.noise_scale != 0
    for name in ("best", "last"):
        assert same(resumed.checkpoints.weights(name), whole.checkpoints.weights(name))
    assert resumed.checkpoints.newest() is None
    assert resumed.outcome.seconds_training > cut.outcome.seconds_training


def test_each_update_is_made_with_its_own_rate_which_its_evaluation_tells(
    trial: Any, data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[float] = []
    applied = Learner.update

    def update(self: Learner, **values: Any) -> Any:
        used.append(float(self.optimizer.learning_rate.numpy()))
        return applied(self, **values)

    monkeypatch.setattr(Learner, "update", update)
    shaped = {"learning_rate": 0.5, "schedule": "linear", "warmup_examples": 40}
    run = Run(trial(global_batch=20, budget=(4, "updates"), evaluate_every=(1, "updates"), **shaped), data, tmp_path)
    assert used == [0.25, 0.375, 0.25, 0.125]
    assert [evaluation.learning_rate for evaluation in run.published] == used
    # The same learner, with the rate of the trial that comes after.
    Run(trial(global_batch=20, budget=(2, "updates"), learning_rate=0.5), data, tmp_path / "next")
    assert used[4:] == [0.5, 0.5]


def test_a_trial_whose_machine_went_away_goes_on_from_its_last_checkpoint(
    trial: Any, data: Any, tmp_path: Path
) -> None:
    spec = trial(budget=(9, "updates"), evaluate_every=(2, "updates"))
    whole = Run(spec, data, tmp_path / "whole")
    with pytest.raises(ConnectionError):
        Run(spec, data, tmp_path / "lost", crash_at=6, checkpoint_every_seconds=0)
    newest = Checkpoints(Folder(str(tmp_path / "lost")), spec.trial_id).newest()
    assert newest.progress.update == 5
    resumed = Run(spec, data, tmp_path / "lost")
    assert [numbers(e) for e in resumed.published] == [numbers(e) for e in whole.published]
    assert same(resumed.checkpoints.weights("last"), whole.checkpoints.weights("last"))
    assert same(resumed.checkpoints.weights("best"), whole.checkpoints.weights("best"))


@pytest.fixture
def lost(trial: Any, data: Any, tmp_path: Path) -> tuple[TrialSpec, Path, Run]:
    """A trial of 9 updates that was lost after checkpoints at 4 and 5, its folder, and what it gives undisturbed."""
    spec = trial(budget=(9, "updates"), evaluate_every=(2, "updates"))
    whole = Run(spec, data, tmp_path / "whole")
    with pytest.raises(ConnectionError):
        Run(spec, data, tmp_path / "lost", crash_at=6, checkpoint_every_seconds=0)
    return spec, tmp_path / "lost", whole


def assert_as_undisturbed(run: Run, whole: Run, remark: str) -> None:
    """Every number is that of the undisturbed run, and the outcome says what was wrong with the checkpoints."""
    assert [numbers(one) for one in run.published] == [numbers(one) for one in whole.published]
    assert run.outcome
    assert whole.outcome
    assert numbers(run.outcome) | {"error": None} == numbers(whole.outcome)
    assert run.outcome.error
    assert remark in run.outcome.error
    assert same(run.checkpoints.weights("best"), whole.checkpoints.weights("best"))


@pytest.mark.parametrize(("damaged", "begins"), [((5,), 4), ((4, 5), 0)])
def test_a_damaged_checkpoint_costs_updates_and_no_number(
    lost: Any, data: Any, damaged: tuple[int, ...], begins: int, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, folder, whole = lost
    for update in damaged:
        file = folder / f"resume-{update:012d}.json"
        file.write_text(file.read_text().replace('"best_validation_loss": 1', '"best_validation_loss": 0'))
    resumed = Run(spec, data, folder)
    said = f"this attempt began at update {begins}: resume-{5:012d} is damaged (its description has another sha256)"
    assert_as_undisturbed(resumed, whole, said)
    assert f"trial {spec.trial_id}: {said}" in capsys.readouterr().err


@pytest.mark.parametrize("update", [9, 50])
def test_a_checkpoint_beyond_the_end_of_its_trial_is_not_gone_on_from(lost: Any, data: Any, update: int) -> None:
    spec, folder, whole = lost
    # As an older version kept them, so that their own hash does not tell.
    for ending in ("json", "npz"):
        (folder / f"resume-{5:012d}.{ending}").rename(folder / f"resume-{update:012d}.{ending}")
    description = json.loads((folder / f"resume-{update:012d}.json").read_text())
    facts = description["facts"] | {"update": update}
    (folder / f"resume-{update:012d}.json").write_text(json.dumps({"sha256": description["archive"], "facts": facts}))
    assert_as_undisturbed(Run(spec, data, folder), whole, f"'facts.update' is {update}, not a whole number from 0 to 8")


def test_a_checkpoint_of_an_older_version_is_gone_on_from(lost: Any, data: Any) -> None:
    spec, folder, whole = lost
    file = folder / f"resume-{5:012d}.json"
    description = json.loads(file.read_text())
    file.write_text(json.dumps({"sha256": description["archive"], "facts": description["facts"]}))
    said = f"this attempt began at update 5: resume-{5:012d} is unverified, since an older version kept it"
    assert_as_undisturbed(Run(spec, data, folder), whole, said)


def test_a_stopped_trial_has_ended_without_touching_the_test_split(trial: Any, data: Any, tmp_path: Path) -> None:
    run = Run(trial(evaluate_every=(2, "updates")), data, tmp_path, stop=(State.STOPPED, 3))
    outcome = run.outcome
    assert (outcome.state, outcome.error, outcome.updates) == (State.STOPPED, None, 3)
    assert outcome.test_loss is None
    assert outcome.best_validation_loss == run.published[0].validation_loss
    assert run.checkpoints.newest() is None
    assert same(run.checkpoints.weights("best"), run.weights[0])
    assert same(run.checkpoints.weights("last"), run.learner.weights())


def test_a_trial_with_a_target_ends_once_two_evaluations_in_a_row_are_there(
    trial: Any, data: Any, tmp_path: Path
) -> None:
    whole = Run(trial(budget=(40, "updates"), evaluate_every=(2, "updates")), data, tmp_path / "whole")
    losses = [evaluation.validation_loss for evaluation in whole.published]
    first = next(number for number in range(3, len(losses)) if max(losses[number - 1 : number + 1]) < min(losses[:2]))
    target = max(losses[first - 1 : first + 1])
    expected = next(number for number in range(1, len(losses)) if max(losses[number - 1 : number + 1]) <= target)
    stopping = trial(budget=(40, "updates"), evaluate_every=(2, "updates"), stop_at_loss=target)
    run = Run(stopping, data, tmp_path / "stopping")
    assert run.outcome.state is State.COMPLETED
    assert run.updates == whole.updates[: expected + 1]
    assert run.outcome.updates < 40
    assert [numbers(one) for one in run.published] == [numbers(one) for one in whole.published[: expected + 1]]
    assert run.outcome.test_loss is not None


def test_a_wish_at_the_last_update_comes_too_late(trial: Any, data: Any, tmp_path: Path) -> None:
    run = Run(trial(budget=(3, "updates")), data, tmp_path, stop=(State.CANCELLED, 3))
    assert run.outcome.state is State.COMPLETED


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock on which each update takes one second: it moves on at every look."""
    looks = iter(range(10**6))
    monkeypatch.setattr(journey, "time", types.SimpleNamespace(monotonic=lambda: next(looks), time=lambda: 0.0))


@pytest.mark.usefixtures("clock")
def test_a_budget_in_seconds_ends_with_the_update_after_it_is_reached(trial: Any, data: Any, tmp_path: Path) -> None:
    run = Run(trial(budget=(5, "seconds"), evaluate_every=(100, "updates")), data, tmp_path)
    assert (run.outcome.state, run.outcome.updates, run.outcome.seconds_training) == (State.COMPLETED, 6, 6)
    assert run.updates == [6]
    assert run.outcome.examples_per_second == 17
    assert run.outcome.test_loss is not None


@pytest.mark.usefixtures("clock")
def test_the_seconds_of_the_first_update_are_of_training_and_not_of_the_start(
    trial: Any, data: Any, tmp_path: Path
) -> None:
    run = Run(trial(budget=(2, "updates")), data, tmp_path)
    # The update that takes the first second ends at 0.
    assert (run.outcome.seconds_training, run.outcome.first_update_at) == (2, -1.0)


@pytest.mark.usefixtures("clock")
def test_evaluations_in_seconds_come_with_the_update_after_they_are_due(trial: Any, data: Any, tmp_path: Path) -> None:
    run = Run(trial(budget=(10, "updates"), evaluate_every=(3, "seconds")), data, tmp_path)
    assert run.updates == [4, 7, 10]
    assert [e.seconds for e in run.published] == [4, 7, 10]


@pytest.mark.usefixtures("clock")
def test_seconds_of_training_go_on_after_a_pause(trial: Any, data: Any, tmp_path: Path) -> None:
    spec = trial(budget=(5, "seconds"), evaluate_every=(3, "seconds"))
    cut = Run(spec, data, tmp_path, stop=(State.CANCELLED, 2))
    resumed = Run(spec, data, tmp_path)
    assert (cut.outcome.seconds_training, cut.updates) == (2, [])
    assert (resumed.outcome.seconds_training, resumed.updates) == (6, [4, 6])


@pytest.mark.usefixtures("clock")
def test_a_checkpoint_is_saved_as_often_as_asked(
    trial: Any, data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    monkeypatch.setattr(Checkpoints, "save", lambda self, one: saved.append(one.progress.update))
    spec = trial(budget=(9, "updates"), evaluate_every=(100, "updates"))
    Run(spec, data, tmp_path)
    assert saved == []
    Run(spec, data, tmp_path, checkpoint_every_seconds=0)
    assert saved == list(range(1, 9))


@pytest.fixture(scope="module")
def wandering(prepared: Path, data: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrialSpec, Run]:
    """A trial whose best evaluation is not its last."""
    spec = TrialSpec(
        data_hash="tiny",
        task="classification",
        model=BAG,
        global_batch=17,
        learning_rate=1.0,
        optimizer="adam",
        dtype="float32",
        seed=3,
        budget=Duration(unit="updates", amount=12),
        evaluate_every=Duration(unit="updates", amount=1),
    )
    return spec, Run(spec, data, tmp_path_factory.mktemp("wandering"))


def test_the_best_weights_are_those_of_the_lowest_validation_loss(wandering: tuple[TrialSpec, Run]) -> None:
    _, run = wandering
    losses = [evaluation.validation_loss for evaluation in run.published]
    best = int(np.argmin(losses))
    assert 0 < best < len(losses) - 1
    assert same(run.checkpoints.weights("best"), run.weights[best])
    assert same(run.checkpoints.weights("last"), run.weights[-1])
    assert run.outcome.best_validation_loss == losses[best]
    assert run.outcome.best_validation_accuracy == run.published[best].validation_accuracy
    assert run.outcome.final_validation_loss == losses[-1]


def test_every_score_is_plain_keras_on_the_whole_split(wandering: tuple[TrialSpec, Run], data: Any) -> None:
    spec, run = wandering
    for evaluation, weights in zip(run.published, run.weights, strict=True):
        expected = plain_score(spec, weights, data.validation)
        assert (evaluation.validation_loss, evaluation.validation_accuracy) == pytest.approx(expected, rel=1e-5)


def test_the_test_split_is_scored_once_with_the_best_weights(wandering: tuple[TrialSpec, Run], data: Any) -> None:
    spec, run = wandering
    expected = plain_score(spec, run.checkpoints.weights("best"), data.test)
    assert (run.outcome.test_loss, run.outcome.test_accuracy) == pytest.approx(expected, rel=1e-5)
    assert run.outcome.test_loss != pytest.approx(
        plain_score(spec, run.checkpoints.weights("last"), data.test)[0], rel=1e-3
    )


@pytest.mark.parametrize("spec", [BAG, LSTM], ids=["bag", "lstm"])
def test_an_evaluation_is_the_same_however_the_split_is_cut(
    trial: Any, data: Any, monkeypatch: pytest.MonkeyPatch, spec: ModelSpec
) -> None:
    learner = learner_of(trial(model=spec))
    learner.start(trial(model=spec, seed=5))
    expected = plain_score(trial(model=spec), learner.weights(), data.validation)
    for rows in (1, 2, 7, len(data.validation), 1000):
        monkeypatch.setattr(cut, "EVALUATION_ROWS", rows)
        found = evaluate.score(learner, data.validation)
        assert found.loss == pytest.approx(expected[0], rel=1e-6)
        assert found.accuracy == pytest.approx(expected[1], rel=1e-12)


def as_regression(data: Any) -> Any:
    """The same rows, labelled with a number: their class, from -1 to 1."""

    def labelled(rows: Rows) -> Rows:
        numbered = copy.copy(rows)
        numbered.labels = lambda asked: rows.labels(asked).astype("float32") - 1  # type: ignore[method-assign]
        return numbered

    return Data(labelled(data.train), labelled(data.validation), labelled(data.test))


def test_a_regression_is_trained_and_scored_by_its_squared_error(trial: Any, data: Any, tmp_path: Path) -> None:
    spec = trial(
        task="regression", learning_rate=0.1, optimizer="sgd", budget=(60, "updates"), evaluate_every=(20, "updates")
    )
    numbered = as_regression(data)
    run = Run(spec, numbered, tmp_path)
    outcome = run.outcome
    assert outcome.state is State.COMPLETED
    assert run.published[-1].training_loss < run.published[0].training_loss
    for evaluation, weights in zip(run.published, run.weights, strict=True):
        assert evaluation.validation_accuracy is None
        assert evaluation.validation_loss == pytest.approx(plain_score(spec, weights, numbered.validation)[0], rel=1e-5)
    assert (outcome.best_validation_accuracy, outcome.test_accuracy) == (None, None)
    expected = plain_score(spec, run.checkpoints.weights("best"), numbered.test)[0]
    assert outcome.test_loss == pytest.approx(expected, rel=1e-5)

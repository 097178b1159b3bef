"""`batchscope export`: what plain Keras, without batchscope, makes of the files; and every way in which it refuses."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import batchscope
from cluster.exports import example, model
from cluster.exports.found import FoundTrial, find
from cluster.prepare import vocabulary
from cluster.stores import store_of
from cluster.study import axes, identity, spec
from cluster.summary.store import Summary
from tests.conftest import VOCABULARY, write_prepared
from trainer.checkpoint import Arrays, Checkpoints
from trainer.data.manifest import identified
from trainer.errors import InputError
from trainer.trial import TrialSpec

pytestmark = pytest.mark.tf
LABELS = ("Künste", "b", "c")
# As for a user who never installed batchscope.
WITHOUT_BATCHSCOPE = """\
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("trainer", "cluster"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
"""
SMALL = "{embedding_units: 6, lstm_units: 5}"
VARIANTS = {
    "one_way": {"model": SMALL},
    "two_layers": {"model": "{embedding_units: 6, lstm_units: 5, layers: 2, bidirectional: true, dropout: 0.4}"},
    "double": {"model": "{embedding_units: 6, lstm_units: 5, layers: 2, dropout: 0.4}", "dtype": "float64"},
    "number": {"model": "{embedding_units: 6, lstm_units: 5, bidirectional: true}", "task": "regression"},
}
LANGUAGE = {"model": SMALL, "task": "language_model"}


@dataclass
class Place:
    """A study that has run: its data set, its summary, its trials and what its first trial kept."""

    summary: Summary
    data: Path
    trials: tuple[TrialSpec, ...]
    best: Arrays
    last: Arrays

    @property
    def checkpoints(self) -> str:
        return f"{self.summary.uri}/checkpoints/study=small/{self.trials[0].trial_id}"

    def ended(self, state: str, *, attempt: int = 1, error: str | None = None, loss: float = 0.5) -> None:
        trial = self.trials[0]
        self.summary.write_trial(
            {"study": "small", "trial_id": trial.trial_id, "attempt": attempt, "state": state, "error": error}
            | {"data_hash": trial.data_hash, "checkpoint_uri": self.checkpoints, "best_validation_loss": loss}
        )

    def kept(self) -> None:
        Checkpoints(store_of(self.checkpoints), self.trials[0].trial_id).finish(best=self.best, last=self.last)
        self.ended("COMPLETED")

    def found(self, **changes: Any) -> FoundTrial:
        return find(self.summary, "small", self.trials[0].trial_id, **changes)


Places = Callable[..., Place]


@pytest.fixture
def place(tmp_path: Path) -> Places:
    return lambda folder="", **fields: make(tmp_path / folder, **fields)


def make(folder: Path, *, model: str = SMALL, task: str = "classification", dtype: str = "float32") -> Place:
    words = {f"w{index}": 100 - index for index in range(2, VOCABULARY)}
    manifest = write_prepared(folder / "data")
    tokenizer = vocabulary.to_json(vocabulary.build(words, size=VOCABULARY), max_tokens=manifest.max_tokens)
    (folder / "data" / "tokenizer.json").write_text(tokenizer)
    labels = LABELS if task == "classification" else ()
    sha256 = hashlib.sha256(tokenizer.encode()).hexdigest()
    dtype_of_labels = {"classification": "int32", "regression": "float32", "language_model": ""}[task]
    splits = {
        name: replace(split, label_counts=split.label_counts if labels else ())
        for name, split in manifest.splits.items()
    }
    manifest = identified(
        replace(
            manifest, task=task, label_names=labels, label_dtype=dtype_of_labels, tokenizer_sha256=sha256, splits=splits
        )
    )
    (folder / "data" / "manifest.json").write_text(manifest.to_json())
    study = spec.parse(
        f"{{study: small, data: '{folder}/data', summary: '{folder}/summary', task: {task}, model: {model}, "
        f"axes: {{global_batch: [4, 8], learning_rate: 0.01, dtype: {dtype}, seeds: [3]}}, budget: {{updates: 2}}}}",
        where="test",
    )
    trials = axes.trials(study, data_hash=manifest.data_hash, train_rows=manifest.splits["train"].rows)
    summary = Summary(study.summary)
    summary.write_study(
        {
            "study": "small",
            "spec_hash": identity.spec_hash(study),
            "spec_json": identity.canonical_json(study),
            "data": study.data,
            "data_hash": manifest.data_hash,
            "started_at": datetime.now(UTC),
            "trials": len(trials),
        }
    )
    shapes = [weight.shape for weight in plain(trials[0]).get_weights()]
    random = np.random.default_rng(1)
    best, last = ([random.normal(size=shape).astype(dtype) for shape in shapes] for _ in "12")
    return Place(summary=summary, data=folder / "data", trials=trials, best=best, last=last)


def plain(trial: TrialSpec) -> Any:
    from trainer.model import model

    outputs = {"classification": len(LABELS), "regression": 1, "language_model": VOCABULARY}[trial.task]
    return model.build(
        trial.model, vocabulary_size=VOCABULARY, outputs=outputs, task=trial.task, dtype=trial.dtype, seed=trial.seed
    )


def twin_outputs(trial: TrialSpec, weights: Arrays | None, tokens: Any) -> Any:
    """What the model that was trained says: probabilities of labels, or logits of next tokens."""
    import keras

    from trainer.model.model import training_twin

    twin = training_twin(plain(trial))
    if weights is not None:
        twin.set_weights(weights)
    outputs = twin(tokens, training=False)
    return np.asarray(keras.ops.softmax(outputs) if trial.task == "classification" else outputs)


def mixed_rows(longest: int = 12) -> Any:
    """Right-padded rows of every length from 1."""
    tokens = np.random.default_rng(0).integers(1, VOCABULARY, (longest, longest + 3))
    return np.where(np.arange(longest + 3) < np.arange(1, longest + 1)[:, None], tokens, 0).astype("int32")


def run_plain(code: str, folder: Path) -> str:
    """What `code` prints in a Python that has Keras and no batchscope."""
    program = f'{WITHOUT_BATCHSCOPE}\n{code}\nassert not {{"trainer", "cluster"}} & set(sys.modules)'
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def call(*arguments: str) -> Result:
    from cluster.cli import batchscope

    return CliRunner().invoke(batchscope, ["export", *arguments])


def test_plain_keras_predicts_what_the_trained_model_predicts(place: Places, tmp_path: Path) -> None:
    tokens, wanted = mixed_rows(), {}
    for name, fields in VARIANTS.items():
        here = place(name, **fields)
        here.kept()
        for at, weights in (("initial", None), ("best", here.best), ("last", here.last)):
            model.export(here.found(), model.files_of(f"{tmp_path}/{name}_{at}.keras", force=False), at=at)
            wanted[f"{name}_{at}"] = twin_outputs(here.trials[0], weights, tokens)
    np.save(tmp_path / "tokens.npy", tokens)
    run_plain(
        "import glob, keras, numpy\n"
        "models = {file[:-6]: keras.saving.load_model(file) for file in glob.glob('*.keras')}\n"
        "tokens = numpy.load('tokens.npy')\n"
        "numpy.savez('outputs.npz', **{name: model.predict(tokens, verbose=0) for name, model in models.items()})",
        tmp_path,
    )
    outputs = np.load(tmp_path / "outputs.npz")
    assert set(outputs.files) == set(wanted)
    for name, expected in wanted.items():
        assert outputs[name].shape == expected.shape
        assert outputs[name].dtype == ("float64" if name.startswith("double") else "float32")
        np.testing.assert_allclose(outputs[name], expected, rtol=0, atol=1e-6, err_msg=name)
        others = [other for other in wanted if other != name and wanted[other].shape == expected.shape]
        assert all(np.abs(wanted[other] - expected).max() > 1e-3 for other in others), "the comparison sees nothing"


def test_the_printed_example_goes_from_text_to_the_answer(
    place: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here, number, language = place(), place("number", **VARIANTS["number"]), place("language", **LANGUAGE)
    examples = []
    for one, name in ((here, "model"), (number, "number"), (language, "language")):
        one.kept()
        options = ["--trial", one.trials[0].trial_id[:9], "-o", f"{name}.keras", "--summary", one.summary.uri]
        result = call("small", *options)
        assert result.exit_code == 0, result.output
        paths, _, example = result.stdout.partition("\n\n")
        assert paths.split() == [f"{name}.keras", f"{name}.tokenizer.json", f"{name}.json"]
        assert len(example.splitlines()) == 5
        examples.append(example)
    printed = run_plain("\n".join(examples), tmp_path).splitlines()
    assert set(json.loads(printed[0].replace("'", '"'))) <= set(LABELS)
    assert len(printed) == 3
    assert printed[1].startswith("[")
    # The texts are of unknown words, one and three of them: the next token after each.
    assert len(json.loads(printed[2].replace("'", '"'))) == 2

    # Other texts in the same example, one of them longer than the model's rows: the trained model's own answers.
    texts = ["w2 W3", "w9", "w30 w31 w32 ?", *(f"w{index} w{index + 1}" for index in range(5, 25)), "w7 " * 40]
    ids = [[2, 3], [9], [30, 31, 32, 1], *([index, index + 1] for index in range(5, 25)), [7] * 12]
    padded = np.array([row + [0] * (12 - len(row)) for row in ids], "int32")
    labels = [LABELS[best] for best in twin_outputs(here.trials[0], here.best, padded).argmax(axis=1)]
    outputs = twin_outputs(language.trials[0], language.best, padded)
    following = [outputs[row, len(some) - 1].argmax() for row, some in enumerate(ids)]
    assert min(len(set(labels)), len(set(following))) > 1
    assert min(following) > 1, "a token that is no word"
    code = "".join(examples[::2]).replace('["One text.", "Another, longer text."]', repr(texts))
    assert code.count(repr(texts)) == 2
    assert run_plain(code, tmp_path).splitlines() == [repr(labels), repr([f"w{token}" for token in following])]


def test_about_says_which_trial_it_is(place: Places, tmp_path: Path) -> None:
    here = place()
    here.kept()
    files = model.files_of(str(tmp_path / "model.keras"), force=False)
    model.export(here.found(), files, at="last")
    trial = here.trials[0]
    assert json.loads(Path(files.about).read_bytes().decode("ascii")) == {
        "study": "small",
        "trial_id": trial.trial_id,
        "state": "COMPLETED",
        "at": "last",
        "task": "classification",
        "label_names": list(LABELS),
        "max_tokens": 12,
        "global_batch": 4,
        "learning_rate": 0.01,
        "optimizer": "adam",
        "dtype": "float32",
        "seed": 3,
    }
    assert Path(files.tokenizer).read_bytes() == (here.data / "tokenizer.json").read_bytes()


def test_files_are_replaced_only_on_request_and_whole(
    place: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = place()
    here.kept()
    output = str(tmp_path / "out" / "model.keras")
    with pytest.raises(InputError, match=r"model\.h5 must end in \.keras"):
        model.files_of("model.h5", force=True)
    with pytest.raises(InputError, match=r"out/model\.tokenizer\.json: No such file.*-o"):
        model.export(here.found(), model.files_of(output, force=False), at="best")
    (tmp_path / "out").mkdir()
    for name in ("model.keras", "model.tokenizer.json", "model.json"):
        (tmp_path / "out" / name).write_text("mine")
        with pytest.raises(InputError, match=f"{name} exists already.*--force"):
            model.files_of(output, force=False)
        (tmp_path / "out" / name).unlink()
    (tmp_path / "out" / "model.keras").write_text("mine")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match="No space left"):
            model.export(here.found(), model.files_of(output, force=True), at="best")
    assert [(file.name, file.read_text()) for file in (tmp_path / "out").iterdir()] == [("model.keras", "mine")]
    model.export(here.found(), model.files_of(output, force=True), at="best")
    assert (tmp_path / "out" / "model.keras").read_bytes().startswith(b"PK")
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_a_trial_is_found_by_a_unique_beginning(place: Places) -> None:
    here = place()
    first, second = (trial.trial_id for trial in here.trials)
    for trial in here.trials:
        assert find(here.summary, "small", trial.trial_id[:10]).trial == trial
    with pytest.raises(InputError, match=f"matches 2 trials.*{min(first, second)}.*more of its digits"):
        find(here.summary, "small", "")
    with pytest.raises(
        InputError, match=rf"no trial whose id begins with 'x{first[1:]}' \(nearest: {first}.*export small"
    ):
        find(here.summary, "small", f"x{first[1:]}")
    with pytest.raises(InputError, match=r"no study 'smal'.*'small'"):
        find(here.summary, "smal", first)


def test_a_trial_of_an_earlier_spec_is_found(place: Places) -> None:
    here = place()
    here.kept()
    now = spec.parse(
        f"{{study: small, data: '{here.data}', task: classification, model: {{embedding_units: 6, lstm_units: 5}}, "
        "axes: {global_batch: [16], learning_rate: 0.01, seeds: [3]}, budget: {updates: 2}}",
        where="test",
    )
    fields = {"spec_hash": identity.spec_hash(now), "spec_json": identity.canonical_json(now), "data": now.data}
    here.summary.write_study(
        {"study": "small", "data_hash": here.trials[0].data_hash, "started_at": datetime.now(UTC), **fields}
    )
    assert here.found().trial == here.trials[0]


@pytest.mark.parametrize(
    ("state", "remedy"),
    [
        (None, "no result yet.*wait until"),
        ("FAILED", r"ended FAILED \(a fuse blew\).*run the study again"),
        ("LOST", "ended LOST.*run the study again"),
        ("CANCELLED", "ended CANCELLED.*run the study again"),
        ("OUT_OF_MEMORY", "ended OUT_OF_MEMORY.*no weights: export another"),
    ],
)
def test_a_trial_without_kept_weights_is_refused(place: Places, tmp_path: Path, state: str | None, remedy: str) -> None:
    here = place()
    # Half an end: the weights were written, the row was not.
    Checkpoints(store_of(here.checkpoints), here.trials[0].trial_id).finish(best=here.best, last=here.last)
    if state:
        here.ended(state, error="a fuse blew" if state == "FAILED" else None)
    files = model.files_of(str(tmp_path / "model.keras"), force=False)
    for at in ("best", "last"):
        with pytest.raises(InputError, match=remedy):
            model.export(here.found(), files, at=at)
    assert not os.path.exists(files.about)
    model.export(here.found(), files, at="initial")
    assert os.path.exists(files.model)


def test_the_attempt_that_is_an_answer_counts(place: Places) -> None:
    here = place()
    here.ended("LOST", attempt=1)
    here.ended("DIVERGED", attempt=2)
    here.ended("CANCELLED", attempt=3)
    assert here.found().state == "DIVERGED"


def test_a_data_set_that_is_gone_or_another_is_refused(place: Places, tmp_path: Path) -> None:
    here = place()
    here.kept()
    moved = here.data.rename(tmp_path / "moved")
    with pytest.raises(InputError, match=f"not found from.*{here.data}.*--data"):
        here.found()
    assert here.found(data=str(moved)).trial == here.trials[0]
    write_prepared(here.data, seed=5)
    with pytest.raises(InputError, match=f"{here.data} holds other data.*--data"):
        here.found()
    (moved / "tokenizer.json").write_text("{}")
    files = model.files_of(str(tmp_path / "model.keras"), force=False)
    with pytest.raises(InputError, match=r"tokenizer\.json has sha256 .*--data"):
        model.export(here.found(data=str(moved)), files, at="best")
    (moved / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"tokenizer\.json is missing.*--data"):
        model.export(here.found(data=str(moved)), files, at="best")


def test_weights_that_are_damaged_or_do_not_fit_are_refused(place: Places, tmp_path: Path) -> None:
    here = place()
    here.kept()
    files = model.files_of(str(tmp_path / "model.keras"), force=False)
    archive = Path(here.checkpoints) / "best.npz"
    archive.write_bytes(archive.read_bytes()[:-1])
    with pytest.raises(InputError, match=rf"no complete best\.npz in {here.checkpoints};"):
        model.export(here.found(), files, at="best")
    wrong = [*here.best[:-1], np.zeros(7, "float32")]
    Checkpoints(store_of(here.checkpoints), here.trials[0].trial_id).finish(best=wrong, last=here.best[:-1])
    for at in ("best", "last"):
        with pytest.raises(InputError, match=r"have the shapes .*, but its model takes .*\(3,\)"):
            model.export(here.found(), files, at=at)
    assert not os.path.exists(files.model)


def test_what_was_exchanged_since_is_not_exported(place: Places, tmp_path: Path) -> None:
    here = place()
    here.kept()
    files, folder = model.files_of(str(tmp_path / "model.keras"), force=False), Path(here.checkpoints)
    manifest = here.data / "manifest.json"
    text = manifest.read_text()
    fields = json.loads(text)
    manifest.write_text(json.dumps(fields | {"label_names": fields["label_names"][::-1]}))
    with pytest.raises(InputError, match=f"{manifest} is damaged .*--data"):
        here.found()
    manifest.write_text(text)
    for ending in ("json", "npz"):
        (folder / f"best.{ending}").write_bytes((folder / f"last.{ending}").read_bytes())
    with pytest.raises(InputError, match=r"no complete best\.npz"):
        model.export(here.found(), files, at="best")
    assert not os.path.exists(files.model)


def test_what_an_older_version_left_is_exported_and_called_unverified(place: Places, tmp_path: Path) -> None:
    here = place()
    here.kept()
    assert model.export(here.found(), model.files_of(str(tmp_path / "new.keras"), force=False), at="last") == []
    kept = Path(here.checkpoints) / "last.json"
    kept.write_text(json.dumps({"sha256": json.loads(kept.read_text())["archive"], "facts": {}}))
    manifest = here.data / "manifest.json"
    fields = json.loads(manifest.read_text())
    del fields["sha256"]
    for split in fields["splits"].values():
        del split["digest"]
    manifest.write_text(json.dumps(fields | {"schema_version": 1}))
    assert model.export(here.found(), model.files_of(str(tmp_path / "old.keras"), force=False), at="last") == [
        "the label names are unverified, since an older version prepared the data",
        "last is unverified, since an older version kept it",
    ]


def test_a_summary_that_was_moved_still_has_its_weights(place: Places, tmp_path: Path) -> None:
    here = place()
    here.kept()
    summary = Summary(str(Path(here.summary.uri).rename(tmp_path / "elsewhere")))
    found = find(summary, "small", here.trials[0].trial_id)
    files = model.files_of(str(tmp_path / "model.keras"), force=False)
    model.export(found, files, at="best")
    assert os.path.exists(files.model)


def test_the_command_lists_trials_and_says_what_is_missing(place: Places, tmp_path: Path) -> None:
    here = place()
    trial_id, uri = here.trials[0].trial_id, here.summary.uri
    assert "no trial has ended yet" in call("small", "--summary", uri).stderr
    here.ended("DIVERGED", loss=0.25)
    Checkpoints(store_of(here.checkpoints), here.trials[0].trial_id).finish(best=here.best, last=here.last)
    listed = call("small", "--summary", uri).stdout.splitlines()
    assert listed[-1].split()[:3] == [trial_id, "DIVERGED", "0.2500"]
    for arguments, missing in ((["--trial", trial_id], "-o model.keras"), (["-o", "m.keras"], "--trial ID")):
        problem = call("small", "--summary", uri, *arguments).exception
        assert isinstance(problem, InputError)
        assert str(problem).startswith(f"{missing} is missing")
    output = str(tmp_path / "model.keras")
    assert "this trial ended DIVERGED" in call("small", "--summary", uri, "--trial", trial_id, "-o", output).stderr


def test_a_users_own_model_is_built_by_its_factory(
    place: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "exported_models.py").write_text(
        "import keras\n"
        "def build(*, vocabulary_size, outputs):\n"
        "    layers = keras.layers.Embedding(vocabulary_size, 4, mask_zero=True), keras.layers.LSTM(3)\n"
        "    return keras.Sequential([keras.Input((None,)), *layers, keras.layers.Dense(outputs)])\n"
    )
    with monkeypatch.context() as patch:
        patch.syspath_prepend(tmp_path / "code")
        here = place(model="{factory: 'exported_models:build'}")
    here.kept()
    monkeypatch.delitem(sys.modules, "exported_models")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path / "code")
    options = ["--trial", here.trials[0].trial_id, "--summary", here.summary.uri]
    assert "layers that exported_models:build defines" in call("small", *options, "-o", "model.keras").stderr
    Checkpoints(store_of(here.checkpoints), here.trials[0].trial_id).finish(best=here.best[1:], last=here.last)
    problem = call("small", *options, "-o", "other.keras").exception
    assert isinstance(problem, InputError)
    assert "exported_models:build has changed since" in str(problem)


@pytest.mark.parametrize("kind", ["vectors", "sequences"])
def test_a_model_of_numbers_predicts_in_plain_keras(tmp_path: Path, kind: str) -> None:
    from cluster.prepare import prepare

    built = "{factory: 'cluster.articles.iris:build'}" if kind == "vectors" else SMALL
    draw = np.random.default_rng(0)
    shape = (4,) if kind == "vectors" else (3, 4)
    rows = [{"x": draw.normal(size=shape).tolist(), "y": LABELS[index % 3]} for index in range(90)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    manifest = prepare([str(tmp_path / "rows.jsonl")], str(tmp_path / "data"), features="x", label="y")
    study = spec.parse(
        f"{{study: small, data: '{tmp_path}/data', task: classification, model: {built}, "
        "axes: {global_batch: 4, learning_rate: 0.01, seeds: [3]}, budget: {updates: 2}}",
        where="test",
    )
    [trial] = axes.trials(study, data_hash=manifest.data_hash, train_rows=manifest.splits["train"].rows)
    found = FoundTrial(
        study="small",
        trial=trial,
        state=None,
        error=None,
        checkpoints=(),
        data=str(tmp_path / "data"),
        manifest=manifest,
    )
    files = model.files_of(str(tmp_path / "model.keras"), force=False)
    model.export(found, files, at="initial")
    about = json.loads(Path(files.about).read_text())
    assert not os.path.exists(files.tokenizer)
    assert (about["kind"], about["features_width"]) == (kind, 4)
    assert run_plain(example.example(found, files), tmp_path).count("\n") == 1

    # One row alone, and the same with a longer one beside it, padded as the file says.
    shorter, longer = draw.normal(size=(2, *shape)).astype("float32")
    alone = shorter[None]
    if kind == "sequences":
        shorter = np.concatenate([shorter, np.full((2, 4), about["padding"], "float32")])
        longer = np.concatenate([longer, np.zeros((2, 4), "float32")])
    np.savez(tmp_path / "given.npz", alone=alone, beside=np.stack([shorter, longer]))
    run_plain(
        "import keras, numpy\n"
        "model, given = keras.saving.load_model('model.keras'), numpy.load('given.npz')\n"
        "numpy.savez('said.npz', **{name: model.predict(given[name], verbose=0) for name in given.files})",
        tmp_path,
    )
    outputs = np.load(tmp_path / "said.npz")
    np.testing.assert_allclose(outputs["beside"][:1], outputs["alone"], rtol=0, atol=1e-6)


def test_the_best_model_of_a_study_is_one_call_away(place: Places) -> None:
    here = place()
    here.kept()
    model, tokenizer, labels = batchscope.best_model("small", here.summary.uri)
    assert labels == LABELS
    assert {array.tobytes() for array in model.get_weights()} == {array.tobytes() for array in here.best}
    tokens = np.array([text.ids for text in tokenizer.encode_batch(["One text.", "Another, longer text."])])
    probabilities = model.predict(tokens, verbose=0)
    assert probabilities.shape == (2, len(LABELS))
    with pytest.raises(InputError, match="none"):
        batchscope.best_model("none", here.summary.uri)

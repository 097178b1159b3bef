"""A study's YAML: what is read, what every bad value is told, and what identifies a spec."""

import contextlib
import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.study import identity
from cluster.study.rules import RateRule
from cluster.study.spec import StudySpec, load, parse
from trainer.errors import InputError
from trainer.trial import Duration, ModelSpec

# On a busy machine generating examples is slow, which says nothing about the code.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

MINIMAL: dict[str, Any] = {
    "study": "wiki-topics",
    "data": "prepared/wiki",
    "task": "classification",
    "axes": {"global_batch": [16, "full"], "learning_rate": 0.001, "seeds": 2},
    "budget": {"epochs": 10},
}


def text_with(changes: dict[str, Any]) -> str:
    """MINIMAL as YAML with some dotted keys replaced; a value of `...` removes the key."""
    study = copy.deepcopy(MINIMAL)
    for dotted, value in changes.items():
        inner, *_, last = [study, *dotted.split(".")]
        for part in dotted.split(".")[:-1]:
            inner = inner.setdefault(part, {})
        inner[last] = value
        if value is ...:
            del inner[last]
    return yaml.safe_dump(study, sort_keys=False)


def spec_with(**changes: Any) -> StudySpec:
    return parse(text_with({key.replace("__", "."): value for key, value in changes.items()}), where="s.yaml")


def test_the_smallest_study_has_the_documented_defaults() -> None:
    spec = spec_with()
    assert spec.summary == "./summary"
    assert spec.model.model_spec() == ModelSpec()
    assert (spec.axes.optimizer, spec.axes.dtype, spec.axes.seeds) == (("adam",), ("float32",), (0, 1))
    assert spec.axes.learning_rate == (0.001,)
    assert spec.evaluate_every == Duration(unit="epochs", amount=1.0)
    assert (spec.clip_norm, spec.target, spec.margin, spec.checkpoint_every_seconds) == (None, None, None, 60.0)
    assert spec.resources.model_dump() == {
        "workers": 1,
        "lanes": None,
        "cpus_per_worker": 1.0,
        "gpus_per_worker": 0.0,
        "micro_batch": "auto",
        "memory_gib": None,
    }


def test_the_memory_of_a_worker_is_part_of_a_specs_identity_only_where_it_is_given() -> None:
    limited = spec_with(resources={"memory_gib": 4})
    assert limited.resources.memory_gib == 4.0
    assert "memory_gib" not in identity.canonical_json(spec_with())
    assert parse(identity.canonical_json(limited), where="stored") == limited
    assert not identity.changed(identity.canonical_json(spec_with()), limited)


def test_the_study_of_the_design_is_read() -> None:
    spec = parse(
        """
        study: wiki-topics
        data: s3://bucket/prepared/wiki
        summary: s3://bucket/summary
        task: regression
        model: {embedding_units: 8, lstm_units: 16, layers: 2, bidirectional: true, dropout: 0.2}
        axes:
          global_batch: [8, 16, 17, full]
          learning_rate: {around: 1e-3, at: 32, rule: sqrt, points: 5}
          optimizer: [sgd, adam]
          dtype: [float32, float64]
          seeds: [3, 1]
        budget: {seconds: 1.5}
        evaluate_every: {examples: 5000}
        clip_norm: 1
        target: auto
        margin: {validation_loss: 0.01}
        resources: {workers: 2, lanes: 3, cpus_per_worker: 0.5, gpus_per_worker: 0.25, micro_batch: 4}
        checkpoint_every_seconds: 5
        """,
        where="s.yaml",
    )
    assert spec.model.model_spec() == ModelSpec(
        embedding_units=8, lstm_units=16, layers=2, bidirectional=True, dropout=0.2
    )
    assert spec.axes.global_batch == (8, 16, 17, "full")
    assert spec.axes.learning_rate == RateRule(around=0.001, at=32, rule="sqrt", points=5, factor=3.0)
    assert spec.axes.optimizer == ("sgd", "adam")
    assert spec.axes.seeds == (3, 1)
    assert spec.budget_at("full") == Duration(unit="seconds", amount=1.5)
    assert spec.clip_norm == 1.0
    assert spec.target == "auto"
    assert spec.margin is not None
    assert spec.margin.validation_loss == 0.01
    assert spec.resources.gpus_per_worker == 0.25


def test_a_scalar_may_stand_for_a_list() -> None:
    axes = spec_with(axes__global_batch="full", axes__optimizer="sgd", axes__dtype="float64").axes
    assert (axes.global_batch, axes.optimizer, axes.dtype) == (("full",), ("sgd",), ("float64",))


def test_a_language_model_is_a_task_and_does_not_read_backwards() -> None:
    assert spec_with(task="language_model").task == "language_model"
    with pytest.raises(InputError, match=r"model.bidirectional is true, .* next token, .*: set bidirectional: false"):
        spec_with(task="language_model", model={"bidirectional": True})


def test_a_budget_for_each_global_batch() -> None:
    spec = spec_with(budget={16: {"epochs": 15}, "full": {"updates": 100}})
    assert spec.budget_at(16) == Duration(unit="epochs", amount=15.0)
    assert spec.budget_at("full") == Duration(unit="updates", amount=100.0)


def test_a_factory() -> None:
    assert spec_with(model={"factory": "mine.models:build"}).model.model_spec() == ModelSpec(
        factory="mine.models:build"
    )


# Each: what is changed, then what the one line must name: the place, the value, the remedy.
BAD: list[tuple[dict[str, Any], list[str]]] = [
    ({"study": "a b"}, ["study", '"a b"', "letters, digits and '-'"]),
    ({"study": "a" * 65}, ["study", "aaa", "1 to 64"]),
    ({"study": 2024}, ["study", "2024", "in quotes"]),
    ({"study": ...}, ["study is missing", "such as wiki-topics"]),
    ({"data": ""}, ["data", '""', "prepared data"]),
    ({"summary": 3}, ["summary", "3", "a folder or s3://"]),
    ({"task": "clasification"}, ["task", '"clasification"', "did you mean 'classification'"]),
    ({"model": "lstm"}, ["model", '"lstm"', "{lstm_units: 128}"]),
    ({"model.lstm_unit": 5}, ["model.lstm_unit is not a known key", "did you mean 'lstm_units'"]),
    ({"model.factry": "a:b"}, ["model.factry", "did you mean 'factory'"]),
    ({"model.lstm_units": 0}, ["model.lstm_units", "0", "from 1 to 1048576"]),
    ({"model.layers": 1.5}, ["model.layers", "1.5", "whole number"]),
    ({"model.embedding_units": True}, ["model.embedding_units", "true", "whole number"]),
    ({"model.bidirectional": 1}, ["model.bidirectional", "1", "true or false"]),
    ({"model.dropout": 1.0}, ["model.dropout", "1.0", "from 0 up to"]),
    ({"model": {"factory": "a:b", "layers": 2}}, ["model", "'layers': 2", "remove layers"]),
    ({"model": {"factory": "a.b"}}, ["model.factory", '"a.b"', "my_package.models:build"]),
    ({"axes": ...}, ["axes is missing", "global_batch"]),
    ({"axes.optimiser": "sgd"}, ["axes.optimiser is not a known key", "did you mean 'optimizer'"]),
    ({"axes.global_batch": [16, 0]}, ["axes.global_batch[1]", "0", "from 1 to 2**53, or full"]),
    ({"axes.global_batch": "ful"}, ["axes.global_batch is", '"ful"', "or full"]),
    ({"axes.global_batch": [True]}, ["axes.global_batch[0]", "true", "whole number of rows"]),
    ({"axes.global_batch": [16.0]}, ["axes.global_batch[0]", "16.0", "whole number of rows"]),
    ({"axes.global_batch": []}, ["axes.global_batch", "[]", "a list of global batches"]),
    ({"axes.global_batch": [16, 17, 16]}, ["axes.global_batch", "16 appears twice", "remove one"]),
    ({"axes.learning_rate": [0.1, -1]}, ["axes.learning_rate[1]", "-1", "positive"]),
    ({"axes.learning_rate": "fast"}, ["axes.learning_rate is", '"fast"', "positive rates"]),
    ({"axes.learning_rate": float("inf")}, ["axes.learning_rate", "inf", "positive rates"]),
    ({"axes.learning_rate": [0.1, 1e-1]}, ["axes.learning_rate", "0.1 appears twice", "remove one"]),
    ({"axes.learning_rate": []}, ["axes.learning_rate", "[]", "positive rates"]),
    ({"axes.learning_rate": {"around": 0.1, "at": 32}}, ["axes.learning_rate.rule is missing", "sqrt, linear or none"]),
    (
        {"axes.learning_rate": {"around": 0.1, "at": 32, "rule": "sqr"}},
        ["axes.learning_rate.rule", '"sqr"', "did you mean 'sqrt'"],
    ),
    ({"axes.learning_rate": {"around": 0.1, "rule": "sqrt"}}, ["axes.learning_rate", "add `at`", "at: 32"]),
    (
        {"axes.learning_rate": {"around": 0.1, "rule": "none", "point": 3}},
        ["axes.learning_rate.point is not a known key", "did you mean 'points'"],
    ),
    (
        {"axes.learning_rate": {"around": 0.1, "rule": "none", "points": 0}},
        ["axes.learning_rate.points", "0", "from 1 to 100"],
    ),
    (
        {"axes.learning_rate": {"around": 0.1, "rule": "none", "factor": 1}},
        ["axes.learning_rate.factor", "1", "from 1.001"],
    ),
    ({"axes.optimizer": "adamm"}, ["axes.optimizer is", '"adamm"', "did you mean 'adam'"]),
    ({"axes.optimizer": ["adam", "adam"]}, ["axes.optimizer", "adam appears twice", "remove one"]),
    ({"axes.dtype": ["mixed_float8"]}, ["axes.dtype[0]", '"mixed_float8"', "float32, float64", "'mixed_float16'"]),
    ({"axes.seeds": 0}, ["axes.seeds", "0", "at least 1"]),
    ({"axes.seeds": 2024}, ["axes.seeds", "2024", "write [2024]"]),
    ({"axes.seeds": [-1]}, ["axes.seeds[0]", "-1", "from 0 to 2147483647"]),
    ({"axes.seeds": [2**31]}, ["axes.seeds[0]", "2147483648", "from 0 to 2147483647"]),
    ({"axes.seeds": True}, ["axes.seeds is", "true", "number of seeds"]),
    ({"axes.seeds": [1, 1]}, ["axes.seeds is [1, 1]", "1 appears twice", "remove one"]),
    ({"axes.seeds": ...}, ["axes.seeds is missing", "such as 5"]),
    ({"budget": ...}, ["budget is missing", "{epochs: 10}"]),
    ({"budget": 10}, ["budget", "10", "epochs, examples, updates, seconds"]),
    ({"budget": {"epoch": 10}}, ["budget", "epoch is not a unit", "did you mean 'epochs'"]),
    ({"budget": {"epochs": 1, "updates": 2}}, ["budget", "'updates': 2", "give one of"]),
    ({"budget": {"epochs": 0}}, ["budget", "{'epochs': 0}", "positive number"]),
    ({"budget": {"epochs": True}}, ["budget", "True", "positive number"]),
    ({"budget": {"seconds": float("inf")}}, ["budget", "inf", "positive number"]),
    ({"budget": {"updates": 10**400}}, ["budget", "1000", "positive number"]),
    ({"budget": {"updates": 1.5}}, ["budget", "1.5", "whole number", "{updates: 2}"]),
    ({"budget": {16: {"epochs": 1}}}, ["budget", "global batch full", "add `full: {epochs: 10}`"]),
    (
        {"budget": {16: {"epochs": 1}, 17: {"epochs": 1}, "full": {"epochs": 1}}},
        ["budget", "global batch 17", "remove it, or list it"],
    ),
    ({"budget": {16: {"epoch": 1}}}, ["budget", "at global batch 16", "did you mean 'epochs'"]),
    ({"budget": {16: {"epochs": 1}, "16": {"epochs": 2}}}, ["budget", "at global batch 16", "appears twice"]),
    ({"budget": {0: {"epochs": 1}}}, ["budget", "at global batch 0", "from 1 to"]),
    ({"evaluate_every": {"examples": 0}}, ["evaluate_every", "0", "positive number"]),
    ({"clip_norm": float("inf")}, ["clip_norm", "inf", "positive number"]),
    ({"clip_norm": 0}, ["clip_norm", "0", "positive number"]),
    ({"target": "ato"}, ["target", '"ato"', "auto or {validation_loss: 0.6}"]),
    (
        {"target": {"validation_loss": 1, "validation_los": 1}},
        ["target.validation_los", "did you mean 'validation_loss'"],
    ),
    ({"target": {"validation_loss": -1}}, ["target.validation_loss", "-1", "positive"]),
    ({"margin": 0.01}, ["margin", "0.01", "{validation_loss: 0.01}"]),
    ({"resources": 3}, ["resources", "3", "{workers: 1, lanes: 2}"]),
    ({"resources.worker": 3}, ["resources.worker", "did you mean 'workers'"]),
    ({"resources.workers": 0}, ["resources.workers", "0", "from 1 to 10000"]),
    ({"resources.workers": {1: 1, "1": 4}}, ["resources.workers", "1 appears twice, remove one"]),
    ({"resources.workers": {1: 1, "01": 4}}, ["resources.workers", "from 1 to 10000"]),
    ({"resources.workers": {1: 1, "\uff12": 4}}, ["resources.workers", "from 1 to 10000"]),
    ({"resources.workers": {1: 1, "2" * 5000: 4}}, ["resources.workers", "from 1 to 10000"]),
    ({"budget": {16: {"epochs": 1}, "016": {"epochs": 2}}}, ["budget", "at global batch 016", "a whole number"]),
    ({"resources.lanes": 0}, ["resources.lanes", "0", "from 1 to 10000"]),
    ({"resources.cpus_per_worker": 0}, ["resources.cpus_per_worker", "0", "from 0.001"]),
    ({"resources.gpus_per_worker": -1}, ["resources.gpus_per_worker", "-1", "0, a part of one GPU"]),
    ({"resources.gpus_per_worker": 1.5}, ["resources", "gpus_per_worker 1.5", "give 1"]),
    ({"resources.memory_gib": 0}, ["resources.memory_gib", "0", "such as 4"]),
    ({"resources.micro_batch": "big"}, ["resources.micro_batch", '"big"', "or auto"]),
    ({"checkpoint_every_seconds": 0}, ["checkpoint_every_seconds", "0", "positive"]),
    ({"study": "-x"}, ["study", '"-x"', "does not begin with '-'"]),
    ({"axs": 1}, ["axs is not a known key", "did you mean 'axes'"]),
    ({"note": "x" * 500, "data": {"x": "y" * 500}}, ["note is not a known key", "data is {'x': 'yyy", "..."]),
]


@pytest.mark.parametrize(("changes", "expected"), BAD, ids=[str(changes)[:50] for changes, _ in BAD])
def test_a_bad_value_is_named_with_its_place_and_remedy(changes: dict[str, Any], expected: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        parse(text_with(changes), where="s.yaml")
    message = str(caught.value)
    assert all(part in message for part in expected), message
    lines = message.splitlines()
    assert len(lines) == len([key for key in changes if key != "note"]) + ("note" in changes)
    assert all(line.startswith("s.yaml: ") and len(line) < 400 for line in lines)
    assert not any("[0]" in line and isinstance(value, str) for line in lines for value in changes.values())


# Every number of a study, where it stands alone, and the rest of its key.
NUMBERS: list[tuple[str, dict[str, Any]]] = [
    *((f"model.{name}", {}) for name in ("embedding_units", "lstm_units", "layers", "dropout")),
    *((f"resources.{name}", {}) for name in ("workers", "lanes", "cpus_per_worker", "gpus_per_worker")),
    *((f"resources.{name}", {}) for name in ("micro_batch", "memory_gib")),
    *((f"axes.{name}", {}) for name in ("global_batch", "learning_rate", "seeds", "weight_decay")),
    *((f"axes.learning_rate.{name}", {"around": 0.1, "at": 1, "rule": "sqrt"}) for name in ("around", "at", "points")),
    ("axes.learning_rate.factor", {"around": 0.1, "at": 1, "rule": "sqrt", "points": 3}),
    *((f"{key}.{unit}", {}) for key in ("budget", "evaluate_every") for unit in ("epochs", "examples", "seconds")),
    *((f"{key}.{name}", {"value": 0.9, "at": 8}) for key in ("beta1", "beta2") for name in ("value", "at")),
    *((f"weight_decay.{name}", {"value": 0.1, "at": 8, "rate": 0.1}) for name in ("value", "at", "rate")),
    *((f"{key}.validation_loss", {}) for key in ("target", "margin")),
    *((f"{key}.examples", {}) for key in ("warmup", "average")),
    *((f"protocol.{name}", {}) for name in ("looks", "screen_seeds", "extensions")),
    *((name, {}) for name in ("clip_norm", "checkpoint_every_seconds", "shuffle.window_rows", "weight_decay")),
]


@pytest.mark.parametrize(("key", "others"), NUMBERS, ids=[key for key, _ in NUMBERS])
def test_every_number_of_a_study_has_bounds(key: str, others: dict[str, Any]) -> None:
    place = key.rpartition(".")[0]
    for extreme in (10**400, 1e300, 10**39, -1, -5e-324):
        changes = ({place: others} if others else {}) | {key: extreme}
        if key in ("weight_decay", "axes.weight_decay") or key.startswith("weight_decay."):
            changes["axes.optimizer"] = "adamw"
        with pytest.raises(InputError) as caught:
            parse(text_with(changes), where="s.yaml")
        assert all(len(line) < 400 for line in str(caught.value).splitlines())


@pytest.mark.parametrize(
    "key",
    [
        *(f"resources.{name}" for name in ("cpus_per_worker", "gpus_per_worker", "memory_gib")),
        *("axes.learning_rate", "clip_norm", "margin.validation_loss", "checkpoint_every_seconds"),
        *("budget.epochs", "evaluate_every.seconds"),
    ],
)
def test_a_number_that_works_as_none_is_refused(key: str) -> None:
    for tiny in (5e-324, 1e-40):
        with pytest.raises(InputError, match=key.partition(".")[0]):
            parse(text_with({key: tiny}), where="s.yaml")


def test_several_problems_are_said_at_once_one_line_each() -> None:
    with pytest.raises(InputError) as caught:
        spec_with(task="x", axes__optimizer="y", resources__workers=0)
    assert [line.split(" is ")[0] for line in str(caught.value).splitlines()] == [
        "s.yaml: task",
        "s.yaml: axes.optimizer",
        "s.yaml: resources.workers",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("axes: [1,\nx: }", ["s.yaml line 2, column 4", "correct the YAML"]),
        ("a: 1\nb:\n  c: 1\n  c: 2", ["s.yaml line 4, column 3", "'c' appears twice", "remove one"]),
        ("a: &x [*x]", ["s.yaml line 1, column 8", "a[0] is an alias", "write the value out"]),
        ("a: !!python/object/apply:os.getcwd []", ["s.yaml line 1, column 4", "a has the tag", "leave it out"]),
        ("a: 2024-13-45", ["s.yaml: a is not a known key"]),
        ("\x00", ["s.yaml is not YAML", "correct it"]),
        ("[" * 5000, ["s.yaml line 1, column 21: this is nested more than 20 deep", "give keys"]),
        ("# nothing\n", ["s.yaml is empty", "study, data, task, axes and budget"]),
        ("- 1", ["s.yaml is [1]", "keys with values"]),
        ("3: 4", ["s.yaml: 3 is not a known key"]),
    ],
)
def test_what_is_not_a_study_at_all(text: str, expected: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        parse(text, where="s.yaml")
    assert all(part in str(caught.value) for part in expected), str(caught.value)


@pytest.mark.slow
@unhurried
@given(
    st.dictionaries(
        st.sampled_from([*StudySpec.model_fields, "axes.learning_rate", "axes.seeds", "budget.16", "model.layers"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.text(max_size=3) | st.integers() | st.dates(), inner, max_size=3)
            ),
            max_leaves=5,
        ),
        max_size=3,
    )
)
def test_nothing_but_an_input_error_comes_out_of_a_bad_study(changes: dict[str, Any]) -> None:
    safe = {key: value for key, value in changes.items() if "." not in key or key.split(".")[0] not in changes}
    with contextlib.suppress(InputError):
        parse(text_with(safe), where="s.yaml")


def test_a_file_is_read_and_named_in_its_errors(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(text_with({}))
    assert load(file) == load(str(file)) == spec_with()
    file.write_text(text_with({"task": "x"}))
    with pytest.raises(InputError, match=r"study\.yaml: task"):
        load(file)
    file.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match=r"study\.yaml is not UTF-8 text: give the path"):
        load(file)
    with pytest.raises(InputError, match=r"none\.yaml does not exist: give the path"):
        load(tmp_path / "none.yaml")
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\): give the path"):
        load(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model": {"factory": "a:b"}},
        {"axes.learning_rate": {"around": 0.1, "at": 32, "rule": "linear"}, "target": "auto"},
        {"budget": {16: {"epochs": 1}, "full": {"seconds": 2}}, "margin": {"validation_loss": 1}},
    ],
)
def test_the_canonical_json_reads_back_as_the_same_spec(changes: dict[str, Any]) -> None:
    spec = parse(text_with(changes), where="s.yaml")
    again = parse(identity.canonical_json(spec), where="json")
    assert again == spec
    assert identity.spec_hash(again) == identity.spec_hash(spec)


def test_the_hash_is_of_what_is_meant_not_of_how_it_is_written() -> None:
    plain = spec_with()
    assert identity.spec_hash(plain) == identity.spec_hash(spec_with(axes__seeds=[0, 1], budget={"epochs": 10.0}))
    assert identity.spec_hash(plain) == identity.spec_hash(spec_with(axes__learning_rate=[0.001], summary="./summary"))
    assert identity.spec_hash(plain) != identity.spec_hash(spec_with(axes__seeds=3))
    assert len(identity.spec_hash(plain)) == 16


def test_what_changed_that_may_not() -> None:
    old = identity.canonical_json(spec_with(model={"lstm_units": 128}))
    assert identity.changed(old, spec_with(axes__seeds=5, budget={"epochs": 1}, resources={"workers": 2})) == []
    new = spec_with(task="regression", model={"lstm_units": 256, "bidirectional": True})
    assert sorted(identity.changed(old, new)) == [
        "model.bidirectional: false -> true",
        "model.lstm_units: 128 -> 256",
        "task: classification -> regression",
    ]
    factory = identity.changed(old, spec_with(model={"factory": "a:b"}))
    assert "model.factory: (none) -> a:b" in factory
    assert "model.lstm_units: 128 -> (none)" in factory


def test_a_full_shuffle_has_the_identity_it_had_before_windows() -> None:
    assert "shuffle" not in identity.canonical_json(spec_with())
    windowed = spec_with(shuffle={"window_rows": 500})
    assert identity.spec_hash(windowed) != identity.spec_hash(spec_with())
    assert parse(identity.canonical_json(windowed), where="json") == windowed


def test_another_shuffle_is_another_study() -> None:
    old = identity.canonical_json(spec_with())
    assert identity.changed(old, spec_with()) == []
    windowed = spec_with(shuffle={"window_rows": 500})
    assert identity.changed(old, windowed) == ["shuffle.window_rows: (none) -> 500"]
    assert identity.changed(identity.canonical_json(windowed), spec_with(shuffle={"window_rows": 600})) == [
        "shuffle.window_rows: 500 -> 600"
    ]


@pytest.mark.parametrize("rows", [0, -1, 2.5, "many", True])
def test_a_window_is_a_whole_number_of_rows(rows: object) -> None:
    with pytest.raises(InputError, match=r"shuffle.window_rows is .*: give a whole number of rows from 1 to"):
        spec_with(shuffle={"window_rows": rows})


def test_a_window_is_no_smaller_than_a_batch() -> None:
    batches = [8, 64, "full"]
    assert spec_with(shuffle={"window_rows": 64}, axes__global_batch=batches).shuffle.window_rows == 64  # type: ignore[union-attr]
    with pytest.raises(InputError, match=r"window_rows is 63, less than the global batch 64, .* give at least 64"):
        spec_with(shuffle={"window_rows": 63}, axes__global_batch=batches)


def test_a_schedule_and_a_warm_up_are_identity_and_the_defaults_leave_it_alone() -> None:
    plain = spec_with()
    assert identity.spec_hash(spec_with(schedule="constant")) == identity.spec_hash(plain)
    assert not {"schedule", "warmup"} & set(yaml.safe_load(identity.canonical_json(plain)))
    shaped = spec_with(schedule="cosine", warmup={"examples": 100})
    assert parse(identity.canonical_json(shaped), where="stored") == shaped
    assert identity.changed(identity.canonical_json(plain), shaped) == [
        "schedule: (none) -> cosine",
        "warmup.examples: (none) -> 100",
    ]


@pytest.mark.parametrize("budget", [{"seconds": 60}, {16: {"epochs": 2}, "full": {"seconds": 60}}])
def test_a_decay_needs_a_budget_whose_end_is_known(budget: dict[Any, Any]) -> None:
    assert spec_with(budget=budget, warmup={"examples": 100}).schedule == "constant"
    with pytest.raises(InputError, match=r"schedule linear decays .* give the budget in epochs, or schedule: constant"):
        spec_with(budget=budget, schedule="linear")


def test_a_wrong_schedule_or_warm_up_is_told_its_remedy() -> None:
    with pytest.raises(InputError, match=r"schedule is .cosin.: use one of constant, linear, cosine"):
        spec_with(schedule="cosin")
    with pytest.raises(InputError, match=r"warmup.examples is 0: give a whole number of examples from 1 to"):
        spec_with(warmup={"examples": 0})


def test_a_beta2_is_identity_and_fixed_leaves_it_alone() -> None:
    plain = spec_with()
    assert identity.spec_hash(spec_with(beta2="fixed")) == identity.spec_hash(plain)
    assert "beta2" not in yaml.safe_load(identity.canonical_json(plain))
    held = spec_with(beta2={"value": 0.99, "at": 32})
    assert parse(identity.canonical_json(held), where="stored") == held
    assert sorted(identity.changed(identity.canonical_json(plain), held)) == [
        "beta2.at: (none) -> 32",
        "beta2.value: (none) -> 0.99",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beta2": "half"}, r"beta2 is .half.: give fixed or \{value: 0.999, at: 32\}"),
        ({"beta2": 0.99}, r"beta2 is 0.99: give fixed or"),
        ({"beta2": {"value": 1, "at": 32}}, r"beta2.value is 1: give a number between 0 and 1"),
        ({"beta2": {"value": 0.9}}, r"beta2.at is missing: give the global batch"),
        ({"beta2": {"value": 0.9, "at": 8}, "axes__optimizer": "sgd"}, r"beta2 is for adam and adamw, .*: list one"),
        ({"beta1": 0.9}, r"beta1 is 0.9: give fixed or \{value: 0.9, at: 32\}"),
        ({"beta1": {"value": 0.9, "at": 8}, "axes__optimizer": "sgd"}, r"beta1 is for adam and adamw, .*: list one"),
        ({"weight_decay": "none"}, r"weight_decay is .none.: give fixed, a number from 0, or \{value: 0.004,"),
        ({"weight_decay": -0.1}, r"weight_decay is -0.1: give fixed, a number from 0, or"),
        ({"weight_decay": True}, r"weight_decay is true: give fixed, a number from 0, or"),
        ({"weight_decay": {"value": 0.1, "at": 8}}, r"weight_decay.rate is missing: give the learning rate at which"),
        (
            {"weight_decay": {"value": 9, "at": 8, "rate": 1}},
            r"value times rate is 9, .*: give less",
        ),
        ({"weight_decay": 0.1, "axes__optimizer": "adam"}, r"weight_decay is for adamw.*: list one"),
        ({"axes__weight_decay": [0.1], "axes__optimizer": "adam"}, r"axes.weight_decay is for adamw.*: list one"),
        ({"axes__beta1": ["fixed"], "axes__optimizer": "sgd"}, r"axes.beta1 is for adam and adamw.*: list one"),
        (
            {"axes__weight_decay": [0.1], "weight_decay": 0.1, "axes__optimizer": "adamw"},
            r"weight_decay and axes.weight_decay are both given: put all its values on the axis",
        ),
        ({"axes__weight_decay": ["none"], "axes__optimizer": "adamw"}, r"give fixed, a number from 0, or"),
        ({"axes__weight_decay": [], "axes__optimizer": "adamw"}, r"axes.weight_decay"),
    ],
    ids=str,
)
def test_a_wrong_rule_is_told_its_remedy(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        spec_with(**changes)


def test_axes_of_settings_are_kept_and_their_absence_leaves_the_identity_alone() -> None:
    assert not {"beta1", "weight_decay"} & set(yaml.safe_load(identity.canonical_json(spec_with()))["axes"])
    rules = [0, {"value": 0.004, "at": 32, "rate": 0.001}]
    held = spec_with(axes__optimizer="adamw", axes__weight_decay=rules, axes__beta1="fixed")
    assert identity.stored(identity.canonical_json(held), where="stored") == held
    # Like other axes, they only add trials.
    assert identity.changed(identity.canonical_json(spec_with(axes__optimizer="adamw")), held) == []


def test_beta1_and_weight_decay_are_identity_and_fixed_leaves_it_alone() -> None:
    plain = spec_with(axes__optimizer="adamw")
    assert identity.spec_hash(spec_with(axes__optimizer="adamw", beta1="fixed", weight_decay="fixed")) == (
        identity.spec_hash(plain)
    )
    assert not {"beta1", "weight_decay"} & set(yaml.safe_load(identity.canonical_json(plain)))
    for held, differences in (
        ({"beta1": {"value": 0.9, "at": 32}}, {"beta1.at: (none) -> 32", "beta1.value: (none) -> 0.9"}),
        ({"weight_decay": 0}, {"weight_decay: (none) -> 0.0"}),
        (
            {"weight_decay": {"value": 0.1, "at": 32, "rate": 0.01}},
            {
                "weight_decay.at: (none) -> 32",
                "weight_decay.rate: (none) -> 0.01",
                "weight_decay.value: (none) -> 0.1",
            },
        ),
    ):
        spec = spec_with(axes__optimizer="adamw", **held)
        assert parse(identity.canonical_json(spec), where="stored") == spec
        assert set(identity.changed(identity.canonical_json(plain), spec)) == differences


def test_an_average_is_identity_and_none_leaves_it_alone() -> None:
    plain, held = spec_with(), spec_with(average={"examples": 500})
    assert "average" not in yaml.safe_load(identity.canonical_json(plain))
    assert parse(identity.canonical_json(held), where="stored") == held
    assert identity.changed(identity.canonical_json(plain), held) == ["average.examples: (none) -> 500"]
    with pytest.raises(InputError, match=r"average.examples is 0: give a whole number of examples from 1 to"):
        spec_with(average={"examples": 0})


def test_words_about_a_study() -> None:
    spec = spec_with(description="does 256 cost quality?", tags="tickets")
    assert (spec.description, spec.tags) == ("does 256 cost quality?", ("tickets",))
    for wrong in (["a,b"], [" a"], ["x" * 41], ["\x1b[2J"], ["a", "a"], [3], [str(number) for number in range(21)]):
        with pytest.raises(InputError, match="tags"):
            spec_with(tags=wrong)
    with pytest.raises(InputError, match="why it is run, in at most 2000 characters"):
        spec_with(description="x" * 2001)

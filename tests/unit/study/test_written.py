"""A study written as YAML: the same study is read from it, whatever its values look like."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.study.spec import StudySpec, load, parse
from cluster.study.written import written
from tests.unit.test_readme import ROOT

MINIMAL: dict[str, Any] = {
    "study": "wiki",
    "data": "prepared",
    "task": "classification",
    "axes": {"global_batch": [16, "full"], "learning_rate": 0.001, "seeds": 2},
    "budget": {"epochs": 10},
}
NOTES = {key: f"what {key} is" for key in ("study", "budget", "axes.seeds", "axes.learning_rate", "margin")}


def spec_of(**changes: Any) -> StudySpec:
    return parse(json.dumps(MINIMAL | changes), where="test")


@pytest.mark.parametrize(
    "changes",
    [
        {
            "protocol": {},
            "margin": {"validation_loss": 1.0},
            "target": "auto",
            "axes": {**MINIMAL["axes"], "learning_rate": {"around": 0.1, "at": 8, "rule": "sqrt", "points": 3}},
        },
        {
            "protocol": {"looks": [5, 9]},
            "axes": {**MINIMAL["axes"], "learning_rate": [1e-5, 0.5, 1e9], "seeds": [7, 3]},
        },
        {"budget": {"16": {"epochs": 1.5}, "full": {"updates": 40}}, "evaluate_every": {"updates": 3}},
        {
            "axes": {
                **MINIMAL["axes"],
                "seeds": list(range(100, 300)),
                "weight_decay": ["fixed", {"value": 0.1, "at": 8, "rate": 0.01}],
                "optimizer": "adamw",
            }
        },
        {"resources": {"workers": {"1": 1, "512": 4}, "memory_gib": 2}, "model": {"factory": "my.models:build"}},
    ],
)
def test_the_same_study_is_read_again(changes: dict[str, Any]) -> None:
    spec = spec_of(**changes)
    text = written(spec, above=["one: two", ""], beside=NOTES, below=["- three"])
    assert parse(text, where="test") == spec
    assert "# what axes.seeds is" in text
    assert text.startswith("# one: two\n#\n")


@settings(max_examples=40)
@given(data=st.text(min_size=1, max_size=8), study=st.from_regex(r"\A[A-Za-z0-9-]{1,6}\Z"))
def test_texts_are_quoted_where_yaml_would_read_something_else(data: str, study: str) -> None:
    fields = {"data": data, "study": study}
    try:
        spec = spec_of(**fields)
    except ValueError:
        return
    assert parse(written(spec, beside=NOTES), where="test") == spec


@pytest.mark.parametrize("text", ["1e3", "0o17", "no", "0123", "1-2", "null", "1-30"])
def test_a_text_that_looks_like_something_else_stays_a_text(text: str) -> None:
    assert parse(written(spec_of(study=text, data=text)), where="test") == spec_of(study=text, data=text)


def test_defaults_are_left_out_and_whole_numbers_written_as_such() -> None:
    assert written(spec_of()).splitlines() == [
        "study: wiki",
        "data: prepared",
        "task: classification",
        "axes:",
        "  global_batch: [16, full]",
        "  learning_rate: [0.001]",
        "  seeds: 2",
        "budget: {epochs: 10}",
    ]


@pytest.mark.parametrize("file", sorted((ROOT / "deploy" / "examples").rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_is_read_again(file: Any) -> None:
    spec = load(file)
    assert parse(written(spec, beside=NOTES), where="test") == spec

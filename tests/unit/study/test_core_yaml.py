"""YAML is read by the core schema of version 1.2; what can be read in two ways is refused with its key."""

import contextlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.fleet import spec as fleet
from cluster.study import core_yaml, identity
from cluster.study import spec as study
from trainer.errors import InputError

STUDY = """
study: columns
data: out
task: classification
axes:
  global_batch: [16, 32]
  learning_rate: 0.01
  seeds: [7, 8]
budget: {epochs: 1}
"""


def values(text: str) -> Any:
    return core_yaml.values(text, where="s.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((word, word) for word in ("yes", "Yes", "no", "NO", "on", "On", "off", "y", "n", "<<", "=")),
        *((word, word) for word in ("2024-01-02", "2024-13-45", "08e", "1e", "12ab", "1.2.3", "::1")),
        *((word, True) for word in ("true", "True", "TRUE")),
        *((word, False) for word in ("false", "False", "FALSE")),
        *((word, None) for word in ("null", "Null", "NULL", "~")),
        *(("0", 0), ("-7", -7), ("+12", 12), ("0x1F", 31), ("0o17", 15)),
        *(("1e-3", 0.001), ("1E3", 1000.0), (".5", 0.5), ("1.", 1.0), ("-2.5e+1", -25.0), ("0.5", 0.5)),
        *((".inf", math.inf), ("-.INF", -math.inf), ("'016'", "016"), ('"1:30"', "1:30"), ("'no'", "no")),
        ('"\\ud83d\\ude00"', "\U0001f600"),
    ],
)
def test_a_scalar_is_what_it_looks_like(text: str, value: object) -> None:
    found = values(f"a: {text}")["a"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "number", ["016", "008", "-07", "+010", "00", "1:30", "12:30:45", "1_000", "0b101", "0x1_F", "1:5.5"]
)
def test_a_number_with_two_readings_is_refused_with_its_key(number: str) -> None:
    for text, key in ((f"a:\n  b: [1, {number}]", "a.b[1]"), (f"{number}: 1", "this")):
        with pytest.raises(InputError) as caught:
            values(text)
        assert f"{key} is {number}, which YAML 1.1 and 1.2 read differently" in str(caught.value)
        assert "line" in str(caught.value)
        assert str(caught.value).endswith("without leading zeros, underscores or colons, or quote it")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: !!int ''", "a has the tag tag:yaml.org,2002:int, which is not read: leave it out"),
        ("a: !!bool maybe", "a has the tag"),
        ("a: !!timestamp nope", "a has the tag"),
        ("a: [!!float x]", "a[0] has the tag"),
        ("a: !!binary '='", "a has the tag"),
        ("a: !mine {b: 1}", "a has the tag !mine"),
        ("a: ! 1", "a has the tag"),
        ("a: 0x" + "f" * 5000, "a is a number of 5,002 characters: give a shorter one"),
        ("a: " + "9" * 5000, "a is a number of 5,000 characters"),
        ('a: "\\ud800"', "a holds half a surrogate pair"),
        ('a: "x\\0y"', "a contains the character NUL"),
        ("a: {1: 1, 0x1: 2}", "the key 1 appears twice: remove one"),
        ("a: {1: 1, 1.0: 2}", "the key 1.0 appears twice"),
        ("a: {b: 1, b: 2}", "the key 'b' appears twice"),
        ("? [1]\n: 2", "a key is a list or has keys itself: name it"),
        ("a: &x 1\nb: *x", "b is an alias (*name), which is not read"),
        ("a: " + "{a: " * 30 + "}" * 30, "is nested more than 20 deep"),
        ("a: " + "[" * 100_000, "is nested more than 20 deep"),
        ("- " * 5000, "is nested more than 20 deep"),
        ('a: "\\UFFFFFFFF"', "is not YAML"),
        ("a: 1\n---\nb: 1", "found another document"),
        ("a: '" + "x" * 10_000, "while scanning|found unexpected end of stream"),
        ("{" + "x" * 900 + ": 1, " + "x" * 900 + ": 1}", "appears twice"),
    ],
    ids=lambda text: text[:30],
)
def test_what_cannot_be_read_is_one_line_with_the_place(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        values(text)
    message = str(caught.value)
    assert any(part in message for part in said.split("|")), message
    assert message.startswith("s.yaml")
    assert "\n" not in message
    assert len(message) < 500


@pytest.mark.slow
@settings(deadline=None, max_examples=500)
@given(
    st.lists(
        st.text(max_size=4)
        | st.sampled_from([*"[]{}:,-?&*!|>'\"%@`#\n ", "!!int", ": ", "- ", "\\x", "0x", "<<", "---"])
    )
)
def test_no_text_gives_anything_but_values_or_an_input_error(parts: list[str]) -> None:
    with contextlib.suppress(InputError):
        values("".join(parts))


# YAML takes a key of at most 1,024 characters for one, and JSON may write one of them as twelve.
KEY = 80


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=KEY), inner, max_size=3),
        max_leaves=6,
    )
)
def test_json_is_read_as_what_it_says(value: Any) -> None:
    if "\\u0000" not in json.dumps(value):
        assert values(json.dumps(value)) == value


def test_a_study_in_neat_columns_is_refused_instead_of_run_with_other_batches() -> None:
    with pytest.raises(InputError, match=r"s\.yaml line 6, column 18: axes\.global_batch\[0\] is 016, which"):
        study.parse(STUDY.replace("[16, 32]", "[016, 032]"), where="s.yaml")
    with pytest.raises(InputError, match=r"axes\.seeds\[0\] is 007, which"):
        study.parse(STUDY.replace("[7, 8]", "[007, 010]"), where="s.yaml")


def test_a_text_is_a_text_where_text_is_wanted_and_no_boolean_where_one_is() -> None:
    assert study.parse(STUDY.replace("columns", "on"), where="s.yaml").study == "on"
    assert study.parse(STUDY.replace("columns", "2024-01-02"), where="s.yaml").study == "2024-01-02"
    with pytest.raises(InputError, match=r'model\.bidirectional is "yes": give true or false'):
        study.parse(STUDY + "model: {bidirectional: yes}", where="s.yaml")
    assert fleet.parse("fleet: no\nregion: us-east-1", where="f.yaml").fleet == "no"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("most_machines: 010", "most_machines is 010, which YAML 1.1 and 1.2"),
        ("most_machines: true", "most_machines is true: give a whole number"),
        ('most_machines: "4"', 'most_machines is "4": give a whole number'),
        ("spot: no", 'spot is "no": give true'),
        ("spot: 1", "spot is 1: give true"),
        ("deadline_hours: 1:30", "deadline_hours is 1:30, which"),
        ("region: eu-west-1", "'region' appears twice"),
    ],
)
def test_a_fleet_is_read_as_strictly_as_a_study(line: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        fleet.parse(f"fleet: wiki\nregion: us-east-1\n{line}", where="f.yaml")
    assert said in str(caught.value)


def test_one_instance_type_may_stand_for_a_list() -> None:
    found = fleet.parse("fleet: wiki\nregion: us-east-1\ninstance_types: g5.xlarge", where="f.yaml")
    assert found.instance_types == ("g5.xlarge",)


def test_what_is_empty_is_told_its_own_keys() -> None:
    with pytest.raises(InputError, match=r"f\.yaml is empty: give at least fleet and region"):
        fleet.parse("# nothing", where="f.yaml")
    with pytest.raises(InputError, match=r"f.yaml is \[1\]: give keys with values, such as `fleet: my-fleet`"):
        fleet.parse("- 1", where="f.yaml")


@pytest.mark.parametrize("module", [study, fleet])
def test_a_file_that_cannot_be_one_is_one_line(tmp_path: Path, module: Any) -> None:
    kind = module.__name__.split(".")[1]
    (tmp_path / "long.yaml").write_text("#" * (2**20 + 1))
    (tmp_path / "latin.yaml").write_bytes(b"study: caf\xe9")
    for path, said in [
        (tmp_path / "long.yaml", "is longer than 1 MiB"),
        (tmp_path / "latin.yaml", "is not UTF-8 text"),
        (tmp_path / "none.yaml", "does not exist"),
        (tmp_path, r"cannot be read \(Is a directory\)"),
        ("a\0b", "is not a path"),
        ("x" * 5000, "cannot be read"),
        ("/dev/zero", "is longer than 1 MiB"),
    ]:
        with pytest.raises(InputError, match=f"{said}.*: give the path of a {kind}'s YAML file"):
            module.load(path)


@pytest.mark.slow
def test_very_many_problems_and_very_long_keys_are_a_few_lines() -> None:
    keys = "\n".join(f"{'k' * 300}{number}: {{x: {'y' * 300}}}" for number in range(2_000))
    with pytest.raises(InputError) as caught:
        study.parse(STUDY + keys, where="s.yaml")
    lines = str(caught.value).splitlines()
    assert len(lines) == 21
    assert max(map(len, lines)) < 600
    assert lines[-1] == "s.yaml: 1980 more problems: correct these first"
    with pytest.raises(InputError) as caught:
        study.parse(
            STUDY + "model:\n  factory: a:b\n" + "".join(f"  key{n}: 1\n" for n in range(5_000)), where="s.yaml"
        )
    assert len(str(caught.value)) < 600


def test_a_stored_spec_with_any_text_is_read_back() -> None:
    spec = study.parse(STUDY.replace("data: out", 'data: "\U0001f600/no/1:30/016"'), where="s.yaml")
    assert identity.stored(identity.canonical_json(spec), where="stored") == spec
    assert study.parse(identity.whole_json(spec), where="whole") == spec

"""Specs of studies and fleets: made from the schema, and valid ones with a part of their text exchanged.

What is accepted is read back the same from its stored form, and has trials and a plan of finite numbers.
"""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import yaml

from cluster.fleet import spec as fleet
from cluster.plan import as_json, text
from cluster.plan.planned import planned
from cluster.study import axes, identity, spec
from cluster.study.capacity import Capacity
from cluster.study.preflight import examine
from tests.conftest import write_prepared
from tests.fuzz.damage import NASTY
from tests.fuzz.engine import Try, check
from trainer.trial import DTYPES, OPTIMIZERS, SCHEDULES, TASKS

ROOT = Path(__file__).parents[2]
MOST_TRIALS = 300
ROWS = 4096
SMALL = """
study: small
data: here
task: classification
model: {embedding_units: 6, lstm_units: 5, layers: 1}
axes:
  global_batch: [4, 17, full]
  learning_rate: {around: 0.01, at: 16, rule: sqrt, points: 3, factor: 3}
  optimizer: [adam, adamw]
  seeds: 3
budget: {epochs: 2}
evaluate_every: {examples: 20}
beta2: {value: 0.99, at: 16}
clip_norm: 1.5
warmup: {examples: 10}
target: {validation_loss: 0.9}
margin: {validation_loss: 0.05}
resources: {workers: {1: 1, 17: 2}, lanes: 1, cpus_per_worker: 0.5, memory_gib: 4}
checkpoint_every_seconds: 30
"""
DURATIONS = ({"epochs": 2}, {"epochs": 0.5}, {"updates": 5}, {"examples": 40}, {"seconds": 30})
BATCHES = ([4, 17, "full"], 8, [1], [16, 32], ["full"])
# What the schema does not describe, because a person may write it in several forms.
KNOWN: dict[str, tuple[Any, ...]] = {
    "study": ("wiki", "A-1", "x" * 64),
    "task": (*TASKS, "classification", "classification"),
    "optimizer": (*OPTIMIZERS, list(OPTIMIZERS)),
    "dtype": (*DTYPES, ["float32", "float64"]),
    "schedule": SCHEDULES,
    "rule": ("sqrt", "linear", "none"),
    "learning_rate": (0.01, [0.001, 0.01, 0.1], {"around": 0.01, "at": 16, "rule": "sqrt", "points": 3}),
    "seeds": (2, [0, 7]),
    "value": (0.9, 0.01),
    "rates": ("fitted", "best_of_grid"),
    "looks": ("auto", "none", [3, 5]),
    "global_batch": BATCHES,
    "budget": (*DURATIONS, {4: {"epochs": 1}, 17: {"updates": 3}, "full": {"epochs": 2}}),
    "evaluate_every": DURATIONS,
    "model": ({}, {"lstm_units": 4}, {"layers": 2, "bidirectional": True, "dropout": 0.5}, {"factory": "mine:build"}),
    "fleet": ("wiki", "a-1"),
    "region": ("us-east-1", "eu-central-1"),
    "head_type": ("m7i.large",),
    "instance_types": (["g5.xlarge"], "g6.xlarge"),
    "image": ("repo/name:1",),
    "ssh_from": ("203.0.113.4/32", "0.0.0.0/0"),
    "read_buckets": (["my-bucket"], []),
    "kms_keys": ([],),
    "alarm_email": ("a@b.c",),
}
_TOKENS = """
016 0x1F 0o17 1:30 1_000 1e3 .5 5. ~ no yes on null .inf -.nan 1e400 2001-01-01 !!int '' "\\ud800" &a *a
"""
SCALARS = (
    *_TOKENS.split(),
    *(
        "[]",
        "{}",
        "[1, 1]",
        "{a: 1, a: 2}",
        "- 1",
        "|",
        ">",
        "%YAML 1.1",
        "---",
        "...",
        "\t",
        "# x",
        "?",
        "? 1",
        "<<: {a: 1}",
    ),
    *(
        "[" * 30,
        "{a: " * 30,
        "9" * 400,
        "full",
        "auto",
        "adamw",
        "'0'",
        "-1",
        "0",
        "5e-324",
        "1e-40",
        "2 3",
        "\x85",
        "\ufeff",
    ),
)


@contextmanager
def studies(folder: Path) -> Iterator[Try]:
    """Studies of a small data set: parsed, expanded, and some planned."""
    write_prepared(folder / "data")
    examples = [path.read_text() for path in sorted((ROOT / "deploy" / "examples").rglob("*.yaml"))]
    examples = [_here(example, folder) for example in [*examples, SMALL, SMALL]]
    schema = spec.StudySpec.model_json_schema()

    def attempt(draw: Random) -> bool:
        if draw.random() < 0.5:
            values = dict(_of_type(schema, schema, draw)) | {
                "data": str(folder / "data"),
                "summary": str(folder / "summary"),
            }
            content = json.dumps(values) if draw.random() < 0.5 else yaml.safe_dump(_plain(values), allow_unicode=True)
        else:
            content = _mutated(draw.choice(examples), draw)
        study = spec.parse(content, where="STUDY.yaml")
        _check_study(study, draw, folder)
        return True

    yield attempt


@contextmanager
def fleets(folder: Path) -> Iterator[Try]:
    """Fleets."""
    example = (ROOT / "deploy" / "fleet.yaml").read_text()
    schema = fleet.FleetSpec.model_json_schema()

    def attempt(draw: Random) -> bool:
        content = json.dumps(_of_type(schema, schema, draw)) if draw.random() < 0.5 else _mutated(example, draw)
        found = fleet.parse(content, where="fleet.yaml")
        again = fleet.parse(json.dumps(found.model_dump(mode="json")), where="again")
        check(again == found, f"{found} is read back as {again}")
        return True

    yield attempt


def _check_study(study: spec.StudySpec, draw: Random, folder: Path) -> None:
    again = identity.stored(identity.canonical_json(study), where="again")
    check(identity.spec_hash(again) == identity.spec_hash(study), f"{study} is read back as {again}")
    if len(study.axes.seeds) * len(study.axes.global_batch) * len(axes.settings_of(study)) > MOST_TRIALS:
        return
    found = axes.trials(study, data_hash="d", train_rows=ROWS)
    check(len({trial.trial_id for trial in found}) == len(found), "two trials have one identity")
    local = study.data == str(folder / "data") and getattr(study.model, "factory", None) is None
    if not local or len(found) > MOST_TRIALS or draw.random() > 0.3:
        return
    plan = planned(examine(study, Capacity(cpus=4.0, gpus=1.0)), calibrated=False, tell=lambda share: None)
    for outlook in (plan.low, plan.expected, plan.high):
        check(math.isfinite(outlook.seconds) and outlook.seconds >= 0, f"a plan of {outlook.seconds} s")
    shown = text.to_text(plan, width=100) + json.dumps(as_json.to_json(plan), allow_nan=False)
    check("\x1b" not in shown and " nan" not in shown, shown)


def _here(example: str, folder: Path) -> str:
    values = yaml.safe_load(example)
    lines = [line for line in example.splitlines() if not line.startswith(("data:", "summary:"))]
    return "\n".join([*lines, f"data: {folder / 'data'}", f"summary: {folder / 'summary'}"]) if values else example


def _mutated(text: str, draw: Random) -> str:
    """A text of YAML with one to three parts exchanged."""
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        lines = text.split("\n")
        at = draw.randrange(len(lines))
        how = draw.randrange(7)
        if how == 0:
            del lines[at]
        elif how == 1:
            lines.insert(draw.randrange(len(lines) + 1), lines[at])
        elif how == 2:
            lines[at] = " " * draw.choice((1, 2, 4)) + lines[at]
        elif how == 3 and ":" in lines[at]:
            lines[at] = f"{lines[at].partition(':')[0]}: {draw.choice(SCALARS)}"
        elif how == 4:
            words = lines[at].split(" ")
            words[draw.randrange(len(words))] = draw.choice(SCALARS)
            lines[at] = " ".join(words)
        elif how == 5:
            return text[: draw.randrange(len(text) + 1)] + draw.choice(SCALARS) + text[draw.randrange(len(text) + 1) :]
        else:
            digits = [place for place, letter in enumerate(lines[at]) if letter.isdigit()]
            if digits:
                place = draw.choice(digits)
                lines[at] = lines[at][:place] + draw.choice("0123456789.-e_:x") + lines[at][place + 1 :]
        text = "\n".join(lines)
    return text


def _like(node: Any, schema: Any, draw: Random, key: str = "") -> Any:
    """A value for `key` that a JSON schema describes, or sometimes another one."""
    if draw.random() < 0.015:
        return draw.choice(NASTY)
    if key in KNOWN and draw.random() < 0.95:
        return draw.choice(KNOWN[key])
    if "$ref" in node:
        return _like(schema["$defs"][node["$ref"].rpartition("/")[2]], schema, draw)
    if "anyOf" in node:
        return _like(draw.choice(node["anyOf"]), schema, draw)
    if "enum" in node or "const" in node:
        return draw.choice(node.get("enum", [node.get("const")]))
    return _of_type(node, schema, draw)


def _of_type(node: Any, schema: Any, draw: Random) -> Any:
    kind = node.get("type")
    if kind == "object" and "properties" in node:
        wanted = [name for name in node["properties"] if name in node.get("required", ()) or draw.random() < 0.25]
        return {name: _like(node["properties"][name], schema, draw, name) for name in wanted}
    if kind == "array":
        items = node.get("items") or (node.get("prefixItems") or [{}])[0]
        return [_like(items, schema, draw) for _ in range(draw.choice((1, 1, 2, 3, node.get("minItems", 0))))]
    if kind in ("integer", "number"):
        least = node.get("minimum", node.get("exclusiveMinimum", 0))
        most = node.get("maximum", node.get("exclusiveMaximum", 1e9))
        numbers = [least, most, (least + most) / 2, 1, 2, 0.01, 16, 17, least - 1, most + 1]
        number = draw.choice(numbers if draw.random() < 0.4 else [1, 2, 3, 5, 16])
        return int(number) if kind == "integer" else number
    if kind == "boolean":
        return draw.random() < 0.5
    return draw.choice(("wiki", "full", "auto", "fixed")) if kind == "string" else None


def _plain(value: Any) -> Any:
    """A value without what YAML cannot hold as it is."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_plain(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value

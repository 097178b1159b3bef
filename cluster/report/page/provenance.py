"""How a study was measured: data, model, layout, machines, versions and hashes, and its spec."""

import json
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from cluster.report.duration import duration
from cluster.report.page.facts import Facts
from cluster.report.page.markup import Markup, join, tag
from cluster.report.page.scales import value_text
from cluster.report.page.tables import data_link


def section(facts: Facts) -> Markup:
    """A list of everything that the numbers depend on, and the spec as YAML."""
    pairs = [(name, value) for name, value in _pairs(facts) if value]
    listed = (tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs)
    spec = spec_yaml(facts)
    return join(
        [
            tag("dl", *listed, class_="facts"),
            tag(
                "details",
                tag("summary", "The study's spec"),
                tag("p", data_link(spec.encode(), "application/yaml", f"{facts.study}.yaml", f"{facts.study}.yaml")),
                tag("pre", spec, tabindex="0", role="region", aria_label="The study's spec as YAML"),
            ),
        ]
    )


def spec_yaml(facts: Facts) -> str:
    """The newest spec as a study's YAML file."""
    text: str = yaml.safe_dump(_spec(facts), sort_keys=False, default_flow_style=None, width=100)
    return text


def _spec(facts: Facts) -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(facts.specs["spec_json"][-1].as_py())
    first = [key for key in ("study", "data", "summary", "task", "model", "axes", "budget") if key in spec]
    return {key: spec[key] for key in (*first, *sorted(set(spec) - set(first))) if spec[key] is not None}


def _pairs(facts: Facts) -> Iterable[tuple[str, str]]:
    newest, trials, spec = facts.specs.to_pylist()[-1], facts.trials, _spec(facts)
    rows = newest["train_rows"]
    yield "data", f"{newest['data'] or spec['data']}{f', {rows:,} training rows' if rows else ''}"
    yield "data hash", newest["data_hash"] or ""
    yield "task", facts.task or ""
    yield (
        "model",
        ", ".join(f"{key.replace('_', ' ')} {_plain(value)}" for key, value in (spec.get("model") or {}).items()),
    )
    yield "budget", _plain(spec.get("budget"))
    yield "evaluated every", _plain(spec.get("evaluate_every"))
    yield "layout", _layout(trials)
    yield "machines", _machines(trials)
    yield "LSTM computed by", _kinds(trials, "kernel_path")
    yield "versions", _versions(trials, newest)
    yield "largest difference between layouts (gradient, relative)", _check(trials)
    yield "time", _time(trials)
    yield "cost", _cost(trials)
    yield "spec", f"{newest['spec_hash']}, declared {newest['declared_at'] or newest['started_at']:%Y-%m-%d %H:%M} UTC"


def _kinds(trials: pa.Table, name: str) -> str:
    return ", ".join(sorted(f"{value}" for value in pc.unique(trials[name]).to_pylist() if value is not None))


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(
            f"{amount:g} {unit}" if isinstance(amount, int | float) else f"{unit}: {_plain(amount)}"
            for unit, amount in value.items()
        )
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else f"{value}"


def _layout(trials: pa.Table) -> str:
    workers, sizes = _kinds(trials, "workers"), sorted({size for size in trials["micro_batch"].to_pylist() if size})
    rows = f"{', '.join(map(str, sizes))} rows" if sizes else ""
    return f"workers: {workers}; micro-batches of {rows}" if workers and rows else ""


def _machines(trials: pa.Table) -> str:
    kinds = [_kinds(trials, name) for name in ("device", "gpu_name", "node_type", "market", "region")]
    return ", ".join(dict.fromkeys(kind for kind in kinds if kind))


def _versions(trials: pa.Table, newest: dict[str, Any]) -> str:
    own = _kinds(trials, "code_version") or newest["code_version"] or ""
    tensorflow = _kinds(trials, "tensorflow_version")
    return ", ".join(filter(None, [own and f"batchscope {own}", tensorflow and f"TensorFlow {tensorflow}"]))


def _check(trials: pa.Table) -> str:
    worst = pc.max(trials["gradient_check"]).as_py()
    return "" if worst is None else f"{worst:.2g}"


def _time(trials: pa.Table) -> str:
    names = ("training", "evaluating", "starting", "saving", "waiting")
    sums = {name: pc.sum(trials[f"seconds_{name}"]).as_py() for name in names}
    return ", ".join(f"{name} {duration(seconds)}" for name, seconds in sums.items() if seconds)


def _cost(trials: pa.Table) -> str:
    known = pc.sum(trials["cost_usd"]).as_py()
    if known is None:
        return "not known: these machines have no known price"
    without = trials["cost_usd"].null_count
    return f"{value_text(known)} usd{f', and that of {without} attempts is not known' if without else ''}"

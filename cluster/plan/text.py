"""A plan as text for a person."""

import shutil
import textwrap
from typing import Any

import pyarrow as pa

from cluster.analysis.counted import counted
from cluster.plan import as_json, work
from cluster.plan.estimate import Point
from cluster.plan.evaluating import hint_from_costs
from cluster.plan.phases import AGAIN, EXTENSION, LOOK
from cluster.plan.planned import Plan
from cluster.prices.instance import LOCAL
from cluster.report.headline import margin_hint
from cluster.study.protocol import CONFIRM
from cluster.text import table
from cluster.text.table import Column

GIB = 2**30
# Below this part, other work is not worth mentioning.
BUSY = 0.2
_COLUMNS = [
    Column("global_batch", ("global batch", "rows")),
    Column("optimizer", ("", "optimizer")),
    Column("dtype", ("", "dtype")),
    Column("trials", ("", "trials")),
    Column("split", ("micro-batches", "(of workers)")),
    Column("updates", ("", "updates")),
    Column("epochs", ("", "epochs"), decimals=2),
    Column("memory", ("worker", "GiB"), decimals=2),
    Column("time", ("a trial takes", "(from - to)")),
]
# The columns that are left out first in a narrow terminal.
_FIRST_TO_GO = ("epochs", "updates")


def terminal_width() -> int:
    """The columns of the terminal; 80 if there is none."""
    return shutil.get_terminal_size().columns


def to_text(plan: Plan, *, width: int) -> str:
    """The plan for a terminal of `width` columns."""
    if plan.finished and not plan.phases:
        said = f"study {plan.study.spec.study} is finished: {counted(plan.finished, 'trial')}, nothing is left"
        return "\n".join(_wrapped(said, width)) + "\n"
    rows = [_row(plan, point) for point in plan.points]
    head, totals = ([line for text in said for line in _wrapped(text, width)] for said in (_head(plan), _totals(plan)))
    return "\n".join([*head, "", *_table(rows, width), "", *totals]) + "\n"


def _table(rows: list[dict[str, Any]], width: int) -> list[str]:
    kinds = {"epochs": pa.float64(), "memory": pa.float64(), "split": pa.string(), "time": pa.string()}
    kinds |= {"optimizer": pa.string(), "dtype": pa.string()}
    found = pa.Table.from_pylist(
        rows, schema=pa.schema([(one.name, kinds.get(one.name, pa.int64())) for one in _COLUMNS])
    )
    usual = ("optimizer", "dtype")
    columns = [one for one in _COLUMNS if one.name not in usual or len({row[one.name] for row in rows}) > 1]
    lines = table.to_text(found, columns).splitlines()
    for gone in _FIRST_TO_GO:
        if max(map(len, lines)) > width:
            columns = [one for one in columns if one.name != gone]
            lines = [
                *table.to_text(found, columns).splitlines(),
                f"({gone} in a wider terminal, or with --format json)",
            ]
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    """A sentence in lines of at most `width`."""
    return textwrap.wrap(text, width, subsequent_indent="  ")


def _row(plan: Plan, point: Point) -> dict[str, Any]:
    row = as_json.point_row(plan, point)
    return row | {
        "split": work.said(row["split"]),
        "memory": row["memory_bytes"] / GIB,
        "time": f"{time_text(point.seconds)} ({time_text(point.seconds_low)} - {time_text(point.seconds_high)})",
    }


def time_text(seconds: float) -> str:
    """Seconds, minutes or hours, with two or three significant digits."""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def _head(plan: Plan) -> list[str]:
    study, placed = plan.study, plan.study.placed
    numbers = sorted(set(study.workers.values()))
    workers = f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else str(numbers[0])
    where = f"{study.capacity.where} ({study.capacity.cpus:g} CPUs"
    where += f", {study.capacity.gpus:g} GPUs)" if study.capacity.gpus else ")"
    trials = f"{plan.expected.trials} trials"
    if plan.finished:
        trials = f"{counted(plan.finished, 'trial')} finished, {plan.expected.trials:,} left"
    lines = [
        f"plan of study {study.spec.study}: {trials}; {placed.lanes} "
        f"lane{'s' * (placed.lanes != 1)} at once, each of {workers} worker{'s' * (workers != '1')} with "
        f"{placed.threads_per_worker} thread{'s' * (placed.threads_per_worker != 1)}, on {where}"
    ]
    if plan.source == "guess":
        why = plan.why_guessed or "nothing was measured"
        good = "" if plan.study.spec.resources.gpus_per_worker else "; right to a factor of two or so"
        lines.append(f"ALL FIGURES OF TIME AND MEMORY ARE GUESSES: {why}{good}")
    elif plan.source == "trials":
        own = ["the study's own trials"] if study.spec.study in plan.measured_in else []
        others = [f"the trials of {name}" for name in plan.measured_in if name != study.spec.study]
        lines.append(f"measured on {' and '.join(own + others)}")
    elif plan.busy > BUSY:
        lines.append(
            f"other work took {plan.busy:.0%} of the machine's time during the calibration: without it, expect "
            "figures nearer to the lower ends"
        )
    elif plan.measured_on is not None:
        lines.append(f"measured on a machine of the cluster, {_kind_of_machine(plan.measured_on)}")
    elif study.capacity.where != "this machine":
        lines.append("measured on this machine: the cluster's machines may be faster or slower")
    return lines + ([placed.note] if placed.note else []) + _memory(plan)


def _kind_of_machine(instance_type: str) -> str:
    return "outside EC2" if instance_type == LOCAL.instance_type else f"a {instance_type}"


def _memory(plan: Plan) -> list[str]:
    """A line on the largest micro-batch that fits; empty without a limit."""
    gib = plan.study.spec.resources.memory_gib
    if gib is None:
        return []

    def most(point: Point) -> int:
        return point.costs.memory.most_rows(limit_bytes=gib * GIB, length=plan.longest)

    least = min(plan.points, key=most)
    rows = min(most(least), plan.study.manifest.splits["train"].rows)
    kind = f"{least.trial.optimizer}, {least.trial.dtype}"
    how = "measured" if least.costs.memory.measured else "a guess"
    return [
        f"within resources.memory_gib {gib:g} the largest micro-batch has {rows:,} row{'s' * (rows != 1)} of "
        f"{plan.longest} tokens ({kind}; {how}); evaluations take as few rows as they must"
    ]


def _totals(plan: Plan) -> list[str]:
    guess = " (guess)" if plan.source == "guess" else ""
    one = plan.expected
    lines = [
        f"in all: {time_text(one.seconds)}, from {time_text(plan.low.seconds)} to {time_text(plan.high.seconds)}"
        f"{guess}; {_money(plan)}",
        f"the first lane starts work after {time_text(one.seconds_starting)}; the lanes' trials take "
        f"{time_text(one.lane_seconds)} together, including {time_text(one.seconds_compiling)} to trace and compile",
    ]
    hints = filter(None, (hint_from_costs(plan.points), margin_hint(plan.study.spec)))
    return lines + _protocol(plan) + [f"hint: {hint}" for hint in hints] + _hints(plan)


def _money(plan: Plan) -> str:
    if not plan.machines:
        return "no price: the cluster's machines are not known"
    expected, low, high = (plan.usd(outlook) for outlook in (plan.expected, plan.low, plan.high))
    if expected is None or low is None or high is None:
        return (
            f"no price: {', '.join(sorted({one.price.source for one in plan.machines if not one.price.usd_per_hour}))}"
        )
    each = ", ".join(
        f"{one.count} x {one.instance.instance_type} {one.instance.market} at {one.price.usd_per_hour:g} usd an hour "
        f"({one.price.source} {one.price.as_of})"
        for one in plan.machines
    )
    return f"{expected:.2f} usd, from {low:.2f} to {high:.2f}: {each}"


def _protocol(plan: Plan) -> list[str]:
    rules = plan.study.spec.protocol
    if rules is None:
        return []
    parts = []
    extensions = [phase for phase in plan.phases if phase.name == EXTENSION]
    if extensions:
        parts.append(
            f"the upper end has {sum(len(phase.trials) for phase in extensions)} more trials, in case best rates are "
            f"at an edge {len(extensions)} times"
        )
    if again := sum(len(phase.trials) for phase in plan.phases if phase.name == AGAIN):
        parts.append(f"and {again} more, in case runs are so noisy that the screen is repeated")
    further = sum(len(phase.trials) for phase in plan.phases if phase.name == LOOK)
    if further:
        first = sum(len(phase.trials) for phase in plan.phases if phase.name == CONFIRM)
        parts.append(
            f"{first} confirmations decide everything at the first look (the lower end), or {further} more follow (the "
            "upper end)"
        )
    if rules.stop_early:
        parts.append("early stopping is expected to save half of what it can, and all of it at the lower end")
    if rules.stop_at_target:
        parts.append("confirmations that reach the target end earlier, which these figures leave out")
    return [f"protocol: {'; '.join(parts)}"] if parts else []


def _hints(plan: Plan) -> list[str]:
    rows = plan.study.manifest.splits["train"].rows
    lines = []
    for batch in sorted({point.trial.global_batch for point in plan.points if point.trial.global_batch != rows}):
        sizes = work.easily_shared(batch, at_most=rows)
        if sizes:
            even = " and ".join(f"{size} ({_counted(work.divides(size))} workers)" for size in sizes)
            lines.append(f"hint: few worker counts divide {batch}; many divide {even}")
    return lines


def _counted(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))

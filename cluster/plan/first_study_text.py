"""The YAML file of a first study: its keys explained, what it takes, and what cannot be concluded from it. Pure."""

import shlex

from cluster.analysis.counted import counted
from cluster.plan.deciding import deciding
from cluster.plan.first_study import FirstStudy, idle_seconds
from cluster.plan.text import BUSY, time_text
from cluster.report.next_commands import aligned
from cluster.study.models import FactoryModel
from cluster.study.written import written

_BESIDE = {
    "data": "the prepared data",
    "summary": "the results of all studies; a folder or s3://bucket/prefix",
    "axes.global_batch": "rows in one update; any numbers, and `full` for all rows",
    "axes.learning_rate": "at B = 32; elsewhere scaled by the root of the batch",
    "axes.seeds": "runs of each: how much is chance?",
    "budget": "equal epochs: a small batch makes more updates",
    "evaluate_every": "validation losses also early on",
}
_BELOW = """
This is a first look. Each batch size has one learning rate, which may suit one and not another, so nothing is proven.
For a verdict, try several rates of each batch size, and declare beforehand which differences matter. In axes:
  learning_rate: {around: 0.004, at: 32, rule: sqrt, points: 5}
  seeds: 14                       # at most: what is decided after 5, 7 or 10 stops there
And at the margin:
protocol: {}                      # tunes the rate of each batch size, then confirms it on fresh seeds
margin: {validation_loss: 0.05}   # the largest difference that does not matter; without one nothing is "equivalent"
target: auto                      # which batch size is there first? or {validation_loss: 0.6}
"""


def first_study_text(found: FirstStudy, *, file: str) -> str:
    """The content of `file`."""
    above = [
        f"Does the batch size change the quality of what {found.spec.data} teaches a model, or only memory and speed?",
        f"{what_it_takes(found)}.",
        what_decides(found),
        "",
        *(f"    {line}" for line in next_commands(found, file=file)),
        "",
        "All keys: cluster/study/README.md",
    ]
    beside = _BESIDE | {
        "model": "your own" if isinstance(found.spec.model, FactoryModel) else "small, so that it takes minutes"
    }
    return written(found.spec, above=above, beside=beside, below=["", *_BELOW.strip().splitlines()])


def what_it_takes(found: FirstStudy) -> str:
    """The trainings and minutes of the study, and where the minutes come from."""
    plan = found.plan
    source = {"guess": "a guess, right to a factor of two or so"}.get(plan.source, f"from a {plan.source}")
    expected = f"about {time_text(plan.expected.seconds)} on this machine"
    if plan.source == "calibration" and plan.busy > BUSY:
        expected = (
            f"about {time_text(idle_seconds(plan))} on this machine when idle, {time_text(plan.expected.seconds)} with "
            f"other work on {plan.busy:.0%} of its processors, as now"
        )
    return (
        f"{counted(plan.expected.trials, 'training')}, {expected} "
        f"(between {time_text(plan.low.seconds)} and {time_text(plan.high.seconds)}; {source})"
    )


def what_decides(found: FirstStudy) -> str:
    """That this study is a first look, and what the one takes that decides."""
    fewest, most, least, longest = deciding(found)
    return (
        f"It proves nothing; `batchscope next` then writes the study that decides: {fewest} to {most} trainings, "
        f"{time_text(least)} to {time_text(longest)}."
    )


def next_commands(found: FirstStudy, *, file: str) -> list[str]:
    """The commands that come next, each with what it does."""
    name, file = found.spec.study, shlex.quote(file)
    commands = {
        f"batchscope plan {file}": "what fits, and how long it takes",
        f"batchscope run {file}": "Ctrl-C saves and stops; the same command goes on",
        f"batchscope report {name} -o {name}.html": f"one page, offline; or: batchscope results {name}",
        f"batchscope next {name} -o next.yaml": "the study that decides what this one leaves open",
    }
    return aligned(commands)

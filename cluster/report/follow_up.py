"""The study that decides what another one left open, as a commented file, and why there is none."""

import shlex

from cluster.analysis.counted import counted
from cluster.analysis.follow_up import FEWEST, PAIRS_OF_A_MARGIN, FollowUp, NoFollowUp
from cluster.report.duration import duration
from cluster.report.next_commands import aligned, summary_option
from cluster.study.written import written

_MARGINS = {
    "declared": "as before; smaller differences do not matter",
    "example": "FILL IN the largest difference that does not matter to you",
}
_SIZES = {False: "as before", True: "some of those before"}


def file_text(found: FollowUp, *, file: str) -> str:
    """The content of `file`: the study, with what it decides, what it takes, and the commands that come next."""
    above = [
        *what_it_decides(found),
        "",
        *(f"    {line}" for line in next_commands(found, file=file)),
        "",
        "All keys: cluster/study/README.md",
    ]
    beside = {
        "axes.global_batch": "the two that are compared" if found.step else _SIZES[bool(found.left_out)],
        "axes.seeds": "fresh: no run has seen them",
        "protocol": "judged once, at the end" if found.step else "tunes the rate of each batch size on other seeds",
        "margin": _MARGINS[found.margin],
        "target": "which batch size is there first?",
    }
    return written(found.spec, above=above, beside=beside)


def what_it_decides(found: FollowUp) -> list[str]:
    """Sentences: what the study decides, and what it takes."""
    seeds, step = len(found.spec.axes.seeds), found.step
    if step is not None:
        others = [batch for batch in found.undecided if batch != step.global_batch]
        also = f" B = {', '.join(map(str, others))}: also undecided, and not in here." if others else ""
        lines = [
            f"What {found.before} left undecided: B = {step.global_batch} against B = {step.reference}.{also}",
            f"{counted(seeds, 'fresh seed')} decide it with a chance of 80 %, given how uncertain the difference is.",
        ]
    else:
        lines = [
            f"{found.before} cannot decide which batch size is better: that takes rates tuned on other seeds and a "
            "margin.",
            f"This study has both. It compares B = {', '.join(map(str, found.undecided))} on at most {seeds} fresh "
            "seeds.",
        ]
    if found.left_out:
        lines.append(f"For want of time it leaves out B = {', '.join(map(str, found.left_out))}.")
    elif step is None and len(found.undecided) > FEWEST:
        lines.append("With `--minutes 10` it is of as many batch sizes as that is enough for.")
    if found.margin == "example":
        lines.append("Its margin is only an example: fill in yours, which does not follow from the data.")
    if found.decidable_margin is not None:
        lines.append(
            f"By the noise of {found.before}, {PAIRS_OF_A_MARGIN} seeds decide a margin of {found.decidable_margin:g} "
            "or more."
        )
    return [*lines, _what_it_takes(found), "More follow where the screen is extended or repeated."]


def _what_it_takes(found: FollowUp) -> str:
    fewest, most = found.trainings
    trainings = counted(most, "training") if fewest == most else f"{fewest:,} to {counted(most, 'training')}"
    if found.seconds is None:
        return f"{trainings}; `batchscope plan` says how long they take."
    least, longest = map(duration, found.seconds)
    took = least if least == longest else f"{least} to {longest}"
    usd = ""
    if found.step is not None and found.step.usd_screen is not None and found.step.usd_seed:
        paid = found.step.usd_screen + len(found.spec.axes.seeds) * found.step.usd_seed
        usd = f" and {paid:,.2f} usd"
    return f"{trainings}; about {took}{usd} by what those of {found.before} took."


def next_commands(found: FollowUp, *, file: str) -> list[str]:
    """The commands that come next, each with what it does."""
    name, file = found.spec.study, shlex.quote(file)
    commands = {
        f"batchscope plan {file}": "what fits, and how long it takes",
        f"batchscope run {file}": "Ctrl-C saves and stops; the same command goes on",
        f"batchscope results {name} --verdict{summary_option(found.spec.summary)}": "what it decided",
    }
    return aligned(commands)


def why_none(found: NoFollowUp, study: str) -> str:
    """The sentence on why no study follows, with a remedy."""
    return {
        "decided": f"nothing is undecided in {study}: every batch size that could be judged is decided",
        "unfinished": f"{study} has not ended ({found.text}): run it to its end first, which may decide it",
        "one_batch": f"{study} has one batch size, {found.text}, so there is nothing to decide: list more of them",
        "no_answer": f"no trial of {study} has completed, so nothing follows from it: `batchscope results {study}` "
        "says why",
        "not_judged": f"more seeds would not decide {study}: {found.text}",
        "out_of_reach": f"what is undecided in {study} (B = {found.text}) would probably not be decided by 200 more "
        "seeds either, since it lies near the margin or runs are too noisy for it: declare another margin in a study "
        "of another name",
    }[found.code]

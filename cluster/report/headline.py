"""What a study is about to do, in the lines printed before it starts: batches, layout, protocol."""

from collections.abc import Collection

from cluster.analysis.counted import counted
from cluster.study.confirming import confirming_seeds
from cluster.study.rules import Protocol
from cluster.study.spec import StudySpec
from cluster.study.study import Study


def headline(study: Study, finished: int, wanted: int) -> str:
    """The batch arithmetic and layout of a study, printed before it starts; it wants `wanted` trials as yet."""
    placed, rows = study.placed, study.manifest.splits["train"].rows
    batches = sorted({trial.global_batch for trial in study.trials})
    sizes = ", ".join(f"{batch} (micro-batches of {study.micro_batches[batch]})" for batch in batches)
    lines = [
        f"study {study.spec.study}: {wanted} trials, {finished} finished before; "
        f"{rows:,} training rows; lanes: {placed.lanes}, workers a lane: {_workers(study)}",
        f"global batches {sizes}",
    ]
    if rules := study.spec.protocol:
        lines.append(
            "protocol: the learning rate is tuned inside each global batch "
            f"({_screens(rules)}), then confirmed on "
            f"{_looks(rules, len(study.spec.axes.seeds))}; more trials where a best rate is at an edge"
        )
        if moved := {seed: other for seed, other in _confirming(study).items() if seed != other}:
            lines.append(f"confirmed on {_seeds(moved.values())} in the place of {_seeds(moved)}, trained before")
    if not study.manifest.verified:
        lines.append(
            f"data {study.spec.data}: prepared by an older version, so its names and splits are unverified; its shards "
            "are verified"
        )
    return "\n".join(lines + ([placed.note] if placed.note else []))


def margin_hint(spec: StudySpec) -> str | None:
    """What a protocol without a margin will not be able to say, before it is run; None for other studies."""
    if spec.protocol is None or spec.margin is not None:
        return None
    return (
        "without a margin no batch size will be said to be as good as another: declare one now, such as `margin: "
        "{validation_loss: 0.05}`, the largest difference that does not matter to you; one declared after the run does "
        "not count"
    )


def _screens(rules: Protocol) -> str:
    """On how many seeds a protocol compares the rates."""
    fewest, most = rules.fewest_screen_seeds, rules.most_screen_seeds
    return counted(fewest, "screen seed") + (f", {most} if runs are noisy" if most > fewest else "")


def _looks(rules: Protocol, most: int) -> str:
    """On how many seeds a protocol confirms, and where what is decided stops."""
    *earlier, last = rules.looks_at(most).seeds
    if not earlier:
        return counted(last, "fresh seed")
    return f"{earlier[0]} to {last} fresh seeds (what is decided after {', '.join(map(str, earlier))} stops there)"


def _seeds(seeds: Collection[int]) -> str:
    return f"seed{'s' * (len(seeds) != 1)} {', '.join(map(str, seeds))}"


def _confirming(study: Study) -> dict[int, int]:
    return confirming_seeds(study.spec.axes.seeds, {*study.screened_on, *study.tried_on})


def _workers(study: Study) -> str:
    """The workers of a lane: one number, or a range."""
    numbers = set(study.workers.values())
    return f"{min(numbers)} to {max(numbers)}" if len(numbers) > 1 else str(*numbers)

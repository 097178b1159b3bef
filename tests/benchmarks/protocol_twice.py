"""A whole protocol study on the bundled articles, run twice with other seeds: its time, and if the verdicts agree.

    python -m tests.benchmarks.protocol_twice [--summary FOLDER]

`wiki_vital.yaml` as it stands, then under another name with seeds from 100 on. A contradiction is a pair of batch sizes
that is equivalent in one verdict and different (worse, better) in the other; pairs are those with the reference of
either study. With `--summary` what is finished there is not run again, and its time is taken from its rows.
"""

import argparse
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from cluster.study.cell import group_of
from tests.benchmarks import setting

STUDY = Path(__file__).with_name("wiki_vital.yaml")
DIFFERENT = {"worse", "better"}


def studies(data: str, summary: str) -> list[dict[str, object]]:
    """The study, and the same on other seeds."""
    first = {**yaml.safe_load(STUDY.read_text()), "data": data, "summary": summary}
    seeds = [100 + seed for seed in range(first["axes"]["seeds"])]
    return [first, {**first, "study": "wiki-vital-again", "axes": {**first["axes"], "seeds": seeds}}]


def outcomes(summary: str, study: str) -> dict[tuple[int, int], str]:
    """What the verdict says of each pair of batch sizes, each study's margin and all its confirmed runs taken.

    Every batch size is taken as the reference in turn: two studies may have chosen different ones.
    """
    from cluster.analysis.asked import specs_of
    from cluster.analysis.cells import cells_of
    from cluster.analysis.quality import against
    from cluster.analysis.refusals import usable
    from cluster.summary import query
    from cluster.summary.store import Summary

    where = Summary(summary)
    studies, trials = query.studies(where, study), query.trials(where, study)
    margin = studies["margin"][-1].as_py()
    specs = specs_of(studies, trials)
    cells = [cell for cell in cells_of(trials, query.evaluations(where, study), specs) if usable(cell)]
    found = {}
    for reference in cells:
        compared = against(cells, {group_of(reference.key): reference.key}, specs, margin)
        for quality in compared.qualities.values():
            found[reference.global_batch, quality.global_batch] = quality.outcome
    return found


def reference_of(summary: str, study: str) -> int | None:
    """The batch size that a study's verdict compares with."""
    from cluster.analysis.verdict import judge
    from cluster.summary import query
    from cluster.summary.store import Summary

    where = Summary(summary)
    tables = query.studies(where, study), query.trials(where, study), query.evaluations(where, study)
    return judge(*tables).groups[0].reference


def contradictions(one: Mapping[tuple[int, int], str], other: Mapping[tuple[int, int], str]) -> list[tuple[int, int]]:
    """The pairs that are equivalent in one and different in the other."""
    both = sorted({tuple(sorted(pair)) for pair in set(one) & set(other)})
    return [
        pair  # type: ignore[misc]
        for pair in both
        for first, second in [(one[pair], other[pair])]  # type: ignore[index]
        if (first == "equivalent" and second in DIFFERENT) or (second == "equivalent" and first in DIFFERENT)
    ]


def minutes(trials: pa.Table) -> float:
    """From the first attempt's start to the last one's end."""
    took = pc.max(trials["ended_at"]).as_py() - pc.min(trials["started_at"]).as_py()
    return float(took.total_seconds() / 60)


def main() -> None:
    """Run both, and print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--summary", metavar="FOLDER", help="keep the results here; a temporary folder if left out")
    options = parser.parse_args()
    from cluster.prepare import prepare
    from cluster.summary import query
    from cluster.summary.store import Summary

    summary = str(Path(options.summary).absolute()) if options.summary else None
    with setting.temporary_home() as home:
        from cluster import articles

        summary = summary or str(home / "summary")
        data = str(home / "data")
        prepare([str(articles.path())], data, text="text", label="label", max_tokens=64, vocabulary=10_000)
        print(setting.machine_line())
        print(setting.describe_data(data))
        names = []
        for number, study in enumerate(studies(data, summary)):
            file, log = home / f"{number}.yaml", home / f"{number}.log"
            file.write_text(yaml.safe_dump(study))
            wall = setting.timed(setting.batchscope("run", file), log=log)
            trials = query.trials(Summary(summary), str(study["study"]))
            names.append(str(study["study"]))
            took = f"{minutes(trials):.1f} min (this command {wall / 60:.1f} min)"
            setting.figure(f"{names[-1]}, {trials.num_rows} trials", took, "<= 40 min")
            print(setting.output(setting.batchscope("results", names[-1], "--summary", summary, "--verdict")))
        print_agreement(summary, names)


def print_agreement(summary: str, names: list[str]) -> None:
    """What both studies say of each pair of batch sizes, and the contradictions."""
    one, other = (outcomes(summary, name) for name in names)
    references = {reference_of(summary, name) for name in names}
    batches = sorted({batch for pair in one for batch in pair})
    for pair in combinations(batches, 2):
        mark = "  <- compared in a verdict" if references & set(pair) else ""
        print(f"B = {pair[0]:>3} and {pair[1]:>3}: {one.get(pair, '-'):<11} {other.get(pair, '-'):<11}{mark}")
    found = contradictions(one, other) or "none"
    setting.figure(f"contradictions among {len(one) // 2} pairs of batch sizes", f"{found}", "none")


if __name__ == "__main__":
    main()

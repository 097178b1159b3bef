"""Four published claims on batch sizes, scaled to the bundled articles: what our verdict says beside what they said.

    python -m tests.benchmarks.replications [NAME ...] [--summary FOLDER]

The studies are those of `deploy/examples/replications`, whose first lines name the paper and what was scaled; their
margins and targets stood there before the first run. With `--summary` what is finished there is not run again.
"""

import argparse
from pathlib import Path

import yaml

from tests.benchmarks import setting
from tests.benchmarks.protocol_twice import minutes

FOLDER = Path(__file__).parents[2] / "deploy/examples/replications"
CLAIMS = {
    "large-batches-generalise": "Keskar et al. 2017: a batch of a tenth of all rows ends worse than a small one",
    "small-batches-are-robust": "Masters and Luschi 2018: 2 to 32 rows are best, over the widest range of rates",
    "more-updates": "Hoffer et al. 2017: at equal updates a large batch ends as well as a small one",
    "steps-to-a-target": "Shallue et al. 2019: updates halve as batches double, up to a batch size; then less and less",
}


def main() -> None:
    """Run those asked for, and print each verdict under its claim."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(CLAIMS)}; all if left out")
    parser.add_argument("--summary", metavar="FOLDER", help="keep the results here; a temporary folder if left out")
    options = parser.parse_args()
    names = options.names or list(CLAIMS)
    if unknown := set(names) - CLAIMS.keys():
        parser.error(f"{', '.join(sorted(unknown))}: give some of {', '.join(CLAIMS)}")
    from cluster import articles
    from cluster.prepare import prepare

    kept = str(Path(options.summary).absolute()) if options.summary else None
    with setting.temporary_home() as home:
        summary, data = kept or str(home / "summary"), str(home / "data")
        prepare([str(articles.path())], data, text="text", label="label", max_tokens=64, vocabulary=10_000)
        print(setting.machine_line())
        print(setting.describe_data(data))
        for name in names:
            _replicate(name, data, summary, home)


def _replicate(name: str, data: str, summary: str, home: Path) -> None:
    from cluster.summary import query
    from cluster.summary.store import Summary

    study = {**yaml.safe_load((FOLDER / f"{name}.yaml").read_text()), "data": data, "summary": summary}
    file = home / f"{name}.yaml"
    file.write_text(yaml.safe_dump(study))
    setting.timed(setting.batchscope("run", file), log=home / f"{name}.log")
    trials = query.trials(Summary(summary), name)
    print(f"\n{CLAIMS[name]}")
    setting.figure(f"{name}, {trials.num_rows} trials", f"{minutes(trials):.1f} min", "<= 30 min")
    print(setting.output(setting.batchscope("results", name, "--summary", summary, "--verdict")))


if __name__ == "__main__":
    main()

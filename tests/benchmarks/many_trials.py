"""A study of 1,000 tiny trials: what each costs its driver, and whether the driver's and the head's memory grow.

    python -m tests.benchmarks.many_trials [--trials 1000] [--lanes 2] [--updates 2]

Ours is `batchscope run` on a local Ray. Driver: the command's own process, which holds Ray Tune; its CPU seconds (user
and system) are counted from the first trial's end to the last one's. Head: the processes that a cluster's head has
besides it (GCS, raylet, lanes, board, Train's controllers), told apart from the workers. Memory is resident, sampled
twice a second; the slope is that of a straight line through the samples after the first fifth of the trials, in which
caches fill. At the end every trial must have its row and its evaluations.
"""

import argparse
import json
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil

from tests.benchmarks import setting

MIB = 2**20
# Trials that ended, the driver's CPU seconds, and the resident bytes of the driver and of the head.
Sample = tuple[int, float, int, int]


def study_yaml(options: argparse.Namespace, data: str, summary: Path) -> str:
    """The study, in the user's format (JSON is YAML)."""
    return json.dumps(
        {
            "study": "many",
            "data": data,
            "summary": str(summary),
            "task": "classification",
            "model": {"embedding_units": 4, "lstm_units": 4},
            "axes": {"global_batch": [8], "learning_rate": [0.001], "seeds": options.trials},
            "budget": {"updates": options.updates},
            "evaluate_every": {"updates": options.updates},
            "resources": {"lanes": options.lanes, "cpus_per_worker": 0.5},
        }
    )


def sample(driver: psutil.Process, rows: Path) -> Sample | None:
    """What is seen now; None once the driver is gone."""
    with suppress(psutil.Error, FileNotFoundError):
        ended = sum(1 for _ in rows.glob("*.parquet"))
        times = driver.cpu_times()
        head = 0
        for process in driver.children(recursive=True):
            with suppress(psutil.Error):
                if "RayTrainWorker" not in " ".join(process.cmdline()):
                    head += process.memory_info().rss
        return ended, times.user + times.system, driver.memory_info().rss, head
    return None


def watch(options: argparse.Namespace, study: Path, rows: Path, log: Path) -> tuple[list[Sample], float]:
    """Run the study: samples from the first trial's end on, and the wall seconds between the first and the last."""
    with log.open("w") as output:
        streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
        process = subprocess.Popen(setting.batchscope("run", study), start_new_session=True, **streams)
        driver, samples, began, ended = psutil.Process(process.pid), [], 0.0, 0.0
        try:
            while process.poll() is None:
                seen = sample(driver, rows)
                if seen is not None and seen[0]:
                    began = began or time.monotonic()
                    if not samples or seen[0] > samples[-1][0]:
                        ended = time.monotonic()
                        samples.append(seen)
                time.sleep(0.5)
        finally:
            setting.end(process)
    if process.returncode:
        raise SystemExit(f"ended with {process.returncode}:\n{log.read_text()[-3000:]}")
    return samples, ended - began


def slope(samples: list[Sample], column: int, trials: int) -> float:
    """MiB for each 1,000 trials, after the first fifth."""
    late = [one for one in samples if one[0] >= trials / 5]
    return float(np.polyfit([one[0] for one in late], [one[column] / MIB for one in late], 1)[0] * 1000)


def main() -> None:
    """Run the study and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    setting.add_data_options(parser, rows=300)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--lanes", type=int, default=2)
    parser.add_argument("--updates", type=int, default=2)
    options = parser.parse_args()
    print(setting.machine_line(), flush=True)
    with setting.temporary_home() as home:
        data = setting.data_folder(options, home)
        print(setting.describe_data(data), flush=True)
        (home / "study.yaml").write_text(study_yaml(options, data, home / "summary"))
        rows = home / "summary" / "trials" / "study=many"
        samples, seconds = watch(options, home / "study.yaml", rows, home / "log")
        report(samples, seconds, options, home)


def report(samples: list[Sample], seconds: float, options: argparse.Namespace, home: Path) -> None:
    """Print the figures, and that the summary is complete."""
    from cluster.summary import query
    from cluster.summary.store import Summary

    first, last = samples[0], samples[-1]
    counted = last[0] - first[0]
    summary = Summary(str(home / "summary"))
    completed = query.states(query.trials(summary, "many"))["completed"]
    evaluated = len(set(query.evaluations(summary, "many")["trial_id"].to_pylist()))
    each = f"{(last[1] - first[1]) / counted * 1000:.1f} ms"
    setting.figure(f"the driver's processor time for each of {counted} trials", each, "<= 100 ms")
    print(f"wall: {seconds / counted * 1000:.0f} ms for each trial on {options.lanes} lanes")
    for name, column in (("driver", 2), ("head", 3)):
        ends = f"{first[column] / MIB:.0f} MiB after the first trial, {last[column] / MIB:.0f} after the last"
        rise = f"{slope(samples, column, options.trials):+.1f} MiB"
        setting.figure(f"memory of the {name}, slope over 1,000 trials ({ends})", rise, "flat")
    setting.figure(
        "trials in the summary, and with their evaluations", f"{completed} and {evaluated}", f"{options.trials}"
    )


if __name__ == "__main__":
    main()

"""What a lane takes on the machine that holds the lanes: `python -m tests.benchmarks.head_memory [--lanes 2 8 16]`.

A study of so many lanes trains on one machine, as on a fleet's head and workers together. When every lane has saved a
checkpoint, the proportional set sizes (PSS, /proc/PID/smaps_rollup) of the processes are summed: of the lanes and what
Ray Train starts for each of them, and of all the rest but the workers, which are elsewhere on a fleet.
"""

import argparse
import subprocess
import time
from collections import Counter
from pathlib import Path

import psutil

from tests.benchmarks import setting
from tests.conftest import write_prepared
from tests.support.studies import write_study

ROOT = Path(__file__).parents[2]
MIB = 2**20
OF_A_LANE = ("ray::ResourceTrainable", "ray::LaneTrainable", "ray::SynchronizationActor", "ray::TrainController")
OF_A_WORKER = ("ray::RayTrainWorker",)
SECONDS = 900.0


def study(folder: Path, lanes: int) -> Path:
    """Trials that never end, one for each lane, each with a small part of a CPU."""
    return write_study(
        folder,
        axes={"global_batch": [17], "learning_rate": 0.01, "seeds": lanes},
        budget={"updates": 10**7},
        evaluate_every={"updates": 10**7},
        checkpoint_every_seconds=1.0,
        resources={"lanes": lanes, "workers": 1, "cpus_per_worker": 0.05},
    )


def measured(folder: Path, lanes: int) -> dict[str, float]:
    """MiB by the kind of process, once all lanes train."""
    file = study(folder, lanes)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(setting.batchscope("run", file), stdout=log, stderr=log, cwd=ROOT)
        try:
            began = time.monotonic()
            while len({path.parent for path in folder.glob("summary/checkpoints/*/*/resume-*.json")}) < lanes:
                if process.poll() is not None or time.monotonic() - began > SECONDS:
                    raise SystemExit(f"not all lanes train:\n{(folder / 'log').read_text()[-2000:]}")
                time.sleep(1.0)
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            return dict(_by_kind(family))
        finally:
            process.terminate()
            process.wait()


def _by_kind(family: list[psutil.Process]) -> Counter[str]:
    found: Counter[str] = Counter()
    for one in family:
        name = " ".join(one.cmdline())
        kind = "lanes" if name.startswith(OF_A_LANE) else "workers" if name.startswith(OF_A_WORKER) else "rest"
        found[kind] += round(one.memory_full_info().pss / MIB)
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lanes", type=int, nargs="+", default=[2, 8, 16])
    options = parser.parse_args()
    print(setting.machine_line())
    print(f"{'lanes':>5}  {'MiB a lane':>10}  {'MiB of the rest':>15}")
    for lanes in options.lanes:
        with setting.temporary_home() as place:
            write_prepared(place / "data")
            found = measured(place, lanes)
            a_lane = found["lanes"] / lanes
            print(f"{lanes:5}  {a_lane:10.0f}  {found['rest']:15.0f}", flush=True)
            setting.figure(f"MiB on the head a lane, with {lanes} lanes", f"{a_lane:.0f}", "<= 300")


if __name__ == "__main__":
    main()

"""A machine is lost in the middle of a trial: work repeated, the rest of the study, and the curve, against no loss.

    python -m tests.benchmarks.machine_loss [--checkpoint-seconds 3] [--seeds 2]

Four nodes of one CPU each (`ray.cluster_utils.Cluster`, each an own raylet) and two lanes: trials of global batch 64
have two workers, on two machines, those of 32 have one. When both have a checkpoint, a machine of the two is killed,
raylet and workers at once. The same study is run on one machine before, undisturbed, with the same numbers of workers:
on another number the last digits of a sum differ, which training can blow up (seen here, in float64, one worker against
two: 1e-16 apart for 76 updates, 5e-12 after 102, 3e-2 after 152, where the gradient's norm passes 5), loss or not.
"""

import argparse
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks import setting

WORKERS = {1: 1, 64: 2}


def study_yaml(options: argparse.Namespace, data: str, summary: Path) -> str:
    """The study, in the user's format (JSON is YAML): one global batch for each number of workers."""
    return json.dumps(
        {
            "study": "loss",
            "data": data,
            "summary": str(summary),
            "task": "classification",
            "model": {"embedding_units": 32, "lstm_units": 32, "dropout": 0.2},
            "axes": {"global_batch": [32, 64], "learning_rate": [0.001], "dtype": ["float64"], "seeds": options.seeds},
            "budget": {"epochs": options.epochs},
            "evaluate_every": {"epochs": 1},
            "checkpoint_every_seconds": options.checkpoint_seconds,
            "resources": {"lanes": 2, "workers": WORKERS},
        }
    )


def disturbed(study: Path, summary: Path, log: Path, options: argparse.Namespace) -> None:
    """Run the study on three machines and kill one that holds a worker of the two-worker trial."""
    from tests.support.clusters import Machines

    machines = Machines(4)
    try:
        with log.open("w") as output:
            command = setting.batchscope("run", study, "--address", machines.cluster.address)
            process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
            try:
                while len({path.parent for path in summary.glob("checkpoints/*/*/resume-*.json")}) < 2:
                    if process.poll() is not None:
                        raise SystemExit(f"ended before the loss:\n{log.read_text()[-2000:]}")
                    time.sleep(0.05)
                # In the middle between two checkpoints.
                time.sleep(options.checkpoint_seconds / 2)
                machines.kill(_of_the_pair(machines.nodes))
                process.wait(timeout=1200)
            finally:
                setting.end(process)
    finally:
        machines.cluster.shutdown()
    if process.returncode:
        raise SystemExit(f"ended with {process.returncode}:\n{log.read_text()[-3000:]}")


def _of_the_pair(nodes: list[Any]) -> Any:
    """A node with a worker of the group of two: its TensorFlow listens for a peer, a lone worker's does not."""
    for node in nodes:
        raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
        for child in raylet.children():
            listening = [one for one in child.net_connections(kind="tcp") if one.status == psutil.CONN_LISTEN]
            if "RayTrainWorker" in " ".join(child.cmdline()) and len(listening) > 1:
                return node
    raise SystemExit("no machine holds a worker of the group of two")


def curve(summary: Path) -> dict[tuple[str, int], float]:
    """The validation loss of each trial at each update."""
    from cluster.summary import query
    from cluster.summary.store import Summary

    rows = query.curves(query.evaluations(Summary(str(summary)), "loss")).to_pylist()
    return {(row["trial_id"], row["update"]): row["validation_loss"] for row in rows}


def main() -> None:
    """Run both sides and print what the loss cost."""
    from cluster.summary import query
    from cluster.summary.store import Summary

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    setting.add_data_options(parser, rows=2000)
    parser.add_argument("--checkpoint-seconds", type=float, default=3.0)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=40)
    options = parser.parse_args()
    print(setting.machine_line(), flush=True)
    with setting.temporary_home() as home:
        data = setting.data_folder(options, home)
        print(setting.describe_data(data), flush=True)
        (home / "calm.yaml").write_text(study_yaml(options, data, home / "calm"))
        setting.timed(setting.batchscope("run", home / "calm.yaml"), log=home / "calm.log")
        (home / "loss.yaml").write_text(study_yaml(options, data, home / "loss"))
        disturbed(home / "loss.yaml", home / "loss", home / "loss.log", options)
        rows = query.trials(Summary(str(home / "loss")), "loss").sort_by("started_at").to_pylist()
        for row in rows:
            shown = {name: row[name] for name in ("global_batch", "seed", "attempt", "state", "workers", "updates")}
            seconds = {name: row[f"seconds_{name}"] for name in ("waiting", "starting", "training", "repeated")}
            clocks = ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items() if value is not None)
            print("  ".join(f"{name} {value}" for name, value in shown.items()), " ", clocks)
        repeated = [row["seconds_repeated"] for row in rows if row["seconds_repeated"] is not None]
        lost = sum(row["state"] == "LOST" for row in rows)
        calm, found = curve(home / "calm"), curve(home / "loss")
        apart = max(abs(found[key] - calm[key]) for key in calm)
        limit = f"<= {options.checkpoint_seconds:g} s, a checkpoint's interval"
        setting.figure(
            f"training repeated after the loss of a machine ({lost} lost attempts)", f"{sum(repeated):.2f} s", limit
        )
        setting.figure(
            f"curves with and without the loss, {len(found)} of {len(calm)} evaluations", f"{apart:.1e}", "<= 1e-4"
        )


if __name__ == "__main__":
    main()

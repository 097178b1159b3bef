"""Plays scenes, each on a region and a laptop of its own, and tells how they went."""

import os
import shutil
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import yaml

from tests.rehearsal import network, region
from tests.rehearsal.day import STUDY, Day
from tests.rehearsal.laptop import Laptop
from tests.rehearsal.scenes import ALL
from tests.rehearsal.side_by_side import HEAD
from tests.support import undisturbed

# What the driver says of its fleet's cost, beside what the region counts.
MOST_APART = 0.05
# As in tests/rehearsal/paced.py, which imports TensorFlow.
PACED = "PACED_SECONDS"


@dataclass(frozen=True)
class Played:
    """How a scene went: why it failed, if it did, how long it took, and what it measured."""

    name: str
    problem: str | None
    seconds: float
    noted: dict[str, float] = field(default_factory=dict)


def play(names: Sequence[str], *, times: int, folder: Path, keep: Path | None) -> int:
    """Play the scenes one after another; returns 0 if all of them went well."""
    network.make()
    expected = _undisturbed(folder)
    print(HEAD, flush=True)
    played = []
    for name in [name for name in names for _ in range(times)]:
        played.append(_play(name, folder / f"{len(played)}-{name}", expected, keep))
        print(_row(played[-1]), flush=True)
    for one in played:
        if one.problem:
            print(f"\n{one.name}: {one.problem}", file=sys.stderr)
    return int(any(one.problem for one in played))


def _play(name: str, folder: Path, expected: dict[tuple[str, int], float], keep: Path | None) -> Played:
    (folder / "laptop").mkdir(parents=True)
    scene, began, problem = ALL[name], time.monotonic(), None
    with region.running(folder) as here:
        laptop = Laptop(folder / "laptop", here.server)
        day = Day(here, laptop, study=scene.study)
        # This process looks at the bucket as the laptop would.
        with mock.patch.dict(os.environ, {key: laptop.environment[key] for key in laptop.environment if "AWS" in key}):
            try:
                day.begin()
                scene.play(day, expected)
                day.end()
                assert day.bills, "no bill was compared"
                for low, high, said in day.bills:
                    wrong = f"said {said}, of {low} to {high} USD"
                    assert low * (1 - MOST_APART) <= said <= high * (1 + MOST_APART), wrong
            except Exception:
                problem = traceback.format_exc()
        if keep is not None:
            _keep(here, folder, keep / folder.name)
    shutil.rmtree(folder, ignore_errors=True)
    return Played(name, problem, time.monotonic() - began, day.noted)


def _undisturbed(folder: Path) -> dict[tuple[str, int], float]:
    """The curves of the study when nothing happens to it, without a Ray."""
    home = folder / "undisturbed"
    home.mkdir()
    laptop = Laptop(home, "http://127.0.0.1:9")
    study = {**STUDY, "data": str(home / "data"), "summary": str(home / "summary")}
    (home / "study.yaml").write_text(yaml.safe_dump(study))
    Day(mock.Mock(), laptop).prepare(study["data"])
    with mock.patch.dict(os.environ, {PACED: "0"}):
        found = undisturbed.curve(home / "study.yaml", home)
    return {(trial, update): loss for trial, update, loss in found}


def _keep(here: region.Region, folder: Path, place: Path) -> None:
    """Copy what commands and machines said."""
    shutil.copytree(folder / "laptop", place / "laptop", dirs_exist_ok=True)
    for machine in here.machines.values():
        shutil.copytree(machine.control, place / machine.instance_id, dirs_exist_ok=True)
        shutil.copy(machine.folder / "boot.log", place / machine.instance_id)


def _row(one: Played) -> str:
    noted = ", ".join(f"{what} {value:.4g}" for what, value in one.noted.items())
    return f"| {one.name} | {'failed' if one.problem else 'as it should'} | {one.seconds:.0f} | {noted} |"

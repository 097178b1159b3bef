"""How a study finds its way through the driver: `python -m tests.benchmarks.walk [--calls]`.

A tiny study is run on this machine (prepared, one trial of two updates, about a minute), and every call of the main
thread that is handed the study is followed: a call one of whose arguments is a StudySpec, a Study or an Opened. A room
is a file. Counted are, in the order of the calls, each function once:

    rooms      files that the study entered
    stays      times it entered one, coming from another
    returns    stays in a file in which it had been before
    climbs     stays in a file whose package stands above that of the file it came from, by the order of layers in
               pyproject.toml (`[tool.importlinter]`)

Another checkout is counted in the same way by calling this file from its folder.
"""

import argparse
import io
import itertools
import sys
import tempfile
import threading
import tomllib
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path.cwd()
FOLLOWED = {"StudySpec", "Study", "Opened"}
STUDY = """
study: walk
data: {folder}/data
summary: {folder}/summary
task: classification
model: {{embedding_units: 4, lstm_units: 4}}
axes: {{global_batch: [16], learning_rate: 0.01, seeds: 1}}
budget: {{updates: 2}}
"""


def layers() -> list[str]:
    """The packages from the top to the bottom."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    order: list[str] = next(one["layers"] for one in contracts if "cluster.cli" in one.get("layers", ()))
    return [*order, "trainer"]


def floor(module: str, order: list[str]) -> int:
    """The number of layers above a module's."""
    found = [place for place, layer in enumerate(order) if module == layer or module.startswith(layer + ".")]
    return found[0] if found else len(order)


class Walk:
    """The calls that were handed a study, in their order: module and function."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self._passed: set[Any] = set()

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        """Take a call of the interpreter's profile."""
        code = frame.f_code
        if event != "call" or code in self._passed or not code.co_filename.startswith(str(ROOT)):
            return
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        if not any(type(frame.f_locals.get(name)).__name__ in FOLLOWED for name in names):
            return
        if code.co_name.startswith("<") or code.co_name.startswith("__"):
            return
        self._passed.add(code)
        self.calls.append((frame.f_globals["__name__"], code.co_name))


def walked() -> Walk:
    """The walk of a study that is run to its end."""
    from cluster.articles import path
    from cluster.cli.run import run_and_watch
    from cluster.prepare import prepare
    from cluster.study.spec import load

    walk = Walk()
    with tempfile.TemporaryDirectory(prefix="batchscope-walk-") as folder:
        prepare([str(path())], f"{folder}/data", text="text", label="label", max_tokens=16, vocabulary=1000)
        file = Path(folder) / "study.yaml"
        file.write_text(STUDY.format(folder=folder))
        spec = load(file)
        with redirect_stdout(io.StringIO()), redirect_stderr(sys.stderr):
            _followed(walk, lambda: run_and_watch(spec))
    return walk


def _followed(walk: Walk, run: Callable[[], object]) -> None:
    assert threading.current_thread() is threading.main_thread()
    sys.setprofile(walk)
    try:
        run()
    finally:
        sys.setprofile(None)


def main() -> None:
    """Print the counts, and with --calls the way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", action="store_true", help="print each call")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    walk, order = walked(), layers()
    stays = [module for place, (module, _) in enumerate(walk.calls) if not place or walk.calls[place - 1][0] != module]
    returns = sum(module in stays[:place] for place, module in enumerate(stays))
    climbs = sum(floor(now, order) < floor(before, order) for before, now in itertools.pairwise(stays))
    if options.calls:
        for module, function in walk.calls:
            print(f"{floor(module, order):3}  {module}:{function}")
    print(f"rooms {len(set(stays))}, stays {len(stays)}, returns {returns}, climbs {climbs}, calls {len(walk.calls)}")


if __name__ == "__main__":
    main()

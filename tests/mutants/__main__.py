"""`python -m tests.mutants [ROOM ...] [--keep FOLDER]`: plant mistakes with mutmut, and list those unnoticed.

It works on a copy of what git knows, and needs mutmut (`pip install mutmut==3.8.1`), which is in no lock file.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

from tests.mutants.rooms import ROOMS, Room
from tests.support.runs import ROOT

MUTMUT = str(Path(sys.executable).with_name("mutmut"))
SURVIVED, NO_TEST = "survived", "no test"
# Exit codes of a mutant's tests, in mutmut's files; any other means that they noticed.
UNNOTICED = {0: SURVIVED, 5: NO_TEST, 33: NO_TEST}
TIMED_OUT = (36, 24, -24, 152, 255)


def main() -> int:
    """Mutate the rooms; 1 if a tenth of the mutants of one went unnoticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help=f"of {', '.join(ROOMS)}; all of them if none")
    parser.add_argument("--keep", type=Path, help="a folder for the diffs of those that survive")
    given = parser.parse_args()
    if unknown := [name for name in given.rooms if name not in ROOMS]:
        parser.error(f"no room {unknown[0]}: choose of {', '.join(ROOMS)}")
    if find_spec("mutmut") is None:
        print("mutmut is missing: pip install mutmut==3.8.1", file=sys.stderr)
        return 3
    poor = False
    print("| room | mutants | noticed | of those, by a hang | survived | without a test | share |\n|" + "---|" * 7)
    for name in given.rooms or ROOMS:
        with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
            codes = _codes(Path(folder), ROOMS[name])
            counted = Counter(UNNOTICED.get(code, "noticed") for code in codes.values())
            hung = sum(code in TIMED_OUT for code in codes.values())
            share = counted["noticed"] / len(codes)
            counts = f"{counted['noticed']} | {hung} | {counted[SURVIVED]} | {counted[NO_TEST]}"
            print(f"| {name} | {len(codes)} | {counts} | {100 * share:.1f} % |", flush=True)
            poor |= share < 0.9
            if given.keep:
                _keep(Path(folder), codes, given.keep / f"{name}.diff")
    return int(poor)


def _codes(folder: Path, room: Room) -> dict[str, int]:
    """The exit code of the tests under each mutant."""
    known = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, known.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    settings = {
        "source_paths": ["trainer/", "cluster/"],
        "only_mutate": list(room.files),
        "pytest_add_cli_args": ["-p", "no:cacheprovider", "--hypothesis-profile", "few", "--hypothesis-seed", "0"],
        "pytest_add_cli_args_test_selection": list(room.tests),
        # Seconds of a processor beyond what the tests take; the wall may take as many times more.
        "timeout_constant": 20.0,
        "timeout_multiplier": 3.0,
        # The product's data files are read beside its modules.
        "also_copy": ["README.md", ".github", "deploy", "Makefile", ".gitignore"],
    }
    with (folder / "pyproject.toml").open("a") as file:
        file.write("\n[tool.mutmut]\n")
        file.writelines(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
    done = subprocess.run(
        [MUTMUT, "run", "--max-children", "1"], cwd=folder, capture_output=True, text=True, check=False
    )
    codes: dict[str, int] = {}
    for meta in (folder / "mutants").rglob("*.meta"):
        codes |= json.loads(meta.read_text())["exit_code_by_key"]
    if not codes or None in codes.values():
        # Without its lines of progress.
        said = [line for line in (done.stdout + done.stderr).splitlines() if not "⠀" <= line[:1] <= "⣿"]
        raise SystemExit("\n".join([f"mutmut ended early with {done.returncode}:", *said[-60:]]))
    return codes


def _keep(folder: Path, codes: dict[str, int], file: Path) -> None:
    """Write the diffs of the mutants that nothing noticed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as kept:
        for name, code in codes.items():
            if code in UNNOTICED:
                shown = subprocess.run([MUTMUT, "show", name], cwd=folder, capture_output=True, text=True, check=False)
                kept.write(f"{UNNOTICED[code]}: {shown.stdout}\n")


if __name__ == "__main__":
    sys.exit(main())

"""`import batchscope` as people use it: README's example, in a program with an event loop and without a main guard."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from cluster.summary import query
from cluster.summary.store import Summary
from tests.support import readme

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("nothing_is_left_behind")]


def test_the_example_of_the_readme_runs_and_prints_nothing_but_what_it_is_told_to(tmp_path: Path) -> None:
    readme.write_what_it_needs(tmp_path)
    cell = (
        f"import asyncio\n\n\nasync def cell():\n{textwrap.indent(readme.example(), '    ')}\n\nasyncio.run(cell())\n"
    )
    (tmp_path / "notebook.py").write_text(cell)
    done = subprocess.run(
        [sys.executable, "notebook.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0].endswith("minutes, from a calibration")
    assert lines[-1] == "2 rows"
    rows = query.trials(Summary(str(tmp_path / "summary")), "my-study").to_pylist()
    assert [row["state"] for row in rows] == ["COMPLETED"] * 2

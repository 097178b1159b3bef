"""The examples are studies and say what they cost; the runbook names commands and files that exist."""

import re
from pathlib import Path

import pytest

from cluster.cli import COMMANDS
from cluster.study import spec

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "deploy/examples").glob("*.yaml"))
REPLICATIONS = sorted((ROOT / "deploy/examples/replications").glob("*.yaml"))
MARK = "<!-- local variant: executed by tests/integration/test_runbook.py -->\n```bash\n"


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_an_example_opens_with_command_time_cost_and_result(file: Path) -> None:
    assert spec.load(file).study == file.stem
    comment = "".join(line for line in file.read_text().splitlines(keepends=True) if line.startswith("#"))
    assert comment.startswith(f"# batchscope submit deploy/examples/{file.name} ")
    assert "Result:" in comment
    assert re.search(r"Time: .* Cost: ", comment) or "Estimated, never run" in comment


@pytest.mark.parametrize("file", REPLICATIONS, ids=lambda file: file.name)
def test_a_replication_names_its_paper_what_was_scaled_and_a_margin_or_target_of_its_own(file: Path) -> None:
    study = spec.load(file)
    comment = "".join(line for line in file.read_text().splitlines(keepends=True) if line.startswith("#"))
    assert study.study == file.stem
    assert comment.startswith(f"# batchscope run deploy/examples/replications/{file.name}\n# Time: ")
    assert re.search(r"\(arXiv:\d{4}\.\d{5}\)", comment)
    assert "Scaled: " in comment
    assert study.protocol is not None
    assert study.margin is not None or study.target is not None


def test_the_runbook_names_what_exists() -> None:
    text = (ROOT / "deploy/RUNBOOK.md").read_text()
    named = set(re.findall(r"^batchscope (\w+)", text, re.MULTILINE))
    assert {"prepare", "submit", "status", "logs", "stop", "results", "export", "fleet"} <= named <= set(COMMANDS)
    files = re.findall(r"(?:deploy|cluster)/[\w/.-]+\.(?:yaml|py)", text)
    assert files
    assert [file for file in files if not (ROOT / file).exists()] == []
    assert text.count(MARK) == 4
    assert "Nothing here has been run on real AWS" in text

"""`batchscope report`, and the plots as files: whole, well-formed, and of the study asked for."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from cluster.cli.report import command
from cluster.report.page.page import charts
from cluster.summary.store import Summary
from tests.simulated import World, spec_of, study
from tests.stored import store
from trainer.errors import InputError


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """A study with a target and a price, without noise scales."""
    return store(tmp_path_factory.mktemp("summary"), study(spec_of(), World()))


def report(study: str, summary: Summary, path: Path) -> Result:
    arguments = [study, "--summary", summary.uri, "-o", str(path)]
    return CliRunner().invoke(command, arguments, standalone_mode=False)


def test_the_page_is_one_file_that_asks_for_nothing(summary: Summary, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    result = report("simulated", summary, path)
    assert result.exception is None
    assert result.stdout == ""
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text)
    assert set(re.findall(r"url\(|@import|https?://[^\"]*", text)) == {"http://www.w3.org/2000/svg"}
    assert " style=" not in text


def test_a_study_that_is_not_there_is_named(summary: Summary, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    result = report("simulate", summary, path)
    assert isinstance(result.exception, InputError)
    assert "simulated" in str(result.exception)
    assert not path.exists()


def test_plots_are_files_of_their_own(summary: Summary) -> None:
    found = charts(summary, "simulated")
    measures = {f"{measure}-to-target" for measure in ("updates", "examples", "seconds", "usd")}
    clocks = ("updates", "examples", "epochs", "seconds")
    over_time = {f"{kind}-{clock}" for kind in ("curves", "ranking") for clock in clocks}
    assert set(found) == measures | over_time | {"loss", "quality", "tradeoff", "rates", "speed", "rank-changes"}
    for name, text in found.items():
        root = ElementTree.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg", name
        assert [child.tag.rpartition("}")[2] for child in root][:3] == ["title", "desc", "style"]
        assert "var(" not in text
        assert len(root.findall(".//{*}text")) > 5

"""`batchscope report`, and the plots as files: whole, well-formed, and of the study asked for."""

import math
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from cluster.cli.report import command
from cluster.report.page.page import charts, page
from cluster.summary.store import Summary
from tests.support.simulated import BATCHES, Tables, World, spec_of, study
from tests.support.stored import changed, store
from trainer.errors import InputError


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """A study with a target and a price, without noise scales."""
    return store(tmp_path_factory.mktemp("summary"), study(spec_of(), World()))


def report(study: str, summary: Summary, path: Path) -> Result:
    arguments = [study, "--summary", summary.uri, "-o", str(path)]
    return CliRunner().invoke(command, arguments, standalone_mode=False)


@pytest.mark.slow
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


def test_a_folder_that_is_not_there_is_named_before_the_page_is_made(
    summary: Summary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(*_: object) -> str:
        raise AssertionError

    monkeypatch.setattr("cluster.report.page.page.page", made)
    place = tmp_path / "missing" / "page.html"
    result = report("simulated", summary, place)
    assert isinstance(result.exception, InputError)
    assert str(result.exception) == f"cannot write {place}: its folder does not exist; choose another place with -o"


@pytest.mark.slow
def test_plots_are_files_of_their_own(summary: Summary) -> None:
    found = charts(summary, "simulated")
    measures = {f"{measure}-to-target" for measure in ("updates", "examples", "seconds", "usd")}
    clocks = ("updates", "examples", "epochs", "seconds")
    over_time = {f"{kind}-{clock}" for kind in ("curves", "ranking") for clock in clocks}
    assert set(found) == measures | over_time | {
        "loss",
        "loss-by-rate",
        "quality",
        "tradeoff",
        "rates",
        "robustness",
        "speed",
        "rank-changes",
    }
    for name, text in found.items():
        root = ElementTree.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg", name
        assert [child.tag.rpartition("}")[2] for child in root][:3] == ["title", "desc", "style"]
        assert "var(" not in text
        assert len(root.findall(".//{*}text")) > 5


def odd(name: str) -> Tables:
    """A study in which something that a chart counts on is not there."""
    if name == "all diverged":
        return study(spec_of(), World(diverging=frozenset(BATCHES)))
    if name == "one batch size, one seed":
        axes = {"global_batch": [32], "learning_rate": 0.01, "seeds": 1}
        return study(spec_of(protocol=None, axes=axes), World(usd_per_second=None))
    studies, trials, evaluations = study(spec_of(), World())
    if name == "losses that are no numbers":
        losses = [math.nan if n % 3 else loss for n, loss in enumerate(evaluations["validation_loss"].to_pylist())]
        return studies, trials, changed(evaluations, validation_loss=losses)
    if name == "evaluated before the first update":
        first = [n == 0 or n % 7 == 0 for n in range(evaluations.num_rows)]
        updates = [0 if begins else n for n, begins in zip(evaluations["update"].to_pylist(), first, strict=True)]
        return studies, trials, changed(evaluations, update=updates)
    if name == "no evaluation":
        return studies, trials, evaluations.slice(0, 0)
    if name == "nothing known of the machine":
        names = ("examples_per_second", "cost_usd", "device", "node_type", "epochs", "test_accuracy")
        return studies, changed(trials, **dict.fromkeys(names)), evaluations
    return changed(studies, train_rows=None), trials.slice(0, 1), evaluations


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "all diverged",
        "one batch size, one seed",
        "losses that are no numbers",
        "evaluated before the first update",
        "no evaluation",
        "nothing known of the machine",
        "one trial",
    ],
)
def test_odd_studies_have_a_page_and_well_formed_plots(tmp_path: Path, name: str) -> None:
    summary = store(tmp_path, odd(name))
    document = page(summary, "simulated")
    assert '<p class="lead">' in document
    for text in charts(summary, "simulated").values():
        ElementTree.fromstring(text)
        assert not re.search(r'="[^"]*\b(?:nan|inf)\b', text)

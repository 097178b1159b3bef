"""A summary from elsewhere chooses neither where an export writes nor what it runs."""

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from cluster.cli.export import command
from cluster.exports.factory import file_of
from cluster.exports.files import part_of_path, write
from cluster.summary.store import Summary
from tests.support import simulated
from tests.support.stored import store
from trainer.errors import InputError

EVIL = ["../../out", "/tmp/out", "..", "a/b", "a\x00b", "a\\..\\b", "x" * 300, "a\nb"]


@pytest.mark.parametrize("name", ["", ".", *EVIL])
def test_a_name_that_leads_elsewhere_is_none(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the summary names"):
        part_of_path(name)
    with pytest.raises(InputError, match="the summary names"):
        write(str(tmp_path / "folder"), [name], [b""], force=False)
    assert list(tmp_path.iterdir()) == []


def test_names_that_people_give_are_kept() -> None:
    for name in ("wiki", "B=16 lr=0.01 adam seed=3", "trials.parquet", "..a", "Prüfung"):
        assert part_of_path(name) == name


@pytest.fixture
def foreign(tmp_path: Path) -> Any:
    """Writes a summary of one trial whose columns are changed, as its readers find it."""

    def make(**columns: str) -> Summary:
        spec = simulated.spec_of(axes={"global_batch": [64], "learning_rate": 0.01, "seeds": 1}, protocol=None)
        summary = store(tmp_path / "summary", simulated.study(spec, simulated.World()))
        for file in Path(summary.uri).rglob("*.parquet"):
            found = pq.read_table(file, partitioning=None)
            for name, value in columns.items():
                if name in found.column_names:
                    column = pa.array([value] * len(found), found.schema.field(name).type)
                    found = found.set_column(found.column_names.index(name), name, column)
            pq.write_table(found, file)
        return Summary(summary.uri)

    return make


@pytest.mark.parametrize("column", ["optimizer", "dtype", "trial_id"])
@pytest.mark.parametrize("value", ["../../../../out", "/../../out", "a/b"])
def test_tensorboard_writes_nothing_outside_its_folder(
    foreign: Any, tmp_path: Path, column: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    summary = foreign(**{column: value})
    before = {path for path in tmp_path.rglob("*") if "summary" not in path.parts}
    done = CliRunner().invoke(
        command, ["simulated", "--to", f"tensorboard:{tmp_path}/logs/deep", "--summary", summary.uri]
    )
    written = {path for path in tmp_path.rglob("*") if "summary" not in path.parts and path.is_file()} - before
    assert all(path.is_relative_to(tmp_path / "logs" / "deep") for path in written)
    assert not any("out" in path.name for path in written)
    # A reader of the summary may have left the row out before.
    assert done.exception is None or isinstance(done.exception, InputError), done.exception


def test_a_summary_runs_a_module_of_the_folder_or_one_that_the_person_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_models.py").write_text("raise AssertionError('imported')\n")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "installed_here.py").write_text("raise AssertionError('imported')\n")
    monkeypatch.syspath_prepend(tmp_path / ".venv")
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    assert file_of("my_models:build", agreed=None) == str(tmp_path / "my_models.py")
    assert file_of("cluster.articles.iris:build", agreed=None).endswith("cluster")
    for factory in ("antigravity:fly", "subprocess:run", "os:system", "installed_here:build", "xml.dom:build"):
        with pytest.raises(InputError, match=rf"if you trust it, add --factory {factory}"):
            file_of(factory, agreed=None)
        with pytest.raises(InputError, match="--factory"):
            file_of(factory, agreed="other:build")
        assert file_of(factory, agreed=factory)
    with pytest.raises(InputError, match="no module 'nowhere' is found"):
        file_of("nowhere:build", agreed="nowhere:build")
    assert not {"my_models", "antigravity", "installed_here"} & (set(sys.modules) - before)

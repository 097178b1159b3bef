"""What `batchscope run` refuses before any lane starts: one line with the thing, the value and the remedy, exit 2."""

import dataclasses
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster import cli
from cluster.study.capacity import Capacity
from cluster.summary.store import Summary
from tests.conftest import write_prepared
from tests.support.studies import LSTM, write_study
from trainer.data.manifest import read, sha256_of_file
from trainer.data.store import Folder
from trainer.errors import NotReadyError


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a study with some keys changed, and returns the one line with which it is refused."""
    data = tmp_path / "data"
    if not data.exists():
        write_prepared(data)
    monkeypatch.chdir(tmp_path)

    def run(**changes: Any) -> str:
        axes = {"global_batch": [17], "learning_rate": 0.01, "seeds": 1}
        write_study(tmp_path, **{"data": "data", "summary": "summary", "model": LSTM, "axes": axes, **changes})
        monkeypatch.setattr(sys, "argv", ["batchscope", "run", "study.yaml"])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        assert end.value.code == 2
        assert out == ""
        assert "ray" not in sys.modules or not sys.modules["ray"].is_initialized()
        [line] = err.splitlines()
        return line

    return run


def test_an_unknown_key_names_the_nearest(refused: Callable[..., str]) -> None:
    line = refused(bugdet={"epochs": 1})
    assert "bugdet" in line
    assert "'budget'" in line


def test_a_global_batch_larger_than_the_data(refused: Callable[..., str]) -> None:
    line = refused(axes={"global_batch": [52], "learning_rate": 0.01, "seeds": 1})
    assert "52" in line
    assert "51" in line
    assert "full" in line


def test_a_micro_batch_larger_than_the_share(refused: Callable[..., str]) -> None:
    line = refused(resources={"micro_batch": 18})
    assert "micro_batch 18" in line
    assert "17" in line


def test_a_folder_that_is_not_prepared_data(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    line = refused(data="empty")
    assert "empty is not prepared data" in line
    assert "batchscope prepare" in line


def test_data_of_a_newer_schema(refused: Callable[..., str], tmp_path: Path) -> None:
    manifest = json.loads((tmp_path / "data" / "manifest.json").read_text())
    (tmp_path / "data" / "manifest.json").write_text(json.dumps({**manifest, "schema_version": 99}))
    line = refused()
    assert "schema version 99" in line
    assert "upgrade batchscope" in line


@pytest.mark.parametrize("damage", ["drop", "retype", "double"])
def test_missing_doubled_and_mistyped_columns(refused: Callable[..., str], tmp_path: Path, damage: str) -> None:
    manifest = read(Folder(str(tmp_path / "data")))
    shard = manifest.splits["train"].shards[0]
    file = tmp_path / "data" / shard.file
    table = pq.read_table(str(file))
    tokens = table["tokens"]
    other = {
        "drop": table.drop_columns(["tokens"]),
        "retype": table.set_column(1, "tokens", tokens.cast(pa.list_(pa.float64()))),
        "double": table.append_column("tokens", tokens),
    }[damage]
    pq.write_table(other, str(file))
    same = dataclasses.replace(shard, sha256=sha256_of_file(str(file)))
    train = dataclasses.replace(manifest.splits["train"], shards=(same, *manifest.splits["train"].shards[1:]))
    changed = dataclasses.replace(manifest, splits={**manifest.splits, "train": train})
    (tmp_path / "data" / "manifest.json").write_text(changed.to_json())
    line = refused()
    said = {
        "drop": "'tokens' of .* missing",
        "retype": "'tokens' of .* double",
        "double": "two columns named 'tokens'",
    }
    assert re.search(said[damage], line)
    assert "batchscope prepare" in line


def test_a_shard_of_another_sha256(refused: Callable[..., str], tmp_path: Path) -> None:
    file = sorted((tmp_path / "data").glob("validation-*.parquet"))[0]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    line = refused()
    assert file.name in line
    assert sha256_of_file(str(file)) in line


def test_a_summary_that_cannot_be_written(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "summary").write_text("a file, not a folder")
    line = refused()
    assert "summary" in line


def test_a_task_for_which_the_data_were_not_prepared(refused: Callable[..., str]) -> None:
    line = refused(task="regression")
    assert "classification" in line
    assert "regression" in line


HERE = Capacity(cpus=1, gpus=0)


def test_a_name_that_belongs_to_another_study(refused: Callable[..., str], tmp_path: Path) -> None:
    from cluster.drive.opening import opened
    from cluster.study.preflight import examine
    from cluster.study.spec import load

    refused(axes={"global_batch": [99], "learning_rate": 0.01, "seeds": 1})
    spec = load(tmp_path / "study.yaml")
    with opened(
        examine(spec.model_copy(update={"axes": spec.axes.model_copy(update={"global_batch": (17,)})}), HERE),
        print,
    ):
        pass
    line = refused(model={"embedding_units": 7, "lstm_units": 5})
    assert "model.embedding_units: 6 -> 7" in line
    assert "another name" in line


def test_a_study_that_another_process_runs(refused: Callable[..., str], tmp_path: Path) -> None:
    from cluster.drive.opening import opened
    from cluster.study.preflight import examine
    from cluster.study.spec import load

    refused(axes={"global_batch": [99], "learning_rate": 0.01, "seeds": 1})
    spec = load(tmp_path / "study.yaml")
    spec = spec.model_copy(update={"axes": spec.axes.model_copy(update={"global_batch": (17,)})})
    with opened(examine(spec, HERE), print):
        line = refused()
    assert "study 'tiny' is being run by another process" in line
    assert "wait for it" in line


def test_what_began_is_not_lost_to_a_driver_that_lost_the_study(refused: Callable[..., str], tmp_path: Path) -> None:
    from cluster.drive.opening import opened
    from cluster.study.preflight import examine
    from cluster.study.spec import load
    from cluster.summary import query

    refused(axes={"global_batch": [99], "learning_rate": 0.01, "seeds": 1})
    spec = load(tmp_path / "study.yaml")
    spec = spec.model_copy(update={"axes": spec.axes.model_copy(update={"global_batch": (17,)})})

    def taken_over() -> None:
        with opened(examine(spec, HERE), print) as study:
            # Another driver has taken the study over, and its first trial has begun.
            lock = tmp_path / "summary" / "attempts" / "study=tiny" / ".driver.lock"
            lock.rename(lock.with_name(".old"))
            lock.touch()
            study.summary.attempt_started("tiny", "00ff", 1, {})
            assert study.hold.lost() is not None

    with pytest.raises(NotReadyError, match="study 'tiny'"):
        taken_over()
    assert query.trials(Summary(str(tmp_path / "summary"))).num_rows == 0


@pytest.mark.tf
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 7", "returned a int"),
        (
            "return keras.Sequential([keras.Input((None,)), keras.layers.Embedding(9, 2)])",
            "of output shape (None, None, 2)",
        ),
        ("raise RuntimeError('no luck')", "no luck"),
    ],
)
def test_a_factory_that_returns_no_model_of_the_right_output(
    refused: Callable[..., str], tmp_path: Path, body: str, said: str
) -> None:
    name = f"factory_{abs(hash(body))}"
    (tmp_path / f"{name}.py").write_text(f"import keras\n\n\ndef build(vocabulary_size, outputs):\n    {body}\n")
    line = refused(model={"factory": f"{name}:build"})
    assert said in line
    assert f"{name}:build" in line


@pytest.mark.tf
def test_a_factory_that_is_not_there(refused: Callable[..., str]) -> None:
    line = refused(model={"factory": "no_such_module:build"})
    assert "no_such_module" in line

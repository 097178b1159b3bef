"""A study whose data set and summary are in a bucket, from `run` to `results` and `export`."""

import hashlib
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.prepare import vocabulary
from cluster.stores import store_of
from tests.conftest import VOCABULARY, write_prepared
from tests.support.runs import COMMAND
from trainer.data.manifest import identified

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def put(folder: Path, uri: str) -> None:
    """A small prepared data set with a tokenizer, as objects of a bucket."""
    words = {f"w{index}": 100 - index for index in range(2, VOCABULARY)}
    manifest = write_prepared(folder)
    tokenizer = vocabulary.to_json(vocabulary.build(words, size=VOCABULARY), max_tokens=manifest.max_tokens)
    (folder / "tokenizer.json").write_text(tokenizer)
    manifest = identified(replace(manifest, tokenizer_sha256=hashlib.sha256(tokenizer.encode()).hexdigest()))
    (folder / "manifest.json").write_text(manifest.to_json())
    store = store_of(uri)
    for file in folder.iterdir():
        store.write(file.name, file.read_bytes())


def call(*arguments: str, folder: Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=300, check=False, cwd=folder, env=os.environ
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_a_study_in_a_bucket_is_run_asked_and_exported(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing of the data set is on this machine but what the workers fetch.
    monkeypatch.setenv("BATCHSCOPE_CACHE", str(tmp_path / "cache"))
    put(tmp_path / "prepared", f"s3://{bucket}/data/tiny")
    here = tmp_path / "here"
    here.mkdir()
    summary = f"s3://{bucket}/summary"
    spec: dict[str, Any] = {
        "study": "tiny",
        "data": f"s3://{bucket}/data/tiny",
        "summary": summary,
        "task": "classification",
        "model": {"embedding_units": 6, "lstm_units": 5},
        "axes": {"global_batch": [17, "full"], "learning_rate": 0.01, "seeds": 1},
        "budget": {"updates": 6},
        "evaluate_every": {"updates": 3},
        "resources": {"lanes": 1, "workers": 1},
    }
    (here / "study.yaml").write_text(yaml.safe_dump(spec))
    ran = call("run", "study.yaml", folder=here)
    assert ran.stdout.startswith("global batch")
    asked = call("results", "tiny", "--summary", summary, "--format", "json", folder=here)
    rows = json.loads(asked.stdout)["rows"]
    assert [(point["global_batch"], point["completed"]) for point in rows] == [(17, 1), (51, 1)]
    names = store_of(summary).names()
    kept = [name for name in names if name.startswith("checkpoints/")]
    assert sorted({name.rpartition("/")[2] for name in kept}) == ["best.json", "best.npz", "last.json", "last.npz"]
    trial_id = kept[0].split("/")[2]
    call("export", "tiny", "--trial", trial_id, "--summary", summary, "-o", "model.keras", folder=here)
    assert (here / "model.keras").stat().st_size > 1000
    assert sorted(file.name for file in here.iterdir()) == [
        "model.json",
        "model.keras",
        "model.tokenizer.json",
        "study.yaml",
    ]
    again = call("run", "study.yaml", folder=here)
    assert again.stdout == ran.stdout

    shard = next(name for name in store_of(spec["data"]).names("train") if name.endswith(".parquet"))
    store_of(spec["data"]).write(shard, b"another")
    assert "but the manifest says" in call("run", "study.yaml", folder=here, status=2).stderr
    store_of(spec["data"]).delete(shard)
    assert f"{shard} is missing" in call("run", "study.yaml", folder=here, status=2).stderr

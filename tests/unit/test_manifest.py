"""The manifest: it survives a round trip, and one that is not right is an error with a remedy."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.stores import store_of
from tests.conftest import write_prepared
from trainer.errors import InputError
from trainer.manifest import SCHEMA_VERSION, SPLITS, Manifest, parse, read
from trainer.store import Folder

AGAIN = "prepare the data again with `batchscope prepare`"


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A manifest in which no field has its default."""
    plain = write_prepared(tmp_path_factory.mktemp("prepared"))
    splits = {
        name: replace(
            split, length_histogram=(1, 2, 3), length_percentiles=(4, 5, 6), truncated_rows=7, unknown_tokens=8
        )
        for name, split in plain.splits.items()
    }
    return replace(plain, splits=splits, group_by="quelle/näme", split_seed=3, skipped_rows=2, tokenizer_sha256="ab")


def fields(manifest: Manifest) -> dict[str, Any]:
    return json.loads(manifest.to_json())


def refused(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse(text, where="some/place")
    assert str(caught.value).startswith("some/place/manifest.json ")
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_a_manifest_survives_a_round_trip(manifest: Manifest, tmp_path: Path) -> None:
    assert parse(manifest.to_json(), where="there") == manifest
    (tmp_path / "manifest.json").write_text(manifest.to_json())
    assert read(Folder(str(tmp_path))) == manifest
    assert read(store_of(tmp_path.as_uri())) == manifest


def test_no_row_is_longer_than_its_bin_or_the_cut(manifest: Manifest) -> None:
    assert manifest.longest == 7
    assert replace(manifest, max_tokens=6).longest == 6
    plain = {name: replace(split, length_histogram=()) for name, split in manifest.splits.items()}
    assert replace(manifest, splits=plain).longest == manifest.max_tokens


def test_what_older_versions_did_not_write_has_a_default(manifest: Manifest) -> None:
    old = fields(manifest)
    for name in ("group_by", "split_seed"):
        del old[name]
    for split in old["splits"].values():
        for name in ("length_percentiles", "truncated_rows", "unknown_tokens"):
            del split[name]
    found = parse(json.dumps(old), where="there")
    assert (found.group_by, found.split_seed) == ("", 0)
    assert found.splits["train"].length_percentiles == ()


@pytest.mark.parametrize("text", ["", "{", "not JSON", "[1, 2]", "7", "null", "{}", '{"schema_version": "new"}'])
def test_text_that_is_no_manifest_is_refused_with_the_remedy(text: str) -> None:
    assert refused(text) == f"some/place/manifest.json is not a batchscope manifest: {AGAIN}"


def test_a_newer_schema_is_refused_with_both_versions(manifest: Manifest) -> None:
    message = refused(json.dumps({**fields(manifest), "schema_version": SCHEMA_VERSION + 1}))
    assert f"schema version {SCHEMA_VERSION + 1}, newer than the {SCHEMA_VERSION} known here" in message
    assert message.endswith(f"upgrade batchscope, or {AGAIN}")


DEFAULTED = {"group_by", "split_seed", "schema_version", "kind", "features_width"}
REQUIRED = sorted(Manifest.__dataclass_fields__.keys() - DEFAULTED)


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_key_is_named(manifest: Manifest, name: str) -> None:
    message = refused(json.dumps({key: value for key, value in fields(manifest).items() if key != name}))
    assert "is damaged" in message
    assert f"'{name}'" in message
    assert message.endswith(AGAIN)


@pytest.mark.parametrize("name", SPLITS)
def test_a_missing_split_is_named(manifest: Manifest, name: str) -> None:
    damaged = fields(manifest)
    del damaged["splits"][name]
    message = refused(json.dumps(damaged))
    assert f"'{name}'" in message
    assert message.endswith(AGAIN)


@pytest.mark.parametrize("name", ["rows", "tokens", "label_counts", "length_histogram", "shards"])
def test_a_missing_key_of_a_split_is_named(manifest: Manifest, name: str) -> None:
    damaged = fields(manifest)
    del damaged["splits"]["test"][name]
    assert f"'{name}'" in refused(json.dumps(damaged))


@pytest.mark.parametrize("name", ["file", "rows", "tokens", "bytes", "sha256"])
def test_a_missing_key_of_a_shard_is_named(manifest: Manifest, name: str) -> None:
    damaged = fields(manifest)
    del damaged["splits"]["train"]["shards"][1][name]
    assert f"'{name}'" in refused(json.dumps(damaged))


@pytest.mark.parametrize(
    "change",
    [
        {"splits": []},
        {"splits": {"train": 1}},
        {"splits": None},
        {"label_names": 3},
        {"a_key_of_nobody": 1},
    ],
    ids=str,
)
def test_a_key_of_another_kind_is_damage(manifest: Manifest, change: dict[str, Any]) -> None:
    assert "is damaged" in refused(json.dumps({**fields(manifest), **change}))


@pytest.mark.parametrize("there", ["nothing", "an empty folder", "a folder of that name"])
def test_a_folder_that_is_not_prepared_data_is_named_with_the_remedy(tmp_path: Path, there: str) -> None:
    data = tmp_path / "data"
    if there == "an empty folder":
        data.mkdir()
    elif there == "a folder of that name":
        (data / "manifest.json").mkdir(parents=True)
    with pytest.raises(InputError) as caught:
        read(Folder(str(data)))
    assert str(caught.value) == (
        f"{data} is not prepared data (it has no manifest.json): run `batchscope prepare` first"
    )


def test_a_manifest_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(b"\xff\xfe\x00PAR1")
    with pytest.raises(InputError, match="is not a batchscope manifest"):
        read(Folder(str(tmp_path)))


def test_folders_are_found_from_the_home_and_the_present_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for address in ("~/data", "data", "data/", f"file://{tmp_path}/data/"):
        assert store_of(address).uri == str(tmp_path / "data")

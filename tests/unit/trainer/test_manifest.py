"""The manifest: it survives a round trip, and one that is not right is an error with a remedy."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.stores import store_of
from tests.conftest import write_prepared
from trainer.data.manifest import SCHEMA_VERSION, SPLITS, Manifest, identified, parse, read
from trainer.data.store import Folder
from trainer.errors import InputError

AGAIN = "prepare the data again with `batchscope prepare`"


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A manifest in which no field has its default."""
    plain = write_prepared(tmp_path_factory.mktemp("prepared"))
    splits = {
        name: replace(
            split,
            length_histogram=(1, 2, split.rows - 3),
            length_percentiles=(4, 5, 6),
            truncated_rows=7,
            unknown_tokens=8,
        )
        for name, split in plain.splits.items()
    }
    changes = {"group_by": "quelle/näme", "split_seed": 3, "skipped_rows": 2, "tokenizer_sha256": "ab" * 32}
    return identified(replace(plain, splits=splits, **changes))


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


def of_the_first_version(manifest: Manifest) -> dict[str, Any]:
    """As the first version of the schema had it: no hash of the splits, none of the whole."""
    old = {**fields(manifest), "schema_version": 1, "data_hash": "of the rows and names, by another rule"}
    del old["sha256"]
    for split in old["splits"].values():
        del split["digest"]
    return old


def test_a_manifest_of_the_first_version_is_read_and_not_verified(manifest: Manifest) -> None:
    old = of_the_first_version(manifest)
    found = parse(json.dumps(old), where="there")
    assert (found.verified, manifest.verified) == (False, True)
    splits = {name: replace(split, digest="") for name, split in manifest.splits.items()}
    assert found == replace(manifest, splits=splits, schema_version=1, data_hash=old["data_hash"])


def test_what_older_versions_did_not_write_has_a_default(manifest: Manifest) -> None:
    old = of_the_first_version(manifest)
    for name in ("group_by", "split_seed", "kind", "features_width"):
        del old[name]
    for split in old["splits"].values():
        for name in ("length_percentiles", "truncated_rows", "unknown_tokens"):
            del split[name]
    found = parse(json.dumps(old), where="there")
    assert (found.group_by, found.split_seed, found.kind) == ("", 0, "tokens")
    assert found.splits["train"].length_percentiles == ()


NO_MANIFESTS = {
    "empty": "",
    "torn": "{",
    "not JSON": "not JSON",
    "a list": "[1, 2]",
    "a number": "7",
    "null": "null",
    "an empty object": "{}",
    "no version": '{"schema_version": "new"}',
    "version 0": '{"schema_version": 0}',
    "a key twice": '{"schema_version": 2, "schema_version": 2}',
    "nested deeply": "[" * 10**5,
    "a number of 5,000 digits": f'{{"schema_version": {"9" * 5000}}}',
}


@pytest.mark.parametrize("text", NO_MANIFESTS.values(), ids=NO_MANIFESTS.keys())
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
    assert f"'splits.{name}' is missing" in message
    assert message.endswith(AGAIN)


@pytest.mark.parametrize("name", ["rows", "tokens", "label_counts", "length_histogram", "shards"])
def test_a_missing_key_of_a_split_is_named(manifest: Manifest, name: str) -> None:
    damaged = fields(manifest)
    del damaged["splits"]["test"][name]
    assert f"'splits.test.{name}' is missing" in refused(json.dumps(damaged))


@pytest.mark.parametrize("name", ["file", "rows", "tokens", "bytes", "sha256"])
def test_a_missing_key_of_a_shard_is_named(manifest: Manifest, name: str) -> None:
    damaged = fields(manifest)
    del damaged["splits"]["train"]["shards"][1][name]
    assert f"'splits.train.shards[1].{name}' is missing" in refused(json.dumps(damaged))


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


WRONG = [None, "x", "", "0", [], {}, [[]], True, -1, 1.5, float("nan"), float("inf"), 10**30, 2**63]
PATHS = ["../a.parquet", "/etc/passwd", "a/b", "a\\b", ".hidden", "..", "", "a\0b", "a\n", "ä.parquet", "x" * 300]


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every value of a JSON document with its path."""
    yield path, value
    within = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in within:
        yield from leaves(one, (*path, key))


def edited(text: str, path: tuple[Any, ...], value: Any) -> str:
    document = json.loads(text)
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return json.dumps(document)


@pytest.mark.slow
def test_no_value_can_be_edited_or_left_out(manifest: Manifest) -> None:
    text = manifest.to_json()
    for path, was in leaves(json.loads(text)):
        others = [f"{was}x", was * 2, was[::-1]] if isinstance(was, str | list) else []
        others += [was + 1, was - 1, was * 2] if isinstance(was, int) else []
        for value in (value for value in [*WRONG, *others] if path and json.dumps(value) != json.dumps(was)):
            line = refused(edited(text, path, value))
            assert len(line) < 400
            assert line.isprintable()


@pytest.mark.slow
def test_no_character_of_it_can_be_another(manifest: Manifest) -> None:
    text = manifest.to_json()
    for at in range(len(text)):
        changed = f"{text[:at]}{chr(ord(text[at]) ^ 1)}{text[at + 1 :]}"
        try:
            assert parse(changed, where="there") == manifest
        except InputError:
            continue


@pytest.mark.parametrize("old", [False, True])
def test_a_value_of_another_type_is_named_with_its_key_and_itself(manifest: Manifest, old: bool) -> None:
    text = json.dumps(of_the_first_version(manifest)) if old else manifest.to_json()
    of_split = [("splits", "train", name) for name in ("rows", "tokens", "length_histogram", "label_counts", "shards")]
    of_shard = [("splits", "train", "shards", 0, name) for name in ("rows", "tokens", "bytes", "file", "sha256")]
    own = [(name,) for name in ("token_dtype", "label_dtype", "vocabulary_size", "max_tokens", "kind", "task")]
    for path in [*own, *of_split, *of_shard]:
        for value in (None, {}, 1.5, float("nan"), True, -1, 10**30):
            line = refused(edited(text, path, value))
            assert str(path[-1]) in line
            assert json.dumps(value) in line


@pytest.mark.parametrize("name", PATHS)
def test_a_shard_is_a_file_beside_the_manifest(manifest: Manifest, name: str) -> None:
    for text in (manifest.to_json(), json.dumps(of_the_first_version(manifest))):
        line = refused(edited(text, ("splits", "train", "shards", 0, "file"), name))
        assert "not the name of a file next to the manifest" in line
        assert len(line) < 400


def exchanged(manifest: Manifest, what: str) -> dict[str, Any]:
    """A manifest as a hand may have changed it, whose every value is a possible one."""
    document = fields(manifest)
    train, test = document["splits"]["train"], document["splits"]["test"]
    if what == "label names":
        document["label_names"] = document["label_names"][::-1]
    elif what == "splits":
        document["splits"] |= {"validation": test, "test": document["splits"]["validation"]}
    elif what == "order of shards":
        train["shards"] = train["shards"][::-1]
    elif what == "shards of two splits":
        train["shards"], test["shards"] = test["shards"], train["shards"]
    elif what == "a shard twice":
        test["shards"] = train["shards"]
    elif what == "no shards":
        test["shards"] = []
    elif what == "no rows":
        test |= {"shards": [], "rows": 0, "tokens": 0}
    return document


SUMS = ["shards of two splits", "a shard twice", "no shards", "no rows"]
EXCHANGES = ["label names", "splits", "order of shards", *SUMS]


@pytest.mark.parametrize("what", EXCHANGES)
def test_names_and_splits_cannot_be_exchanged_under_one_hash(manifest: Manifest, what: str) -> None:
    assert "is damaged" in refused(json.dumps(exchanged(manifest, what)))
    # Nor by one who knows how the file's own hash is made: the names and the splits have another data_hash then.
    if what in ("label names", "splits"):
        document = exchanged(manifest, what)
        del document["sha256"]
        own = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
        assert "data_hash" in refused(json.dumps({**document, "sha256": own}))


@pytest.mark.parametrize("what", SUMS)
def test_the_sums_of_an_unverified_manifest_are_checked_too(manifest: Manifest, what: str) -> None:
    document = of_the_first_version(manifest) | {"splits": exchanged(manifest, what)["splits"]}
    for split in document["splits"].values():
        del split["digest"]
    refused(json.dumps(document))


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
        f"{data} is not prepared data (it has no manifest.json): run `batchscope prepare` first (relative paths count "
        "from the current folder)"
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

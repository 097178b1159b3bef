"""Damage to what training reads: manifests, tokenizers, shards, decoded shards in the cache, and checkpoints.

Each is read as it was written, or refused, or (a cache, a checkpoint) made anew from what is intact.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from random import Random

import numpy as np

from cluster.prepare import prepare
from tests.fuzz.damage import damaged, edited, written
from tests.fuzz.engine import Try, check, environment
from trainer.checkpoint import Checkpoints, Progress, Saved
from trainer.data.custody import read_tokenizer
from trainer.data.manifest import SPLITS, Manifest, parse, read
from trainer.data.shards import open_shard
from trainer.data.store import Folder


def _cache(folder: Path) -> AbstractContextManager[None]:
    """The kind's own cache; other kinds may be open at the same time."""
    return environment(BATCHSCOPE_CACHE=str(folder / "cache"))


def _data(folder: Path) -> tuple[Folder, Manifest]:
    rows = [{"body": f"soil seed {number} crane {number % 7}", "topic": f"t{number % 3}"} for number in range(120)]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    prepare(
        [str(folder / "a.jsonl")], str(folder / "data"), text="body", label="topic", shard_bytes=2**10, batch_rows=16
    )
    data = Folder(str(folder / "data"))
    return data, read(data)


@contextmanager
def manifests(folder: Path) -> Iterator[Try]:
    """Manifests of both versions of the schema; nothing protects the first."""
    data, right = _data(folder)
    content = data.read("manifest.json")
    document = json.loads(content)
    older = {**{key: value for key, value in document.items() if key != "sha256"}, "schema_version": 1}
    older["splits"] = {
        name: {key: value for key, value in split.items() if key != "digest"}
        for name, split in document["splits"].items()
    }

    def attempt(draw: Random) -> bool:
        first = draw.random() < 0.3
        given = older if first else document
        changed = written(edited(given, draw)) if draw.random() < 0.6 else damaged(written(given), draw)
        found = parse(changed.decode("utf-8", "replace"), where="data")
        for split in found.splits.values():
            check(split.rows >= 1 and sum(shard.rows for shard in split.shards) == split.rows, f"{split}")
        check(found.longest >= 1 and found.outputs(found.task) >= 0, f"{found}")
        check(first or found == right, f"it is read as {found}")
        return True

    yield attempt


@contextmanager
def tokenizers(folder: Path) -> Iterator[Try]:
    """Tokenizers."""
    data, manifest = _data(folder)
    content = data.read("tokenizer.json")

    def attempt(draw: Random) -> bool:
        (folder / "data" / "tokenizer.json").write_bytes(damaged(content, draw))
        check(read_tokenizer(data, manifest) == content, "another tokenizer is read")
        return True

    yield attempt


@contextmanager
def shards(folder: Path) -> Iterator[Try]:
    """Shards as they were written, which are decoded into an empty cache."""
    data, manifest = _data(folder)
    every = [shard for name in SPLITS for shard in manifest.splits[name].shards]
    contents = {shard.file: data.read(shard.file) for shard in every}
    with _cache(folder):
        right = {shard.file: open_shard(data, shard).checksum() for shard in every}

    def attempt(draw: Random) -> bool:
        shutil.rmtree(folder / "cache", ignore_errors=True)
        shard, path = draw.choice(every), folder / "data"
        other = draw.choice(every)
        changed = contents[other.file] if draw.random() < 0.2 else damaged(contents[shard.file], draw)
        (path / shard.file).write_bytes(changed)
        try:
            with _cache(folder):
                check(open_shard(data, shard).checksum() == right[shard.file], "other rows are read")
        finally:
            (path / shard.file).write_bytes(contents[shard.file])
        check(changed == contents[shard.file], "damage is not seen")
        return True

    yield attempt


@contextmanager
def caches(folder: Path) -> Iterator[Try]:
    """Decoded shards in the cache, which are always read right."""
    data, manifest = _data(folder)
    every = manifest.splits["train"].shards
    with _cache(folder):
        right = {shard.file: open_shard(data, shard).checksum() for shard in every}
    contents = {path: path.read_bytes() for path in (folder / "cache").rglob("*.arrow")}

    def attempt(draw: Random) -> bool:
        path = draw.choice(list(contents))
        other = draw.choice(list(contents))
        path.unlink(missing_ok=True)
        path.write_bytes(contents[other] if draw.random() < 0.2 else damaged(contents[path], draw))
        with _cache(folder):
            for shard in every:
                check(open_shard(data, shard).checksum() == right[shard.file], f"other rows of {shard.file} are read")
        return True

    yield attempt


@contextmanager
def checkpoints(folder: Path) -> Iterator[Try]:
    """Checkpoints to resume from and weights that are kept; what does not count is noted."""
    store = Folder(str(folder / "kept"))
    kept = Checkpoints(store, "a1")
    draw = np.random.default_rng(0)

    def saved(update: int) -> Saved:
        arrays = [draw.normal(size=(3, 4)).astype("float32"), draw.normal(size=5)]
        progress = Progress(update=update, best_validation_loss=1.4 / update, evaluations=[], noise=[[1.0, 2.0]])
        return Saved(progress=progress, weights=arrays, optimizer_state=arrays[:1], best_weights=arrays)

    right = [saved(3), saved(6)]
    for one in right:
        kept.save(one)
    contents = {path: path.read_bytes() for path in (folder / "kept").iterdir()}

    def attempt(draw: Random) -> bool:
        for path, content in contents.items():
            path.write_bytes(content)
        path = draw.choice(list(contents))
        content, document = contents[path], path.suffix == ".json" and draw.random() < 0.6
        path.write_bytes(written(edited(json.loads(content), draw)) if document else damaged(content, draw))
        notes: list[str] = []
        found = kept.newest(total=9, most_bytes=10**6, note=notes.append)
        whole = path.read_bytes() == content or (document and json.loads(path.read_bytes()) == json.loads(content))
        check(found is not None, "no checkpoint is left")
        assert found is not None
        same = [one for one in right if one.progress == found.progress]
        check(same, f"{found.progress} was never saved")
        pairs = zip(found.weights, same[0].weights, strict=True)
        check(all(np.array_equal(here, there) for here, there in pairs), "other weights are read")
        check(
            found.progress.update == 6 or notes or path.suffix == "",
            f"the newest is passed over without a word: {notes}",
        )
        check(whole or found.progress.update == 3 or "006" not in path.name, f"damage of {path.name} is not seen")
        return found.progress.update == 6

    yield attempt

"""Checkpoints: plain arrays and JSON with a sha256, never a pickle, in a folder or under an `s3://` address.

A trial's folder holds `resume-<update>.npz` while it trains and `best.npz` and `last.npz` after. Each archive has a
`.json` beside it, written after it, that tells its sha256: an archive without one, or with another hash, does not
count. Local files are published by renaming, S3 objects by one PUT.
"""

import hashlib
import io
import json
import os
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pyarrow import fs as pafs

from trainer.manifest import locate

Arrays = list[npt.NDArray[Any]]


@dataclass(kw_only=True)
class Progress:
    """Where a trial stands; it changes as the trial goes on. Losses are summed since the last evaluation."""

    update: int = 0
    seconds_training: float = 0.0
    seconds_evaluating: float = 0.0
    loss_sum: float = 0.0
    loss_updates: int = 0
    real_tokens: float = 0.0
    padded_tokens: float = 0.0
    training_loss: float | None = None
    validation_loss: float | None = None
    best_validation_loss: float | None = None
    best_validation_accuracy: float | None = None
    evaluations: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A checkpoint in memory: where the trial stands, its weights, its optimiser, and its best weights so far."""

    progress: Progress
    weights: Arrays
    optimizer_state: Arrays
    best_weights: Arrays


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one trial in `folder`, a local folder or an `s3://` address."""

    folder: str

    def save(self, saved: Saved) -> None:
        """Publish a checkpoint to resume from, then drop all but it and the one before."""
        groups = {"weights": saved.weights, "optimizer": saved.optimizer_state, "best": saved.best_weights}
        name = f"resume-{saved.progress.update:012d}"
        self._publish(name, groups, asdict(saved.progress))
        # What lies further on was damaged, or this attempt would have gone on from there.
        kept = [other for other in self._resumable() if other <= name][-2:]
        for other in self._resumable():
            if other not in kept:
                self._delete(other)

    def newest(self) -> Saved | None:
        """The newest checkpoint that is whole; None when there is none. A damaged one is passed over."""
        for name in reversed(self._resumable()):
            loaded = self._load(name)
            if loaded is None or not loaded[1].keys() <= Progress.__dataclass_fields__.keys():
                continue
            groups, progress = loaded
            return Saved(
                progress=Progress(**progress),
                weights=groups["weights"],
                optimizer_state=groups.get("optimizer", []),
                best_weights=groups.get("best", []),
            )
        return None

    def finish(self, *, best: Arrays, last: Arrays) -> None:
        """Keep the best and the last weights of a trial that has ended; nothing is left to resume from."""
        self._publish("best", {"weights": best}, {})
        self._publish("last", {"weights": last}, {})
        for name in self._resumable():
            self._delete(name)
        self._sweep()

    def weights(self, name: str) -> Arrays | None:
        """The weights kept as "best" or "last"; None when they are not there or not whole."""
        loaded = self._load(name)
        return loaded[0]["weights"] if loaded else None

    def _publish(self, name: str, groups: dict[str, Arrays], facts: dict[str, Any]) -> None:
        buffer = io.BytesIO()
        arrays = {f"{group}_{i:04d}": array for group, members in groups.items() for i, array in enumerate(members)}
        np.savez(buffer, allow_pickle=False, **arrays)
        archive = buffer.getvalue()
        write_whole(self.folder, f"{name}.npz", archive)
        text = json.dumps({"sha256": hashlib.sha256(archive).hexdigest(), "facts": facts})
        write_whole(self.folder, f"{name}.json", text.encode())

    def _load(self, name: str) -> tuple[dict[str, Arrays], dict[str, Any]] | None:
        filesystem, folder = locate(self.folder)
        try:
            description = json.loads(_read(filesystem, f"{folder}/{name}.json"))
            archive = _read(filesystem, f"{folder}/{name}.npz")
            if hashlib.sha256(archive).hexdigest() != description["sha256"]:
                return None
            groups: dict[str, Arrays] = {"weights": []}
            with np.load(io.BytesIO(archive), allow_pickle=False) as arrays:
                for key in sorted(arrays.files):
                    groups.setdefault(key.rpartition("_")[0], []).append(arrays[key])
            return (groups, dict(description["facts"])) if groups["weights"] else None
        except (FileNotFoundError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
            return None

    def _resumable(self) -> list[str]:
        """Names of the checkpoints to resume from, oldest first."""
        filesystem, folder = locate(self.folder)
        files = filesystem.get_file_info(pafs.FileSelector(folder, allow_not_found=True))
        names = {info.base_name.removesuffix(".npz") for info in files if info.extension == "npz"}
        return sorted(name for name in names if name.startswith("resume-"))

    def _delete(self, name: str) -> None:
        filesystem, folder = locate(self.folder)
        for ending in ("json", "npz"):
            if filesystem.get_file_info(f"{folder}/{name}.{ending}").type == pafs.FileType.File:
                filesystem.delete_file(f"{folder}/{name}.{ending}")

    def _sweep(self) -> None:
        """Delete what writers that were killed left half written."""
        filesystem, folder = locate(self.folder)
        for info in filesystem.get_file_info(pafs.FileSelector(folder)):
            if info.base_name.startswith(".") and info.base_name.endswith(".partial"):
                filesystem.delete_file(info.path)


def write_whole(folder: str, name: str, content: bytes) -> None:
    """Publish a file at once: a reader sees all of it or nothing."""
    filesystem, path = locate(folder)
    if not isinstance(filesystem, pafs.LocalFileSystem):
        with filesystem.open_output_stream(f"{path}/{name}") as stream:
            stream.write(content)
        return
    os.makedirs(path, exist_ok=True)
    temporary = f"{path}/.{name}.{os.getpid()}.partial"
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, f"{path}/{name}")
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _read(filesystem: pafs.FileSystem, path: str) -> bytes:
    with filesystem.open_input_stream(path) as stream:
        return bytes(stream.read())

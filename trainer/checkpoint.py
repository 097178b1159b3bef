"""Checkpoints: plain arrays and JSON with a sha256, never a pickle, in any store.

A trial's store holds `resume-<update>.npz` while it trains and `best.npz` and `last.npz` after. Each archive has a
`.json` beside it, written after it, that tells its sha256: an archive without one, or with another hash, does not
count.
"""

import hashlib
import io
import json
import zipfile
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.store import Store

Arrays = list[npt.NDArray[Any]]


@dataclass(kw_only=True)
class Progress:
    """Where a trial stands; it changes as the trial goes on. Losses are summed since the last evaluation.

    `loss_weight` is by what that sum is to be divided: updates, or target tokens in global batches for language_model.
    `noise` are the moments of each update that was measured (`trainer.noise`), of which `noise_told` went into the
    evaluations so far.
    """

    update: int = 0
    seconds_training: float = 0.0
    seconds_evaluating: float = 0.0
    loss_sum: float = 0.0
    loss_weight: float = 0.0
    real_tokens: float = 0.0
    padded_tokens: float = 0.0
    training_loss: float | None = None
    validation_loss: float | None = None
    best_validation_loss: float | None = None
    best_validation_accuracy: float | None = None
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    noise: list[list[float]] = field(default_factory=list)
    noise_told: int = 0


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A checkpoint in memory: where the trial stands, its weights, its optimiser, and its best weights so far."""

    progress: Progress
    weights: Arrays
    optimizer_state: Arrays
    best_weights: Arrays


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one trial, which has `store` to itself."""

    store: Store

    def save(self, saved: Saved) -> None:
        """Publish a checkpoint to resume from, then drop all but it and the one before."""
        groups = {"weights": saved.weights, "optimizer": saved.optimizer_state, "best": saved.best_weights}
        name = f"resume-{saved.progress.update:012d}"
        self._publish(name, groups, asdict(saved.progress))
        # What lies further on was damaged, or this attempt would have gone on from there.
        resumable = self._resumable()
        kept = [other for other in resumable if other <= name][-2:]
        for other in resumable:
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
        self.store.sweep()

    def weights(self, name: str) -> Arrays | None:
        """The weights kept as "best" or "last"; None when they are not there or not whole."""
        loaded = self._load(name)
        return loaded[0]["weights"] if loaded else None

    def _publish(self, name: str, groups: dict[str, Arrays], facts: dict[str, Any]) -> None:
        buffer = io.BytesIO()
        arrays = {f"{group}_{i:04d}": array for group, members in groups.items() for i, array in enumerate(members)}
        np.savez(buffer, allow_pickle=False, **arrays)
        archive = buffer.getvalue()
        self.store.write(f"{name}.npz", archive)
        text = json.dumps({"sha256": hashlib.sha256(archive).hexdigest(), "facts": facts})
        self.store.write(f"{name}.json", text.encode())

    def _load(self, name: str) -> tuple[dict[str, Arrays], dict[str, Any]] | None:
        try:
            description = json.loads(self.store.read(f"{name}.json"))
            archive = self.store.read(f"{name}.npz")
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
        return [name.removesuffix(".npz") for name in self.store.names("resume-") if name.endswith(".npz")]

    def _delete(self, name: str) -> None:
        for ending in ("json", "npz"):
            self.store.delete(f"{name}.{ending}")

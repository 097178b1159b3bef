"""Checkpoints in any store: plain arrays, and JSON with hashes, but never a pickle.

A trial's store holds `resume-<update>.npz` while it trains, and `best.npz` and `last.npz` after that. Each archive has
a `.json` next to it, written after it, with the sha256 of the archive, the trial, the name it was kept under, further
facts, and a sha256 of all that. An archive with another hash, trial or name does not count. `trial_id` also covers the
hash of the data, so no trial goes on from weights that were trained on other data.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from trainer.archive import Arrays as Arrays
from trainer.archive import pack, unpack
from trainer.data.store import Store
from trainer.fields import Fields, WrongFieldError, parsed, sha256_of
from trainer.report import Evaluation

# JSON without this key is in the first format, which had only the archive's hash and the facts.
_FORMAT = 2
_KEYS = {"format", "trial_id", "name", "archive", "facts", "sha256"}
_FIRST_KEYS = {"sha256", "facts"}


@dataclass(kw_only=True)
class Progress:
    """Where a trial stands; it changes as the trial goes on. Losses are summed since the last evaluation.

    `loss_weight` is the divisor of that sum: updates, or for language_model target tokens divided by the global batch.
    `noise` are the moments of each measured update (`trainer.update.noise`); the first `noise_told` of them went into
    the evaluations so far.
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
    best_averaged_loss: float | None = None


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A checkpoint in memory: where the trial stands, its weights, its optimizer, and its best weights so far.

    `averages` and `best_averaged` are the averaged weights and the best of these, of a trial that has such.
    """

    progress: Progress
    weights: Arrays
    optimizer_state: Arrays
    best_weights: Arrays
    averages: Arrays = field(default_factory=list)
    best_averaged: Arrays = field(default_factory=list)


def _unheard(remark: str) -> None:
    """Ignore a remark."""


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of the trial `trial_id`, which has `store` to itself.

    Methods that read take a `note`, which is called with each remark in words: a damaged checkpoint was skipped, or one
    is unverified because an older version kept it.
    """

    store: Store
    trial_id: str

    def save(self, saved: Saved) -> None:
        """Publish a checkpoint to resume from, then delete all but this one and the one before it."""
        groups = {
            "weights": saved.weights,
            "optimizer": saved.optimizer_state,
            "best": saved.best_weights,
            "averages": saved.averages,
            "bestaveraged": saved.best_averaged,
        }
        name = _resume(saved.progress.update)
        self._publish(name, groups, asdict(saved.progress))
        # Checkpoints of later updates must be damaged, or this attempt would have gone on from there.
        resumable = list(self._resumable())
        newest = [other for other in resumable if other <= name][-2:]
        for other in resumable:
            if other not in newest:
                self._delete(other)

    def newest(
        self, *, total: int | None = None, most_bytes: int | None = None, note: Callable[[str], None] = _unheard
    ) -> Saved | None:
        """The newest intact checkpoint; None if there is none.

        A trial of `total` updates leaves no checkpoint at its end, and the archives of its model have at most
        `most_bytes`; anything else counts as damaged.
        """
        for name, size in reversed(self._resumable().items()):
            if most_bytes is not None and size > most_bytes:
                note(f"{name} is damaged (it has {size:,} bytes, its model's can have {most_bytes:,})")
                continue
            loaded = self._load(name, note)
            if loaded is None:
                continue
            groups, facts = loaded
            try:
                progress = _progress(facts, total)
                if name != _resume(progress.update):
                    raise WrongFieldError(f"it is of update {progress.update}")
            except WrongFieldError as problem:
                note(f"{name} is damaged ({problem})")
                continue
            return Saved(
                progress=progress,
                weights=groups["weights"],
                optimizer_state=groups.get("optimizer", []),
                best_weights=groups.get("best", []),
                averages=groups.get("averages", []),
                best_averaged=groups.get("bestaveraged", []),
            )
        return None

    def finish(self, *, best: Arrays, last: Arrays) -> None:
        """Keep the best and the last weights of a trial that has ended; nothing is left to resume from."""
        self._publish("best", {"weights": best}, {})
        self._publish("last", {"weights": last}, {})
        for name in self._resumable():
            self._delete(name)
        self.store.sweep()

    def weights(self, name: str, note: Callable[[str], None] = _unheard) -> Arrays | None:
        """The weights kept as "best" or "last"; None if they are missing or damaged."""
        loaded = self._load(name, note)
        return loaded[0]["weights"] if loaded else None

    def _publish(self, name: str, groups: dict[str, Arrays], facts: dict[str, Any]) -> None:
        archive = pack(groups)
        self.store.write(f"{name}.npz", archive)
        body = {
            "format": _FORMAT,
            "trial_id": self.trial_id,
            "name": name,
            "archive": hashlib.sha256(archive).hexdigest(),
            "facts": facts,
        }
        self.store.write(f"{name}.json", json.dumps({**body, "sha256": sha256_of(body)}).encode())

    def _load(self, name: str, note: Callable[[str], None]) -> tuple[dict[str, Arrays], Fields] | None:
        """The arrays and the facts kept under a name; None if they are missing or damaged."""
        try:
            description = self.store.read(f"{name}.json")
            archive = self.store.read(f"{name}.npz")
        except FileNotFoundError:
            # A writer may have been stopped between the two.
            return None
        try:
            fields = parsed(description)
            expected = self._archive_hash(fields, name)
            if hashlib.sha256(archive).hexdigest() != expected:
                raise WrongFieldError("its archive has another sha256")
            groups = unpack(archive)
            if not groups.get("weights"):
                raise WrongFieldError("it has no weights")
            facts = fields.object("facts")
        except ValueError as problem:
            note(f"{name} is damaged ({problem})")
            return None
        if "format" not in fields:
            note(f"{name} is unverified, since an older version kept it")
        return groups, facts

    def _archive_hash(self, fields: Fields, name: str) -> str:
        """The sha256 that the archive must have; its description must be intact, and of this trial and name."""
        if fields.values.keys() == _FIRST_KEYS:
            return fields.text("sha256")
        fields.only(_KEYS)
        body = {key: value for key, value in fields.values.items() if key != "sha256"}
        if fields.text("sha256") != sha256_of(body):
            raise WrongFieldError("its description has another sha256")
        if fields.whole("format") != _FORMAT:
            raise WrongFieldError(f"it has format {fields.whole('format')}, but this version reads {_FORMAT}")
        if (owner := (fields.text("trial_id"), fields.text("name"))) != (self.trial_id, name):
            raise WrongFieldError(f"it was kept as {owner[1]} of trial {owner[0]}")
        return fields.text("archive")

    def _resumable(self) -> dict[str, int]:
        """The checkpoints to resume from, oldest first, and the bytes of their archives."""
        sizes = sorted(self.store.sizes("resume-").items())
        return {name.removesuffix(".npz"): size for name, size in sizes if name.endswith(".npz")}

    def _delete(self, name: str) -> None:
        for ending in ("json", "npz"):
            self.store.delete(f"{name}.{ending}")


def _resume(update: int) -> str:
    return f"resume-{update:012d}"


def _progress(facts: Fields, total: int | None) -> Progress:
    """The progress in `facts`, with every value checked.

    Raises:
        WrongFieldError: it cannot be the progress of a trial of `total` updates.
    """
    facts.only(Progress.__dataclass_fields__.keys())
    most = {} if total is None else {"most": total - 1}
    values: dict[str, Any] = {"update": facts.whole("update", **most)}
    takers: dict[str, Callable[[str], Any]] = {
        **dict.fromkeys(("seconds_training", "seconds_evaluating"), facts.number),
        **dict.fromkeys(("loss_sum", "loss_weight", "real_tokens", "padded_tokens"), facts.number),
        **dict.fromkeys(("training_loss", "validation_loss"), facts.number_or_none),
        **dict.fromkeys(("best_validation_loss", "best_validation_accuracy"), facts.number_or_none),
        "best_averaged_loss": facts.number_or_none,
        "evaluations": lambda key: [_evaluation(fields) for fields in facts.objects(key)],
        "noise": facts.rows,
        "noise_told": facts.whole,
    }
    values |= {key: take(key) for key, take in takers.items() if key in facts}
    return Progress(**values)


def _evaluation(fields: Fields) -> dict[str, Any]:
    """An evaluation as `Progress` holds it; an older version may have written it without the last fields."""
    wholes = ("update", "examples")
    added = {"noise_scale", "validation_loss_averaged"}
    for key in Evaluation.__dataclass_fields__.keys() - added | fields.values.keys():
        if key in wholes:
            fields.whole(key)
        else:
            fields.number_or_none(key)
    fields.only(Evaluation.__dataclass_fields__.keys())
    return fields.values

"""Checkpoints: plain arrays and JSON with hashes, never a pickle, in any store.

A trial's store holds `resume-<update>.npz` while it trains and `best.npz` and `last.npz` after. Each archive has a
`.json` beside it, written after it: the sha256 of the archive, the trial and the name it was kept under, what else is
known of it, and a sha256 of all that. What has another hash, trial or name does not count. `trial_id` is a hash of the
data's too, so that no trial goes on from weights that other data gave.
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

# Without it the JSON is of the first format, which had only the archive's hash and the facts.
_FORMAT = 2
_KEYS = {"format", "trial_id", "name", "archive", "facts", "sha256"}
_FIRST_KEYS = {"sha256", "facts"}


@dataclass(kw_only=True)
class Progress:
    """Where a trial stands; it changes as the trial goes on. Losses are summed since the last evaluation.

    `loss_weight` is by what that sum is to be divided: updates, or target tokens in global batches for language_model.
    `noise` are the moments of each update that was measured (`trainer.update.noise`), of which `noise_told` went into
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


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A checkpoint in memory: where the trial stands, its weights, its optimiser, and its best weights so far."""

    progress: Progress
    weights: Arrays
    optimizer_state: Arrays
    best_weights: Arrays


def _unheard(remark: str) -> None:
    """Nobody is told."""


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of the trial `trial_id`, which has `store` to itself.

    Whoever reads gives a `note`, which is called with each remark in words: what is damaged and was passed over, and
    what is unverified, since an older version kept it.
    """

    store: Store
    trial_id: str

    def save(self, saved: Saved) -> None:
        """Publish a checkpoint to resume from, then drop all but it and the one before."""
        groups = {"weights": saved.weights, "optimizer": saved.optimizer_state, "best": saved.best_weights}
        name = _resume(saved.progress.update)
        self._publish(name, groups, asdict(saved.progress))
        # What lies further on was damaged, or this attempt would have gone on from there.
        resumable = list(self._resumable())
        kept = [other for other in resumable if other <= name][-2:]
        for other in resumable:
            if other not in kept:
                self._delete(other)

    def newest(
        self, *, total: int | None = None, most_bytes: int | None = None, note: Callable[[str], None] = _unheard
    ) -> Saved | None:
        """The newest checkpoint that is whole; None when there is none.

        A trial of `total` updates leaves none at its end, and its model's archives have at most `most_bytes`.
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
        """The weights kept as "best" or "last"; None when they are not there or not whole."""
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
        """The arrays and the facts kept under a name; None when they are not there or not whole."""
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
        """The sha256 that the archive must have, by a description that is whole and is of this trial and name."""
        if fields.values.keys() == _FIRST_KEYS:
            return fields.text("sha256")
        fields.only(_KEYS)
        body = {key: value for key, value in fields.values.items() if key != "sha256"}
        if fields.text("sha256") != sha256_of(body):
            raise WrongFieldError("its description has another sha256")
        if fields.whole("format") != _FORMAT:
            raise WrongFieldError(f"it is of format {fields.whole('format')}, here {_FORMAT} is known")
        if (kept := (fields.text("trial_id"), fields.text("name"))) != (self.trial_id, name):
            raise WrongFieldError(f"it was kept as {kept[1]} of trial {kept[0]}")
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
    """The progress in `facts`, every value of its type.

    Raises:
        WrongFieldError: it is not that of a trial of `total` updates.
    """
    facts.only(Progress.__dataclass_fields__.keys())
    most = {} if total is None else {"most": total - 1}
    found: dict[str, Any] = {"update": facts.whole("update", **most)}
    takers: dict[str, Callable[[str], Any]] = {
        **dict.fromkeys(("seconds_training", "seconds_evaluating"), facts.number),
        **dict.fromkeys(("loss_sum", "loss_weight", "real_tokens", "padded_tokens"), facts.number),
        **dict.fromkeys(("training_loss", "validation_loss"), facts.number_or_none),
        **dict.fromkeys(("best_validation_loss", "best_validation_accuracy"), facts.number_or_none),
        "evaluations": lambda key: [_evaluation(one) for one in facts.objects(key)],
        "noise": facts.rows,
        "noise_told": facts.whole,
    }
    found |= {key: take(key) for key, take in takers.items() if key in facts}
    return Progress(**found)


def _evaluation(fields: Fields) -> dict[str, Any]:
    """An evaluation as `Progress` holds it; an older version may not have known the last of its fields."""
    wholes = ("update", "examples")
    for key in Evaluation.__dataclass_fields__.keys() - {"noise_scale"} | fields.values.keys():
        if key in wholes:
            fields.whole(key)
        else:
            fields.number_or_none(key)
    fields.only(Evaluation.__dataclass_fields__.keys())
    return fields.values

"""A study that can run: its spec, its data, its trials and its layout, examined once (`cluster.study.preflight`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cluster.study import factory_code, identity, placement, protocol
from cluster.study.capacity import Capacity
from cluster.study.spec import StudySpec
from cluster.study.target import Begun
from trainer.data import guess
from trainer.data.inputs import TOKENS
from trainer.data.manifest import Manifest
from trainer.order.plan import total_updates
from trainer.trial import TrialSpec


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study that can run: its data exist, its lanes fit, and `trials`, the grid of its axes, is known.

    `begun` holds the target and margin with which its confirmations began, which they keep whatever the spec has now;
    None before.
    `screened_on` are the seeds of the screen with which it began, if it was run before, and `tried_on` those of the
    plain grid that it was before it had a protocol. `known_as` is the hash under which its summary has its spec.
    """

    spec: StudySpec
    manifest: Manifest
    trials: tuple[TrialSpec, ...]
    placed: placement.Placement
    capacity: Capacity
    begun: Begun | None = None
    screened_on: tuple[int, ...] = ()
    tried_on: tuple[int, ...] = ()
    known_as: str | None = None

    def plan(self, losses: Mapping[str, float]) -> protocol.Wanted:
        """The trials that the study wants, given the losses so far, by trial_id."""
        declared = self.spec.margin.validation_loss if self.spec.margin else None
        conditions = protocol.Conditions(
            guess=guess.baseline_loss(self.manifest),
            margin=self.begun.margin if self.begun else declared,
            declared_seeds=self.begun.seeds if self.begun else (),
            screened_on=self.screened_on,
            tried_on=self.tried_on,
            target_after=self.begun.or_same(self.spec.target_after) if self.begun else self.spec.target_after,
        )
        return protocol.wanted(self.trials, self.spec.protocol, losses, conditions)

    def asked(self, plan: protocol.Wanted) -> int:
        """How many trials the study asks for in all, as far as `plan` shows so far."""
        return max(len(plan.trials), len(self.expected())) if plan.open else len(plan.trials)

    def expected(self) -> tuple[TrialSpec, ...]:
        """As many and as long trials as the study wants, as far as can be known before it runs."""
        return protocol.expected(self.trials, self.spec.protocol)

    def examples(self, trial: TrialSpec) -> int:
        """The examples that a trial of this study uses by its budget; 0 for a budget in seconds."""
        updates = total_updates(trial.budget, global_batch=trial.global_batch, rows=self.manifest.splits["train"].rows)
        return (updates or 0) * trial.global_batch

    @cached_property
    def spec_hash(self) -> str:
        """The hash that identifies the spec (`cluster.study.identity`)."""
        return self.known_as or identity.spec_hash(self.spec)

    @cached_property
    def row(self) -> dict[str, Any]:
        """The columns of a summary's `studies` that come from the spec and its data."""
        return {
            "study": self.spec.study,
            "spec_hash": self.spec_hash,
            "spec_json": identity.canonical_json(self.spec),
            "data": self.spec.data,
            "data_hash": self.manifest.data_hash,
            "task": self.spec.task,
            "train_rows": self.manifest.splits["train"].rows,
            "factory_sha256": self.factory_sha256,
            "description": self.spec.description,
            "tags": ", ".join(self.spec.tags) or None,
        }

    @cached_property
    def factory_sha256(self) -> str | None:
        """The hash of the code in the current folder that builds the model; None where it is not the user's own."""
        factory = factory_code.factory_of(self.spec)
        return None if factory is None else factory_code.sha256_of(factory_code.files_of(factory, Path.cwd()))

    @property
    def workers(self) -> dict[int, int]:
        """The workers for each global batch."""
        return {trial.global_batch: self.spec.resources.workers_at(trial.global_batch) for trial in self.trials}

    @property
    def micro_batches(self) -> dict[int, int]:
        """The rows of a micro-batch for each global batch."""
        batches = {trial.global_batch for trial in self.trials}
        return {batch: placement.micro_batch_rows(self.spec.resources, batch) for batch in batches}

    @property
    def memory_bytes(self) -> int | None:
        """The memory limit of a worker; None if only the machine limits it."""
        gib = self.spec.resources.memory_gib
        return None if gib is None else int(gib * 2**30)


def sizes_of(trial: TrialSpec, manifest: Manifest) -> dict[str, int]:
    """The sizes of a trial's model and rows from which its memory is guessed (`cluster.study.memory.guess`)."""
    text = manifest.kind == TOKENS
    return {
        "vocabulary_size": manifest.vocabulary_size if text else 0,
        "outputs": manifest.outputs(trial.task),
        "features_width": 0 if text else manifest.features_width,
        "length": manifest.longest,
    }

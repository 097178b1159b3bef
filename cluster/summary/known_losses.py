"""The answers that a study has so far: a loss for each trial that need not be run again, and what fits into memory."""

import math

import pyarrow as pa
import pyarrow.compute as pc

from cluster.study.memory import MemoryModel
from cluster.study.protocol import NO_LOSS
from cluster.summary import query
from cluster.summary.tables import COMPLETED, OUT_OF_MEMORY
from trainer.trial import TrialSpec


def answers(trials: pa.Table, spec_hash: str) -> dict[str, float]:
    """The loss by which each trial of a study that has an answer is compared, by trial_id, from the study's `trials`.

    Out-of-memory rows written under another spec than that of `spec_hash` do not count: those resources may have been
    smaller.
    """
    elsewhere = pc.and_kleene(pc.equal(trials["state"], OUT_OF_MEMORY), pc.not_equal(trials["spec_hash"], spec_hash))
    return losses(trials.filter(pc.invert(elsewhere)))


def micro_batches(trials: pa.Table, spec_hash: str) -> dict[str, int]:
    """The limit on micro-batches by dtype, from attempts that ran out of memory under the spec of `spec_hash`."""
    under_spec = pc.equal(trials["spec_hash"], spec_hash)
    exhausted = trials.filter(pc.and_kleene(pc.is_valid(trials["micro_batch_next"]), under_spec))
    if not exhausted.num_rows:
        return {}
    smallest = exhausted.group_by("dtype").aggregate([("micro_batch_next", "min")])
    return dict(zip(smallest["dtype"].to_pylist(), smallest["micro_batch_next_min"].to_pylist(), strict=True))


def memory_model(probes: pa.Table, trial: TrialSpec) -> MemoryModel | None:
    """The memory of a worker with trials like this one, from the last of its study's `probes` that measured it."""
    of_kind = (pc.field("kind") == "memory") & (pc.field("dtype") == trial.dtype)
    rows = probes.filter(of_kind & (pc.field("optimizer") == trial.optimizer) & pc.field("fit_base_bytes").is_valid())
    if not rows.num_rows:
        return None
    last = rows.take(pc.sort_indices(rows, sort_keys=[("probed_at", "descending")])[:1]).to_pylist()[0]
    return MemoryModel(base_bytes=last["fit_base_bytes"], bytes_per_place=last["fit_bytes_per_place"], measured=True)


def losses(trials: pa.Table) -> dict[str, float]:
    """The best validation loss of each trial that completed, and NO_LOSS for the others that have an answer."""
    rows = query.finished(trials)
    columns = (rows[name].to_pylist() for name in ("trial_id", "state", "best_validation_loss"))
    return {
        trial_id: loss if state == COMPLETED and loss is not None and math.isfinite(loss) else NO_LOSS
        for trial_id, state, loss in zip(*columns, strict=True)
    }

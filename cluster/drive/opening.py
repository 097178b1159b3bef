"""Opening a study in its summary: this driver alone holds it, reads it, declares it, and goes on from there."""

import contextlib
import importlib.metadata
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from cluster.analysis.declared import as_begun
from cluster.study.factory_code import factory_of, refuse_other_code
from cluster.study.identity import refuse_other_study
from cluster.study.protocol import Unfolding, Wanted
from cluster.study.spec import ValidationLoss
from cluster.study.study import Study
from cluster.summary import query
from cluster.summary.driver.hold import Hold
from cluster.summary.driver.only import only_driver
from cluster.summary.known_losses import answers, micro_batches
from cluster.summary.store import ConflictError, Summary, check_writable
from cluster.summary.studies.unfinished import refuse_unfinished
from trainer import classes
from trainer.data import guess
from trainer.errors import UserError
from trainer.report import State

CODE_VERSION = importlib.metadata.version("batchscope")


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """What a study asks for, as its summary keeps it; `declared_at` is when its spec was first declared.

    Tune pickles the object that declares each phase, so it must not contain the hold, which cannot be pickled.
    """

    summary: Summary
    study: Study
    declared_at: datetime

    def declare(self, plan: Wanted) -> None:
        """Write what the study asks for, as far as `plan` is known."""
        study, margin, target = self.study, self.study.spec.margin, self.study.spec.target
        self.summary.write_study(
            {
                **study.row,
                "code_version": CODE_VERSION,
                "started_at": datetime.now(UTC),
                "declared_at": self.declared_at,
                "baseline_loss": guess.baseline_loss(study.manifest),
                "best_constant_loss": guess.best_constant_loss(study.manifest),
                "label_names": _label_names(study),
                "trials": study.asked(plan),
                "target": target.validation_loss if isinstance(target, ValidationLoss) else None,
                "margin": margin.validation_loss if margin else None,
            }
        )


def _label_names(study: Study) -> str | None:
    """The names of the classes of which trials record results, for the study's row."""
    names = study.manifest.label_names
    return json.dumps(names) if names and classes.is_recorded(study.spec.task, len(names)) else None


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A summary that is open for one study, the study as it goes on from there, and the hold on its name.

    `unfolding` has the losses so far; `micro_batches` are the limits left by earlier lack of memory, by dtype.
    """

    summary: Summary
    study: Study
    hold: Hold
    unfolding: Unfolding
    answered: frozenset[str]
    micro_batches: dict[str, int]
    declaration: Declaration

    def write_lost(self, error: str = "its lane went away before the trial ended") -> None:
        """Write the row of each attempt that began and has none; call this when no lane is left.

        Nothing is written once the hold is lost: another driver may have begun some of them.
        """
        if self.hold.lost() is not None:
            return
        for row in self.summary.lost_attempts(self.study.spec.study):
            # Meanwhile a lane on a cluster that cannot be reached may have ended the trial itself.
            with contextlib.suppress(ConflictError):
                self.summary.write_trial(
                    {**row, "state": str(State.LOST), "error": error, "ended_at": datetime.now(UTC)}
                )


@contextlib.contextmanager
def opened(study: Study, say: Callable[[str], None]) -> Iterator[Opened]:
    """Open the study in its summary for the block; the attempts that a killed driver left are written as LOST.

    `say` is called with a text when the driver has to wait.

    Raises:
        InputError: the summary cannot be written, another process runs this study, a command has moved or deleted half
            of it, or the name belongs to another one.
        NotReadyError: the store cannot be reached, or the hold was lost inside the block.
    """
    check_writable(study.spec.summary)
    summary = Summary(study.spec.summary)
    with only_driver(summary, study.spec.study, say) as hold:
        refuse_unfinished(summary, study.spec.study)
        unended = summary.lost_attempts(study.spec.study)
        here = _read(study, summary, hold)
        here.declaration.declare(here.unfolding.plan)
        here.write_lost("the driver of the study went away before the trial ended")
        if unended:
            # A lane that outlived its driver may have ended one of them after the study was read: that is an answer.
            here = _read(study, summary, hold)
        try:
            yield here
        except BaseException:
            # The block may have failed because nothing can be written; then the next driver writes what is missing.
            with contextlib.suppress(UserError):
                here.write_lost()
            raise
        here.write_lost()


def _read(study: Study, summary: Summary, hold: Hold) -> Opened:
    """Read everything that the summary knows about the study."""
    name = study.spec.study
    specs = query.studies(summary, name)
    refuse_other_study(study.spec, study.manifest.data_hash, specs.to_pylist())
    trials = query.trials(summary, name)
    ran = trials.select(["spec_hash", "state", "updates"]).to_pylist()
    refuse_other_code(factory_of(study.spec), study.factory_sha256, specs.to_pylist(), ran)
    study = as_begun(study, specs, trials)
    losses = answers(trials, study.spec_hash)
    first = {row["spec_hash"]: row["declared_at"] for row in specs.to_pylist()}.get(study.spec_hash)
    return Opened(
        summary=summary,
        study=study,
        hold=hold,
        unfolding=Unfolding(study.plan, losses),
        answered=frozenset(losses),
        micro_batches=micro_batches(trials, study.spec_hash),
        declaration=Declaration(summary=summary, study=study, declared_at=first or datetime.now(UTC)),
    )

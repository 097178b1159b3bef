"""A trial under way on one worker: its learner, progress, best weights and clocks."""

import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np

from trainer.averaged import AveragedWeights
from trainer.checkpoint import Arrays, Checkpoints, Progress, Saved
from trainer.data.share import Share
from trainer.data.splits import Data
from trainer.errors import DivergedError
from trainer.evaluate import Score, score, score_by_class
from trainer.order import plan
from trainer.report import Evaluation, Outcome, State
from trainer.riding import Riding
from trainer.trial import TrialSpec
from trainer.update import loss, noise, schedule
from trainer.update.update import Learner, Updated

# A mean training loss this far above that of an even guess has diverged, even if it is finite. A high validation loss
# does not show that: the model may have learnt its rows by heart.
NATS_TOO_FAR = 3.0


@dataclass(frozen=True, kw_only=True)
class Next:
    """What follows an update: whether it was the last, an evaluation is due, or the trial must stop here."""

    last: bool
    evaluate: bool
    stop: bool


class Journey:
    """A trial under way: its learner, its progress, and the clocks of training, evaluating and saving."""

    def __init__(
        self,
        trial: TrialSpec,
        learner: Learner,
        data: Data,
        checkpoints: Checkpoints,
        publish: Callable[[Evaluation], None],
        evaluation_rows: int | None = None,
    ) -> None:
        self.trial, self.learner, self.data, self.checkpoints, self.publish = trial, learner, data, checkpoints, publish
        self.evaluation_rows = evaluation_rows
        learner.start(trial)
        self.total = plan.total_updates(trial.budget, global_batch=trial.global_batch, rows=len(data.train))
        self.remark: str | None = None
        saved = self._saved()
        self.progress = saved.progress if saved else Progress()
        self.best_weights: Arrays = saved.best_weights if saved else []
        if saved:
            learner.restore(saved.weights, saved.optimizer_state)
        averages = learner.average if trial.average_examples else None
        self.averaged = AveragedWeights(trial, learner, averages, saved, evaluation_rows) if averages else None
        # Their receiver in the previous attempt may have been lost, so each attempt publishes the whole curve.
        for evaluation in self.progress.evaluations:
            publish(Evaluation(**evaluation))
        self.rate: float | None = None
        self.seconds_saving = 0.0
        self.resumed = replace(self.progress)
        self.evaluated_at = self.progress.seconds_training
        self.saved_at = time.monotonic()
        self.first_update_at: float | None = None
        self.gradient_norm: float | None = None

    def update(self, share: Share, wish: State | None) -> Next:
        """Make one update; the returned value is the same on every worker."""
        started = time.monotonic()
        self._set_rate()
        parts = self._add(share)
        updated = self.learner.update(global_batch=self.trial.global_batch, extras=self._riding(share, wish, *parts))
        if self.averaged and updated.finite:
            self.averaged.move(self.progress.update + 1)
        summed = Riding(*updated.extras.tolist())
        self._account(updated, summed, time.monotonic() - started)
        if share.measured:
            self._measure(updated, summed)
        update = self.progress.update
        due = plan.is_due(
            self.trial.evaluate_every, update=update, global_batch=self.trial.global_batch, rows=len(self.data.train)
        )
        last = summed.time_up > 0 or (self.total is not None and update >= self.total)
        return Next(last=last, evaluate=due or summed.evaluation_due > 0, stop=summed.stop > 0)

    def evaluate(self) -> None:
        """Score the validation split, keep the weights if they are the best so far, and publish the evaluation."""
        started = time.monotonic()
        result = score(self.learner, self.data.validation, at_once=self.evaluation_rows)
        progress = self.progress
        # The batches of a language model may have no target at all.
        progress.training_loss = progress.loss_sum / progress.loss_weight if progress.loss_weight else None
        progress.loss_sum, progress.loss_weight = 0.0, 0.0
        progress.validation_loss = result.loss
        if not np.isfinite(result.loss):
            raise DivergedError(progress.update, "the validation loss")
        guess = loss.of_a_guess(self.trial.task, outputs=self.learner.shape.outputs)
        if guess is not None and progress.training_loss is not None and progress.training_loss > guess + NATS_TOO_FAR:
            how = f"of {progress.training_loss:.3g} nats is {NATS_TOO_FAR:g} above that of a guess"
            raise DivergedError(progress.update, "the training loss", how)
        if progress.best_validation_loss is None or result.loss < progress.best_validation_loss:
            progress.best_validation_loss, progress.best_validation_accuracy = result.loss, result.accuracy
            self.best_weights = self.learner.weights()
        averaged = self.averaged.evaluate(self.data.validation, progress) if self.averaged else None
        progress.seconds_evaluating += time.monotonic() - started
        self.evaluated_at = progress.seconds_training
        evaluation = Evaluation(
            update=progress.update,
            examples=self._examples(),
            epoch=self._examples() / len(self.data.train),
            seconds=progress.seconds_training,
            training_loss=progress.training_loss,
            validation_loss=result.loss,
            validation_accuracy=result.accuracy,
            gradient_norm=self.gradient_norm,
            learning_rate=self._rate(max(0, progress.update - 1)),
            noise_scale=noise.scale(progress.noise[progress.noise_told :]),
            validation_loss_averaged=averaged,
        )
        progress.noise_told = len(progress.noise)
        progress.evaluations.append(asdict(evaluation))
        self.publish(evaluation)

    def reached_target(self) -> bool:
        """Whether the last two evaluations are at or below the trial's `stop_at_loss`; a single one may be luck."""
        last = [evaluation["validation_loss"] for evaluation in self.progress.evaluations[-2:]]
        target = self.trial.stop_at_loss
        return target is not None and len(last) == 2 and max(last) <= target

    def save(self) -> None:
        """Publish a checkpoint; only rank 0 writes."""
        started = time.monotonic()
        if self.learner.collective.world.rank == 0:
            self.checkpoints.save(
                Saved(
                    progress=self.progress,
                    weights=self.learner.weights(),
                    optimizer_state=self.learner.optimizer_state(),
                    best_weights=self.best_weights,
                    averages=self.averaged.arrays() if self.averaged else [],
                    best_averaged=self.averaged.best if self.averaged else [],
                )
            )
        self.saved_at = time.monotonic()
        self.seconds_saving += self.saved_at - started

    def seconds_since_saved(self) -> float:
        """Seconds since the last checkpoint, or since the attempt began."""
        return time.monotonic() - self.saved_at

    def stopped(self, state: State) -> Outcome:
        """End before the budget is used: for good (STOPPED), or with a checkpoint from which the trial goes on."""
        if state is State.STOPPED:
            return self.ended(state)
        self.save()
        return self._outcome(state, None, None)

    def ended(self, state: State, error: str | None = None) -> Outcome:
        """Keep the best and the last weights; score the test split once, with the best."""
        last = self.learner.weights()
        best = self.best_weights or last
        if self.learner.collective.world.rank == 0:
            started = time.monotonic()
            self.checkpoints.finish(best=best, last=last)
            self.seconds_saving += time.monotonic() - started
        if state is not State.COMPLETED:
            return self._outcome(state, error, None)
        started = time.monotonic()
        self.learner.restore(best)
        test = score_by_class(self.learner, self.data.test, split="test", at_once=self.evaluation_rows)
        averaged = self.averaged.test(self.data.test) if self.averaged else None
        self.progress.seconds_evaluating += time.monotonic() - started
        return replace(self._outcome(state, error, test), test_loss_averaged=averaged)

    def _saved(self) -> Saved | None:
        """The checkpoint to go on from; the log and the outcome name those that were skipped."""
        notes: list[str] = []
        saved = self.checkpoints.newest(total=self.total, most_bytes=self.learner.most_bytes, note=notes.append)
        if notes:
            began = saved.progress.update if saved else 0
            self.remark = f"this attempt began at update {began}: {'; '.join(notes)}"
            sys.stderr.write(f"trial {self.trial.trial_id}: {self.remark}\n")
        return saved

    def _rate(self, update: int) -> float:
        return schedule.rate(self.trial, update=update, total=self.total)

    def _set_rate(self) -> None:
        """Give the optimizer the learning rate of the coming update, if that differs from the last."""
        rate = self._rate(self.progress.update)
        if rate != self.rate:
            self.learner.set_rate(rate)
            self.rate = rate

    def _add(self, share: Share) -> tuple[float, float]:
        """Add this worker's share; return the last two numbers of `Riding`, which are 0 if it is not measured."""
        if not share.measured:
            for micro_batch in share.micro_batches:
                self.learner.add(micro_batch)
            return 0.0, 0.0
        squared = sum(self.learner.add_measured(micro_batch) for micro_batch in share.micro_batches)
        return sum(len(micro_batch.labels) ** 2 for micro_batch in share.micro_batches), squared

    def _measure(self, updated: Updated, summed: Riding) -> None:
        moments = noise.moments(
            rows=self.trial.global_batch,
            squared=(updated.targets * updated.gradient_norm) ** 2,
            part_rows_squared=summed.part_rows_squared,
            parts_squared=summed.parts_squared,
        )
        self.progress.noise.append(list(moments))

    def _riding(self, share: Share, wish: State | None, part_rows_squared: float, parts_squared: float) -> Riding:
        """This worker's numbers; only rank 0 sets the wish and looks at the clock."""
        first = self.learner.collective.world.rank == 0
        seconds = self.progress.seconds_training
        budget, every = self.trial.budget, self.trial.evaluate_every
        time_up = budget.unit == "seconds" and seconds >= budget.amount
        due = every.unit == "seconds" and seconds // every.amount > self.evaluated_at // every.amount
        return Riding(
            stop=first and wish is not None,
            time_up=first and time_up,
            evaluation_due=first and due,
            real_tokens=share.real_tokens,
            padded_tokens=share.padded_tokens,
            part_rows_squared=part_rows_squared,
            parts_squared=parts_squared,
        )

    def _account(self, updated: Updated, summed: Riding, seconds: float) -> None:
        """Count an update.

        Raises:
            DivergedError: its loss or gradient was not finite, so the update was not applied.
        """
        progress = self.progress
        if not updated.finite:
            raise DivergedError(progress.update, "the gradient" if np.isfinite(updated.loss) else "the loss")
        if self.first_update_at is None:
            # Its own seconds are of training, and no attempt has more seconds than its time.
            self.first_update_at = time.time() - seconds
        progress.update += 1
        progress.seconds_training += seconds
        weight = updated.targets / self.trial.global_batch
        progress.loss_sum += updated.loss * weight
        progress.loss_weight += weight
        progress.real_tokens += summed.real_tokens
        progress.padded_tokens += summed.padded_tokens
        self.gradient_norm = updated.gradient_norm

    def _examples(self) -> int:
        return self.progress.update * self.trial.global_batch

    def _outcome(self, state: State, error: str | None, test: Score | None) -> Outcome:
        progress = self.progress
        seconds = progress.seconds_training
        later = progress.noise[len(progress.noise) // 2 :]
        pooled = noise.average(later)
        return Outcome(
            state=state,
            error="; ".join(text for text in (error, self.remark) if text) or None,
            updates=progress.update,
            examples=self._examples(),
            epochs=self._examples() / len(self.data.train),
            first_update_at=self.first_update_at,
            seconds_training=seconds,
            seconds_resumed=self.resumed.seconds_training,
            seconds_evaluating=progress.seconds_evaluating - self.resumed.seconds_evaluating,
            seconds_saving=self.seconds_saving,
            examples_per_second=self._examples() / seconds if seconds else None,
            tokens_per_second=progress.real_tokens / seconds if seconds else None,
            padding_fraction=1 - progress.real_tokens / progress.padded_tokens if progress.padded_tokens else None,
            final_training_loss=progress.training_loss,
            final_validation_loss=progress.validation_loss,
            best_validation_loss=progress.best_validation_loss,
            best_validation_accuracy=progress.best_validation_accuracy,
            test_loss=test.loss if test else None,
            test_accuracy=test.accuracy if test else None,
            test_classes=test.by_class if test else None,
            noise_scale=noise.scale(later),
            noise_squared_gradient=pooled.squared_gradient if pooled else None,
            noise_trace=pooled.trace if pooled else None,
            best_validation_loss_averaged=progress.best_averaged_loss,
        )

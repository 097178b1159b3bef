"""Rows per second of training: our learner against `keras.Model.fit` of the same model on the same rows.

    python -m tests.benchmarks.rows_per_second [--data FOLDER] [--batches 16 64 256] [--threads 2] [--seconds 5]

What is measured. For each global batch B, blocks of the same N updates, over the same rows in the same (endless)
order, alternate between the two sides; the side that goes first alternates too. N is chosen so that a block takes
about `--seconds`. A ratio is one pair of blocks; printed are medians and, in brackets, the least and the most.

Each side is a process of its own that waits while the other one computes, so that neither shares a thread pool, an
allocator or a setting with the other. Both get `--threads` threads within an operation; ours one between operations,
as in a lane's worker, Keras as many as `--threads` (or `--keras-inter-op`), because a `fit` may use them.

Ours is what `trainer.loop` does between two evaluations: shares read ahead by a thread, micro-batches grouped by
length, `Journey.update`. The micro-batch is the one that `batchscope run` would take (or `--micro-batch`). XLA
compiles our recurrence once per shape and process: every shape of the blocks to come is computed once before them, and
the seconds of that are printed as `warm`. A trial on a cold lane pays them; `study_against_loop` has them in its time.

Keras is one `fit` a block, compiled with the loss alone, `verbose=0`, no metric and no callback per batch. Its data
are what Keras itself makes of a `PyDataset` (`tf.data` from a generator, prefetched), but with a declared signature:
Keras guesses the signature from the first two batches, and fails later when these were equally long. Each batch is
right-padded to its own longest row. The clock is read by a callback at the beginning and the end of the epoch, which
leaves out what a `fit` does before its first batch (tracing, too, is done in a block of its own before).
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tests.benchmarks import setting

WARM_UPDATES = 12


@dataclass(frozen=True)
class Block:
    """A block of updates: how long it took, and how many of its tokens were real and computed."""

    seconds: float
    real_tokens: int
    padded_tokens: int


@dataclass(frozen=True)
class Compiled:
    """How long it took to warm up for the shapes that were to come."""

    seconds: float


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What both sides are told."""

    data: str
    global_batch: int
    micro_batch: int
    threads: int
    inter_op: int
    embedding_units: int
    lstm_units: int
    dropout: float
    optimizer: str
    steps_per_execution: int


def _trial(settings: Settings) -> Any:
    from trainer.trial import Duration, ModelSpec, TrialSpec

    return TrialSpec(
        data_hash="benchmark",
        task="classification",
        model=ModelSpec(
            embedding_units=settings.embedding_units, lstm_units=settings.lstm_units, dropout=settings.dropout
        ),
        global_batch=settings.global_batch,
        learning_rate=0.001,
        optimizer=settings.optimizer,
        dtype="float32",
        seed=0,
        budget=Duration(unit="updates", amount=1e12),
        evaluate_every=Duration(unit="updates", amount=1e12),
    )


def _set_threads(intra: int, inter: int) -> None:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(intra)
    tf.config.threading.set_inter_op_parallelism_threads(inter)


class Ours:
    """Our side: the learner, driven as `trainer.loop` drives it."""

    def __init__(self, settings: Settings) -> None:
        _set_threads(settings.threads, 1)
        from cluster.lanes.worker import open_data, shape_of
        from trainer.checkpoint import Checkpoints
        from trainer.collective import Collective, World
        from trainer.journey import Journey
        from trainer.store import Folder
        from trainer.update import Learner

        self.settings, self.trial = settings, _trial(settings)
        manifest, self.data = open_data(settings.data)
        learner = Learner(shape_of(self.trial, manifest), Collective(World()))
        with tempfile.TemporaryDirectory() as empty:
            self.journey = Journey(self.trial, learner, self.data, Checkpoints(Folder(empty)), lambda evaluation: None)

    def warm(self, first: int, updates: int) -> Compiled:
        """Compute once each shape of micro-batch that these updates hold, and change nothing."""
        started, seen = time.perf_counter(), set()
        for share in self._shares(first, updates):
            for micro_batch in share.micro_batches:
                shape = tuple(micro_batch.tokens.shape)
                if shape not in seen:
                    seen.add(shape)
                    self.journey.learner.add(micro_batch)
        self.journey.learner.gradient(global_batch=self.settings.global_batch)
        return Compiled(time.perf_counter() - started)

    def block(self, first: int, updates: int) -> Block:
        """Updates `first` to `first + updates`."""
        from trainer.rows import read_ahead

        real, padded = 0, 0
        started = time.perf_counter()
        for share in read_ahead(self._shares(first, updates)):
            self.journey.update(share, None)
            real, padded = real + share.real_tokens, padded + share.padded_tokens
        return Block(time.perf_counter() - started, real, padded)

    def _shares(self, first: int, updates: int) -> Iterator[Any]:
        from trainer.share import shares_of

        world = self.journey.learner.collective.world
        return islice(shares_of(self.trial, self.data.train, world, self.settings.micro_batch, first), updates)


class Keras:
    """Keras' side: `fit` of the plain model."""

    def __init__(self, settings: Settings) -> None:
        _set_threads(settings.threads, settings.inter_op)
        from cluster.lanes.worker import open_data, shape_of
        from trainer import model
        from trainer.update import OPTIMIZERS

        self.settings, self.trial = settings, _trial(settings)
        manifest, data = open_data(settings.data)
        self.rows = data.train
        shape = shape_of(self.trial, manifest)
        self.model = model.build(
            shape.model,
            vocabulary_size=shape.vocabulary_size,
            outputs=shape.outputs,
            task=shape.task,
            dtype=shape.dtype,
            seed=0,
        )
        optimizer = OPTIMIZERS[settings.optimizer]()
        optimizer.learning_rate = self.trial.learning_rate
        self.model.compile(
            optimizer, loss="sparse_categorical_crossentropy", steps_per_execution=settings.steps_per_execution
        )
        self.real = self.padded = 0

    def block(self, first: int, updates: int) -> Block:
        """Updates `first` to `first + updates`."""
        import keras
        import tensorflow as tf

        signature = (tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32))
        batches = tf.data.Dataset.from_generator(lambda: self._batches(first, updates), output_signature=signature)
        batches = batches.apply(tf.data.experimental.assert_cardinality(updates)).prefetch(tf.data.AUTOTUNE)
        times: list[float] = []
        clock = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: times.append(time.perf_counter()),
            on_epoch_end=lambda epoch, logs: times.append(time.perf_counter()),
        )
        self.model.fit(batches, epochs=1, verbose=0, shuffle=False, callbacks=[clock])
        return Block(times[1] - times[0], self.real, self.padded)

    def _batches(self, first: int, updates: int) -> Iterator[tuple[Any, Any]]:
        from trainer import plan
        from trainer.order import rows_at

        self.real = self.padded = 0
        for update in range(first, first + updates):
            positions = plan.positions_of(update, self.settings.global_batch)
            numbers = rows_at(positions, rows=len(self.rows), seed=self.trial.seed)
            lengths = self.rows.lengths(numbers)
            tokens = self.rows.tokens(numbers)[:, : max(1, lengths.max())]
            self.real, self.padded = self.real + int(lengths.sum()), self.padded + tokens.size
            yield tokens, self.rows.labels(numbers)


def _serve(side: type[Ours] | type[Keras], settings: Settings, pipe: Any) -> None:
    """The body of a side's process: a block for each request, until there is none."""
    # TensorFlow's greetings, which no setting silences; what goes wrong here is sent.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        served = side(settings)
        while (request := pipe.recv()) is not None:
            name, *arguments = request
            pipe.send(getattr(served, name)(*arguments))
    except Exception:
        pipe.send(traceback.format_exc())


class Process:
    """A side in a process of its own."""

    def __init__(self, side: type[Ours] | type[Keras], settings: Settings) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(side, settings, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def block(self, first: int, updates: int) -> Block:
        """One block, waited for."""
        return self._ask("block", first, updates)

    def warm(self, first: int, updates: int) -> Compiled:
        """Warmed up for these updates."""
        return self._ask("warm", first, updates)

    def _ask(self, *request: Any) -> Any:
        self._pipe.send(request)
        answer = self._pipe.recv()
        if isinstance(answer, str):
            raise SystemExit(answer)
        return answer

    def end(self) -> None:
        """End the process."""
        try:
            self._pipe.send(None)
            self._process.join(20)
        except OSError:
            pass
        self._process.kill()
        self._process.join()


def measure(settings: Settings, *, seconds: float, blocks: int) -> str:
    """The line of one global batch."""
    ours, plain = Process(Ours, settings), Process(Keras, settings)
    try:
        warmed = ours.warm(0, WARM_UPDATES).seconds
        warm = [side.block(0, WARM_UPDATES) for side in (ours, plain, ours, plain)][2:]
        slowest = max(block.seconds for block in warm) / WARM_UPDATES
        # A whole number of calls of `steps_per_execution` updates.
        unit = settings.steps_per_execution
        updates = max(2, round(seconds / slowest / unit)) * unit
        warmed += ours.warm(WARM_UPDATES, blocks * updates).seconds
        pairs = []
        for number in range(blocks):
            order = (ours, plain) if number % 2 == 0 else (plain, ours)
            done = {side: side.block(WARM_UPDATES + number * updates, updates) for side in order}
            pairs.append((done[ours], done[plain]))
    finally:
        ours.end()
        plain.end()
    return _line(settings, updates, pairs, warmed)


def _line(settings: Settings, updates: int, pairs: list[tuple[Block, Block]], warmed: float) -> str:
    rows = updates * settings.global_batch
    speeds = [[rows / pair[side].seconds for pair in pairs] for side in (0, 1)]
    ratios = [pair[1].seconds / pair[0].seconds for pair in pairs]
    padding = [
        1 - sum(pair[side].real_tokens for pair in pairs) / sum(pair[side].padded_tokens for pair in pairs)
        for side in (0, 1)
    ]
    seconds = statistics.median(block.seconds for pair in pairs for block in pair)
    return (
        f"{settings.global_batch:>6}{settings.micro_batch:>6}{setting.median_range(speeds[0], 0):>22}"
        f"{setting.median_range(speeds[1], 0):>22}{setting.median_range(ratios):>20}"
        f"{padding[0]:>9.0%}{padding[1]:>9.0%}{len(pairs):>8}{updates:>9}{seconds:>8.1f}{warmed:>9.1f}"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    setting.add_data_options(parser)
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 64, 256], metavar="B")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keras-inter-op", type=int, help="Keras' threads between operations (default: --threads)")
    parser.add_argument("--steps-per-execution", type=int, default=1, help="Keras' option of `compile`")
    parser.add_argument("--micro-batch", type=int, help="ours (default: what `batchscope run` takes)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of a block, about")
    parser.add_argument("--blocks", type=int, default=5, help="of each side")
    parser.add_argument("--embedding-units", type=int, default=64)
    parser.add_argument("--lstm-units", type=int, default=128)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--optimizer", default="adam")
    return parser.parse_args()


def main() -> None:
    """Measure every global batch and print its line."""
    options = _options()
    from cluster.study.placement import micro_batch_rows
    from cluster.study.spec import Resources

    print(setting.machine_line(), flush=True)
    with setting.temporary_home() as home:
        data = setting.data_folder(options, home)
        print(setting.describe_data(data))
        inter_op = options.keras_inter_op or options.threads
        print(
            f"model: embedding {options.embedding_units}, LSTM {options.lstm_units}, dropout {options.dropout:g}, "
            f"{options.optimizer}, float32; threads within an operation {options.threads}, "
            f"between: ours 1, Keras {inter_op}; steps_per_execution {options.steps_per_execution}"
        )
        print(
            f"\n{'B':>6}{'micro':>6}{'ours, rows/s':>22}{'fit, rows/s':>22}{'ours / fit':>20}"
            f"{'padding':>9}{'fit':>9}{'blocks':>8}{'updates':>9}{'s each':>8}{'warm, s':>9}",
            flush=True,
        )
        for batch in options.batches:
            settings = Settings(
                data=data,
                global_batch=batch,
                micro_batch=options.micro_batch or micro_batch_rows(Resources(), batch),
                threads=options.threads,
                inter_op=inter_op,
                embedding_units=options.embedding_units,
                lstm_units=options.lstm_units,
                dropout=options.dropout,
                optimizer=options.optimizer,
                steps_per_execution=options.steps_per_execution,
            )
            print(measure(settings, seconds=options.seconds, blocks=options.blocks), flush=True)


if __name__ == "__main__":
    main()

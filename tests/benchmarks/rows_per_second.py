"""Rows per second of training: our learner against `keras.Model.fit`, and PyTorch, with the same model and rows.

    python -m tests.benchmarks.rows_per_second [--data FOLDER | --articles debian_sections.parquet --max-tokens 200]
        [--batches 8 16 64 256 512] [--threads 2] [--seconds 5] [--torch]

What is measured. For each global batch B, blocks of the same N updates, over the same rows in the same (endless)
order, alternate between the sides; the side that goes first alternates too. N is chosen so that a block takes
about `--seconds`. A ratio is one pair of blocks; printed are medians and, in brackets, the least and the most.

Each side is a process of its own that waits while the others compute, so that none shares a thread pool, an
allocator or a setting with another. All get `--threads` threads within an operation; ours and Keras as many between
operations (or `--keras-inter-op`), as a lane's worker and a `fit` have.

Ours is what `trainer.loop` does between two evaluations: shares read ahead by a thread, micro-batches grouped by
length, `Journey.update`. The micro-batch is the one that `batchscope run` would take (or `--micro-batch`). XLA
compiles our recurrence once per shape and process: every shape of the blocks to come is computed once before them, and
the seconds of that are printed as `warm`. A trial on a cold lane pays them; `study_against_loop` has them in its time.

Keras is one `fit` a block, compiled with the loss alone, `verbose=0`, no metric and no callback per batch. Its data
are what Keras itself makes of a `PyDataset` (`tf.data` from a generator, prefetched), but with a declared signature:
Keras guesses the signature from the first two batches, and fails later when these were equally long. Each batch is
right-padded to its own longest row. The clock is read by a callback at the beginning and the end of the epoch, which
leaves out what a `fit` does before its first batch (tracing, too, is done in a block of its own before).

PyTorch (`--torch`, where it is installed) is `tests.benchmarks.plain_torch`, padded as Keras' side is.

`limit` is the share of the processor's limit that ours reaches: the floating-point operations of the real tokens'
LSTM, forward and backward, in a second, against those of a product of two 2048-square matrices by TensorFlow with the
same threads, measured before and after the blocks.
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
LIMIT_SIZE = 2048
# Of ours over `fit`'s rows per second on package descriptions cut to 200 tokens.
GOALS = {8: 2.0, 16: 2.0, 64: 1.3, 256: 1.7, 512: 1.7}


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
        _set_threads(settings.threads, settings.threads)
        from tests.conftest import hash_of
        from trainer.checkpoint import Checkpoints
        from trainer.data.splits import open_data
        from trainer.data.store import Folder
        from trainer.journey import Journey
        from trainer.update.shape import Shape
        from trainer.update.update import Learner

        self.settings, self.trial = settings, _trial(settings)
        manifest, self.data = open_data(Folder(settings.data), hash_of(settings.data))
        learner = Learner(Shape.of(self.trial, manifest), self.collective())
        with tempfile.TemporaryDirectory() as empty:
            checkpoints = Checkpoints(Folder(empty), self.trial.trial_id)
            self.journey = Journey(self.trial, learner, self.data, checkpoints, lambda evaluation: None)

    def collective(self) -> Any:
        """The sum over this worker alone."""
        from trainer.order.world import World
        from trainer.update.collective import Collective

        return Collective(World())

    def warm(self, first: int, updates: int) -> Compiled:
        """Compute once each shape that these updates' micro-batches have for XLA, and change nothing."""
        import numpy as np

        from trainer.model.packing import pack
        from trainer.model.recurrence import strands

        started, seen = time.perf_counter(), set()
        for share in self._shares(first, updates):
            for micro_batch in share.micro_batches:
                lengths = np.count_nonzero(micro_batch.tokens, axis=1).astype("int32")
                packing = pack(lengths, micro_batch.tokens.shape[1], strands())
                shape = int(packing.rows), int(packing.room)
                if shape not in seen:
                    seen.add(shape)
                    self.journey.learner.add(micro_batch)
        self.journey.learner.gradient(global_batch=self.settings.global_batch)
        return Compiled(time.perf_counter() - started)

    def block(self, first: int, updates: int) -> Block:
        """Updates `first` to `first + updates`."""
        from trainer.data.rows import read_ahead

        real, padded = 0, 0
        started = time.perf_counter()
        for share in read_ahead(self._shares(first, updates)):
            self.journey.update(share, None)
            real, padded = real + share.real_tokens, padded + share.padded_tokens
        return Block(time.perf_counter() - started, real, padded)

    def limit(self) -> float:
        """Floating-point operations a second of a matrix product, the best of some."""
        import tensorflow as tf

        square, seconds = tf.random.normal([LIMIT_SIZE, LIMIT_SIZE]), []
        for _ in range(10):
            started = time.perf_counter()
            tf.matmul(square, square)[0, 0].numpy()
            seconds.append(time.perf_counter() - started)
        return float(2 * LIMIT_SIZE**3 / min(seconds))

    def _shares(self, first: int, updates: int) -> Iterator[Any]:
        from trainer.data.share import shares_of

        world = self.journey.learner.collective.world
        return islice(shares_of(self.trial, self.data.train, world, self.settings.micro_batch, first), updates)


class Keras:
    """Keras' side: `fit` of the plain model."""

    def __init__(self, settings: Settings) -> None:
        _set_threads(settings.threads, settings.inter_op)
        from tests.conftest import hash_of
        from trainer.data.splits import open_data
        from trainer.data.store import Folder
        from trainer.model import model
        from trainer.update.optimizers import OPTIMIZERS
        from trainer.update.shape import Shape

        self.settings, self.trial = settings, _trial(settings)
        manifest, data = open_data(Folder(settings.data), hash_of(settings.data))
        self.rows = data.train
        shape = Shape.of(self.trial, manifest)
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
        from trainer.order import plan
        from trainer.order.permutation import rows_at

        self.real = self.padded = 0
        for update in range(first, first + updates):
            positions = plan.positions_of(update, self.settings.global_batch)
            numbers = rows_at(positions, rows=len(self.rows), seed=self.trial.seed)
            lengths = self.rows.lengths(numbers)
            tokens = self.rows.tokens(numbers)[:, : max(1, lengths.max())]
            self.real, self.padded = self.real + int(lengths.sum()), self.padded + tokens.size
            yield tokens, self.rows.labels(numbers)


def _serve(side: Any, settings: Settings, pipe: Any) -> None:
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

    def __init__(self, side: Any, settings: Settings) -> None:
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

    def limit(self) -> float:
        """The processor's limit."""
        return self._ask("limit")

    def send(self, *request: Any) -> None:
        """Ask for something: the name of a method and its arguments."""
        self._pipe.send(request)

    def receive(self) -> Any:
        """The answer to what was asked."""
        answer = self._pipe.recv()
        if isinstance(answer, str):
            raise SystemExit(answer)
        return answer

    def _ask(self, *request: Any) -> Any:
        self.send(*request)
        return self.receive()

    def end(self) -> None:
        """End the process."""
        try:
            self._pipe.send(None)
            self._process.join(20)
        except OSError:
            pass
        self._process.kill()
        self._process.join()


def measure(
    settings: Settings, *, others: list[Any], seconds: float, blocks: int
) -> tuple[str, dict[str, list[float]]]:
    """The line of one global batch, and the ratios of ours to each of the others."""
    ours = Process(Ours, settings)
    sides = [ours, *(Process(side, settings) for side in others)]
    try:
        warmed = ours.warm(0, WARM_UPDATES).seconds
        warm = [side.block(0, WARM_UPDATES) for side in (*sides, *sides)][len(sides) :]
        slowest = max(block.seconds for block in warm) / WARM_UPDATES
        # A whole number of calls of `steps_per_execution` updates.
        unit = settings.steps_per_execution
        updates = max(2, round(seconds / slowest / unit)) * unit
        warmed += ours.warm(WARM_UPDATES, blocks * updates).seconds
        limits, rounds = [ours.limit()], []
        for number in range(blocks):
            done = {
                side: side.block(WARM_UPDATES + number * updates, updates) for side in sides[:: 1 if number % 2 else -1]
            }
            rounds.append([done[side] for side in sides])
        limits.append(ours.limit())
    finally:
        for side in sides:
            side.end()
    ratios = {
        side.__name__.lower(): [row[place].seconds / row[0].seconds for row in rounds]
        for place, side in enumerate(others, 1)
    }
    return _line(settings, updates, rounds, warmed, max(limits)), ratios


def _line(settings: Settings, updates: int, rounds: list[list[Block]], warmed: float, limit: float) -> str:
    rows = updates * settings.global_batch
    by_side = list(zip(*rounds, strict=True))
    speeds = [setting.median_range([rows / block.seconds for block in side], 0) for side in by_side]
    ratios = [
        setting.median_range([block.seconds / ours.seconds for ours, block in zip(by_side[0], side, strict=True)])
        for side in by_side[1:]
    ]
    padding = [
        1 - sum(block.real_tokens for block in side) / sum(block.padded_tokens for block in side)
        for side in by_side[:2]
    ]
    # A token's gates take the inputs' and the state's products, and twice as much backward.
    operations = 3 * 2 * 4 * settings.lstm_units * (settings.embedding_units + settings.lstm_units)
    share = statistics.median(block.real_tokens * operations / block.seconds / limit for block in by_side[0])
    seconds = statistics.median(block.seconds for side in by_side for block in side)
    return (
        f"{settings.global_batch:>6}{settings.micro_batch:>6}"
        + "".join(f"{cell:>20}" for cell in (*speeds, *ratios))
        + f"{padding[0]:>9.0%}{padding[1]:>9.0%}{share:>7.0%}{limit / 1e9:>9.0f}"
        f"{len(rounds):>8}{updates:>9}{seconds:>8.1f}{warmed:>9.1f}"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    setting.add_data_options(parser)
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 16, 64, 256, 512], metavar="B")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--torch", action="store_true", help="PyTorch too")
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
    from cluster.study.resources import Resources

    print(setting.machine_line(), flush=True)
    with setting.temporary_home() as home:
        data = setting.data_folder(options, home)
        print(setting.describe_data(data))
        inter_op = options.keras_inter_op or options.threads
        print(
            f"model: embedding {options.embedding_units}, LSTM {options.lstm_units}, dropout {options.dropout:g}, "
            f"{options.optimizer}, float32; threads within an operation {options.threads}, "
            f"between: ours {options.threads}, Keras {inter_op}; steps_per_execution {options.steps_per_execution}"
        )
        names = ["fit", *(["torch"] if options.torch else [])]
        print(
            f"\n{'B':>6}{'micro':>6}"
            + "".join(f"{f'{name}, rows/s':>20}" for name in ("ours", *names))
            + "".join(f"{f'ours / {name}':>20}" for name in names)
            + f"{'padding':>9}{'fit':>9}{'limit':>7}{'GFLOP/s':>9}"
            f"{'blocks':>8}{'updates':>9}{'s each':>8}{'warm, s':>9}",
            flush=True,
        )
        others: list[Any] = [Keras]
        if options.torch:
            from tests.benchmarks.plain_torch import Torch

            others.append(Torch)
        figures = []
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
            line, ratios = measure(settings, others=others, seconds=options.seconds, blocks=options.blocks)
            print(line, flush=True)
            for name, values in ratios.items():
                goal = (
                    f">= {GOALS[batch]}" if name == "keras" and batch in GOALS else ">= 1.0" if name == "torch" else ""
                )
                figures.append((f"rows per second, ours / {name}, B = {batch}", setting.median_range(values), goal))
        for found in figures:
            setting.figure(*found)


if __name__ == "__main__":
    main()

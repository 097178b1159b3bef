"""How much faster a worker reads than it trains: `python -m tests.benchmarks.warm_reading`.

Reading is `trainer.data.share.shares_of`, as `trainer.loop` calls it: which rows, their tokens from shards that lie in
the cache, cut into micro-batches of the size that `batchscope run` takes, as tensors. Training is what the loop does
with them: the learner's `add` of each micro-batch and its `update`, embedding 64, LSTM 128, adam, float32. Both in one
process, on one thread, on the same updates: blocks alternate, and training gets shares that were read before. Every
shape of the blocks is compiled before them. Random rows of 100 to 200 tokens in 20 shards, shuffled over all of them.

Prints rows per second of both sides and their ratio, medians (least-most). The goal is 20.
"""

import argparse
import os
import time
from itertools import islice
from typing import Any

from tests.benchmarks import generated, setting


def trial_of(global_batch: int, window_rows: int | None = None) -> Any:
    """A trial that never ends by itself."""
    from trainer.trial import Duration, ModelSpec, TrialSpec

    forever = Duration(unit="updates", amount=1e12)
    return TrialSpec(
        data_hash="benchmark",
        task="classification",
        model=ModelSpec(embedding_units=64, lstm_units=128),
        global_batch=global_batch,
        learning_rate=0.001,
        optimizer="adam",
        dtype="float32",
        seed=0,
        budget=forever,
        evaluate_every=forever,
        window_rows=window_rows,
    )


class Worker:
    """One process' learner and rows; a block is some updates, read or trained."""

    def __init__(self, folder: str, global_batch: int, micro_batch: int) -> None:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        from tests.conftest import hash_of
        from trainer.data.splits import open_data
        from trainer.data.store import Folder
        from trainer.order.world import World
        from trainer.update.collective import Collective
        from trainer.update.shape import Shape
        from trainer.update.update import Learner

        self.trial, self.micro_batch = trial_of(global_batch), micro_batch
        manifest, data = open_data(Folder(folder), hash_of(folder))
        self.rows = data.train
        self.learner = Learner(Shape.of(self.trial, manifest), Collective(World()))
        self.learner.start(self.trial)

    def read(self, first: int, updates: int) -> list[Any]:
        """The shares of these updates."""
        from trainer.data.share import shares_of

        world = self.learner.collective.world
        return list(islice(shares_of(self.trial, self.rows, world, self.micro_batch, first), updates))

    def train(self, shares: list[Any]) -> None:
        """An update of each share."""
        for share in shares:
            for micro_batch in share.micro_batches:
                self.learner.add(micro_batch)
            self.learner.update(global_batch=self.trial.global_batch)


def measure(worker: Worker, updates: int, blocks: int) -> tuple[list[float], list[float]]:
    """Rows per second of reading and of training, a pair for each block."""
    rows = updates * worker.trial.global_batch
    reading, training = [], []
    for block in range(blocks):
        started = time.perf_counter()
        shares = worker.read(block * updates, updates)
        read = time.perf_counter()
        worker.train(shares)
        reading.append(rows / (read - started))
        training.append(rows / (time.perf_counter() - read))
    return reading, training


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64, help="the global batch (default: %(default)s)")
    parser.add_argument("--updates", type=int, default=30, help="of a block (default: %(default)s)")
    parser.add_argument("--blocks", type=int, default=7)
    options = parser.parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    print(setting.machine_line(), flush=True)
    with setting.temporary_home() as home:
        generated.write_prepared(home / "data", shards=20, rows_a_shard=5_000)
        from cluster.study.placement import micro_batch_rows
        from cluster.study.resources import Resources

        micro_batch = micro_batch_rows(Resources(), options.batch)
        worker = Worker(str(home / "data"), options.batch, micro_batch)
        # All blocks' shapes are compiled, and all shards decoded and mapped.
        worker.train(worker.read(0, options.updates * options.blocks))
        reading, training = measure(worker, options.updates, options.blocks)
    ratios = [read / trained for read, trained in zip(reading, training, strict=True)]
    print(
        f"global batch {options.batch}, micro-batch {micro_batch}, {options.blocks} blocks of {options.updates} updates"
    )
    print(f"reading  {setting.median_range(reading, 0)} rows/s")
    print(f"training {setting.median_range(training, 0)} rows/s")
    setting.figure("rows per second, reading / training", setting.median_range(ratios, 0), ">= 20")


if __name__ == "__main__":
    main()

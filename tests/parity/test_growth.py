"""A worker that trains trial after trial needs no more memory for it."""

import ctypes
import gc
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

keras = pytest.importorskip("keras")
import tensorflow as tf

from tests.support import bodies
from trainer.checkpoint import Checkpoints
from trainer.data.store import Folder
from trainer.loop import train
from trainer.order.world import World
from trainer.trial import Duration, ModelSpec, TrialSpec
from trainer.update.collective import Collective

pytestmark = [pytest.mark.tf, pytest.mark.slow]
# By the first of them every number of rows is compiled, and every cache that is bounded is full.
WARM_UP, TRIALS, MANY_TRIALS = 12, 50, 100
KIB_A_TRIAL = 50
# A key of TensorFlow's own collectives took 1.5.
KIB_A_SUM = 0.2
MICRO_BATCH = 4
LSTM = ModelSpec(embedding_units=4, lstm_units=3, dropout=0.5)
OWN = ModelSpec(factory="tests.parity.test_growth:own")


def own(vocabulary_size: int, outputs: int) -> keras.Model:
    """A model whose layers Keras names, each time otherwise."""
    tokens = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(vocabulary_size, 6, mask_zero=True)(tokens)
    x = keras.layers.Dropout(0.3)(keras.layers.GlobalAveragePooling1D()(x))
    return keras.Model(tokens, keras.layers.Dense(outputs, activation="softmax")(x))


class Allocated(ctypes.Structure):
    """What glibc's `mallinfo2` answers."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "k")
    ]


def held_bytes() -> int:
    """What this process has asked of malloc and not given back: what it has free does not hide that it grows."""
    gc.collect()
    mallinfo = ctypes.CDLL("libc.so.6").mallinfo2
    mallinfo.restype = Allocated
    now = mallinfo()
    return int(now.uordblks + now.hblkhd)


def kib_each(do: Callable[[int], None], *, times: int, warm_up: int) -> float:
    """By how much what is held grows each time, once `do` was called `warm_up` times."""
    for number in range(warm_up):
        do(number)
    before = held_bytes()
    for number in range(warm_up, warm_up + times):
        do(number)
    return (held_bytes() - before) / 1024 / times


@pytest.mark.parametrize("model", [LSTM, OWN], ids=["built-in", "factory"])
def test_trial_after_trial_holds_no_more_memory(
    tiny_trial: Callable[..., TrialSpec], prepared: Path, tmp_path: Path, model: ModelSpec, long: bool
) -> None:
    trial = tiny_trial(
        model=model, budget=Duration(unit="updates", amount=4), evaluate_every=Duration(unit="updates", amount=2)
    )
    data, learner = bodies.open_data(str(prepared)), bodies.open_learner(World(), trial)
    batches = itertools.cycle((3, 4, 7, 8))

    def train_one(number: int) -> None:
        one = replace(trial, seed=number, learning_rate=0.001 * (1 + number), global_batch=next(batches))
        train(
            one,
            learner=learner,
            data=data,
            micro_batch=MICRO_BATCH,
            checkpoints=Checkpoints(Folder(str(tmp_path / str(number))), one.trial_id),
            checkpoint_every_seconds=0.0 if number % 10 == 0 else 1e9,
            publish=lambda _: None,
            heartbeat=lambda _: None,
            evaluation_rows=MICRO_BATCH,
        )

    assert kib_each(train_one, times=MANY_TRIALS if long else TRIALS, warm_up=WARM_UP) <= KIB_A_TRIAL


def test_a_sum_outside_a_trace_holds_no_more_memory() -> None:
    collective = Collective(World())
    collective._exchange = cast(Any, SimpleNamespace(sum=lambda array: 2 * array))

    def sums(_: int) -> None:
        for size in range(100):
            assert float(tf.reduce_sum(collective.sum(tf.ones(size)))) == 2.0 * size

    assert kib_each(sums, times=30, warm_up=5) / 100 <= KIB_A_SUM

"""A language whose entropy is known: ln 2 nats for each token, which any global batch reaches (V11)."""

from typing import Any

import numpy as np
import pytest

from tests.support import bodies
from trainer.checkpoint import Checkpoints
from trainer.data.splits import Data
from trainer.data.store import Folder
from trainer.loop import train
from trainer.order.world import World
from trainer.trial import Duration, ModelSpec, TrialSpec

pytestmark = [pytest.mark.tf]
LONGEST = 20
UPDATES = 800


class Doubling:
    """In the place of `trainer.data.rows.Rows`: each number from 1 to 10 is followed by itself or its double mod 11.

    After Keras' `test_masked_temporal`, where the two are targets of equal chance; padded on the right by 1 to 10.
    """

    def __init__(self, rows: int, seed: int) -> None:
        random = np.random.default_rng(seed)
        numbers = np.empty((rows, LONGEST), "int32")
        numbers[:, 0] = random.integers(1, 11, rows)
        for place in range(1, LONGEST):
            numbers[:, place] = numbers[:, place - 1] * random.integers(1, 3, rows) % 11
        self._lengths = LONGEST - random.integers(1, 11, rows)
        # Ids 0 and 1 are padding and the unknown token.
        self._tokens = (numbers + 1) * (np.arange(LONGEST) < self._lengths[:, None])
        self.first = np.array([0, rows])

    def __len__(self) -> int:
        return len(self._tokens)

    def keep_open(self, shards: int) -> None:
        """There are no shards."""

    def lengths(self, rows: np.ndarray) -> np.ndarray:
        return self._lengths[rows]

    def tokens(self, rows: np.ndarray) -> np.ndarray:
        return self._tokens[rows, : int(self._lengths[rows].max(initial=1))].astype("int32")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Any]:
    """By global batch: a trial's outcome after the same updates, which is what learning takes here."""
    data: Any = Data(Doubling(4000, 1), Doubling(500, 2), Doubling(500, 3))  # type: ignore[arg-type]
    found, learner = {}, None
    for batch in (16, 48):
        trial = TrialSpec(
            data_hash="doubling",
            task="language_model",
            model=ModelSpec(embedding_units=8, lstm_units=16),
            global_batch=batch,
            learning_rate=0.03,
            optimizer="adam",
            dtype="float32",
            seed=batch,
            budget=Duration(unit="updates", amount=UPDATES),
            evaluate_every=Duration(unit="updates", amount=UPDATES // 2),
            schedule="linear",
        )
        learner = learner or bodies.open_learner(World(), trial)
        found[batch] = train(
            trial,
            learner=learner,
            data=data,
            micro_batch=32,
            checkpoints=Checkpoints(Folder(str(tmp_path_factory.mktemp(str(batch)))), trial.trial_id),
            checkpoint_every_seconds=1e9,
            publish=lambda _: None,
            heartbeat=lambda _: None,
        )
    return found


def test_every_global_batch_reaches_the_entropy_and_none_is_better(outcomes: dict[int, Any]) -> None:
    losses = {batch: outcome.test_loss for batch, outcome in outcomes.items()}
    # That each answer is as likely as not costs a right model exactly ln 2 on any rows: nothing is sampled in it.
    assert losses == {batch: pytest.approx(np.log(2), abs=0.01) for batch in losses}
    assert losses[16] == pytest.approx(losses[48], abs=0.01)
    assert min(losses.values()) > np.log(2) - 0.001


def test_half_of_the_next_tokens_are_predicted_right(outcomes: dict[int, Any]) -> None:
    # Of 7,000 targets one deviation is 0.006.
    for outcome in outcomes.values():
        assert outcome.test_accuracy == pytest.approx(0.5, abs=0.025)

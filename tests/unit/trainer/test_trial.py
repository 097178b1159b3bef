"""A trial's identity: what changes its numbers changes its id, and nothing else does."""

from dataclasses import asdict, replace

import pytest

from trainer.trial import Duration, ModelSpec, TrialSpec, from_dict

TRIAL = TrialSpec(
    data_hash="d",
    task="classification",
    model=ModelSpec(),
    global_batch=17,
    learning_rate=0.001,
    optimizer="adam",
    dtype="float32",
    seed=0,
    budget=Duration(unit="epochs", amount=2),
    evaluate_every=Duration(unit="examples", amount=5000),
)


def test_every_field_changes_the_id() -> None:
    changes = {
        "data_hash": "e",
        "task": "regression",
        "model": ModelSpec(lstm_units=64),
        "global_batch": 18,
        "learning_rate": 0.002,
        "optimizer": "sgd",
        "dtype": "float64",
        "seed": 1,
        "budget": Duration(unit="epochs", amount=3),
        "evaluate_every": Duration(unit="examples", amount=5001),
        "clip_norm": 1.0,
        "window_rows": 500,
        "schedule": "cosine",
        "warmup_examples": 100,
        "stop_at_loss": 0.5,
        "beta2": 0.99,
    }
    assert set(changes) == set(asdict(TRIAL))
    ids = {replace(TRIAL, **{name: value}).trial_id for name, value in changes.items()}
    assert len(ids | {TRIAL.trial_id}) == len(changes) + 1


def test_a_beta2_is_refused_where_it_would_be_ignored() -> None:
    with pytest.raises(ValueError, match="sgd has no beta2"):
        replace(TRIAL, optimizer="sgd", beta2=0.99)


def test_the_id_survives_a_round_trip_and_the_years() -> None:
    assert from_dict(asdict(TRIAL)) == TRIAL
    assert TRIAL.trial_id == "e938fc47dd7026f5"

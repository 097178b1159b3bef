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
        "beta1": 0.8,
        "weight_decay": 0.01,
        "decay_per_update": 0.01,
        "average_examples": 1000,
        "settings": "weight_decay 0.01",
    }
    assert set(changes) == set(asdict(TRIAL))
    decaying = {"weight_decay": "adamw", "decay_per_update": "adamw"}
    ids = {
        replace(TRIAL, optimizer=decaying.get(name, "adam"), **{name: value}).trial_id
        for name, value in changes.items()
        if name != "optimizer"
    } | {replace(TRIAL, optimizer=optimizer).trial_id for optimizer in ("sgd", "adamw")}
    assert len(ids | {TRIAL.trial_id}) == len(changes) + 2


@pytest.mark.parametrize(
    ("optimizer", "ignored"),
    [("sgd", "beta1"), ("sgd", "beta2"), ("adam", "weight_decay"), ("sgd", "decay_per_update")],
)
def test_what_the_optimizer_would_ignore_is_refused(optimizer: str, ignored: str) -> None:
    with pytest.raises(ValueError, match=f"{optimizer} has no {ignored}"):
        replace(TRIAL, optimizer=optimizer, **{ignored: 0.5})


def test_two_decays_of_one_trial_are_refused() -> None:
    with pytest.raises(ValueError, match="would contradict each other"):
        replace(TRIAL, optimizer="adamw", weight_decay=0.1, decay_per_update=1e-4)


def test_the_id_survives_a_round_trip_and_the_years() -> None:
    assert from_dict(asdict(TRIAL)) == TRIAL
    assert TRIAL.trial_id == "e938fc47dd7026f5"
    # As it was before the decays and beta1 existed.
    assert replace(TRIAL, optimizer="adamw", beta2=0.99).trial_id == "6a6d97cebb38c7f4"

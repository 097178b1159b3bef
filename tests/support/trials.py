"""A small trial, which tests change by `dataclasses.replace`."""

from trainer.trial import Duration, ModelSpec, TrialSpec

TINY = TrialSpec(
    data_hash="tiny",
    task="classification",
    model=ModelSpec(embedding_units=6, lstm_units=5),
    global_batch=17,
    learning_rate=0.01,
    optimizer="adam",
    dtype="float32",
    seed=3,
    budget=Duration(unit="updates", amount=6),
    evaluate_every=Duration(unit="updates", amount=3),
)

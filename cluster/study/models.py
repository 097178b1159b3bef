"""The model of a study, as given in its YAML file: the built-in LSTM's keys, or the user's factory."""

from typing import Annotated

from pydantic import Field

from cluster.study.reading import Strict
from trainer.trial import ModelSpec

# The memory of a larger layer is beyond every machine, and its size beyond what TensorFlow counts.
_MOST_UNITS = 2**20
_UNITS = f"a whole number from 1 to {_MOST_UNITS}"
Units = Annotated[int, Field(ge=1, le=_MOST_UNITS)]


class BuiltInModel(Strict):
    """The built-in LSTM."""

    embedding_units: Units = Field(default=ModelSpec.embedding_units, description=_UNITS)
    lstm_units: Units = Field(default=ModelSpec.lstm_units, description=_UNITS)
    layers: int = Field(default=ModelSpec.layers, ge=1, le=1000, description="a whole number from 1 to 1000")
    bidirectional: bool = Field(default=ModelSpec.bidirectional, description="true or false")
    dropout: float = Field(default=ModelSpec.dropout, ge=0, lt=1, description="a number from 0 up to, not including, 1")

    def model_spec(self) -> ModelSpec:
        """The model as the trainer knows it."""
        return ModelSpec(**self.model_dump())


class FactoryModel(Strict):
    """The user's own model: a function that returns a `keras.Model`."""

    factory: str = Field(
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        description='a module and a function in it, such as "my_package.models:build"',
    )

    def model_spec(self) -> ModelSpec:
        """The model as the trainer knows it."""
        return ModelSpec(factory=self.factory)


def chosen(value: object) -> object:
    """The model, of the two kinds, that has the keys of `value`."""
    if isinstance(value, BuiltInModel | FactoryModel):
        return value
    if not isinstance(value, dict):
        raise ValueError('give its keys, such as {lstm_units: 128}, or {factory: "module:function"}')
    others = [str(key) for key in value if key != "factory"]
    if "factory" in value and others:
        raise ValueError(f"a factory builds the whole model, so remove {', '.join(others)} (or factory)")
    return (FactoryModel if "factory" in value else BuiltInModel).model_validate(value)

"""A model for tests of what is around a training: it has every part of one but a loop over tokens to compile."""

from typing import Any


def bag(vocabulary_size: int, outputs: int) -> Any:
    """The mean of a row's embeddings through one dense layer, with dropout."""
    import keras

    tokens = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(vocabulary_size, 6, mask_zero=True)(tokens)
    x = keras.layers.Dropout(0.2)(keras.layers.GlobalAveragePooling1D()(x))
    return keras.Model(tokens, keras.layers.Dense(outputs)(x))

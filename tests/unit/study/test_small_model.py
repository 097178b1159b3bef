"""The small model of data that no study asks about yet."""

from unittest.mock import Mock

import pytest

from cluster.study.small_model import SMALL_MODEL, small_model
from trainer.data.inputs import SEQUENCES, TOKENS


@pytest.mark.parametrize(("kind", "without"), [(TOKENS, set()), (SEQUENCES, {"embedding_units"})])
def test_only_tokens_are_embedded(kind: str, without: set[str]) -> None:
    assert small_model(Mock(kind=kind)).keys() == SMALL_MODEL.keys() - without

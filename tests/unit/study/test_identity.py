"""Specs of earlier versions: read as they were declared, and refused under other words with the remedy."""

import json

import pytest

from cluster.study import identity
from tests.support.simulated import spec_of
from trainer.errors import InputError

OLD = {"rates": "best_of_grid", "looks": "none"}


def row(text: str) -> dict[str, str]:
    return {"spec_json": text, "data_hash": "d", "data": "d"}


def test_a_protocol_without_the_newer_words_is_the_old_one() -> None:
    old = identity.canonical_json(spec_of(protocol=OLD))
    assert not OLD.keys() & json.loads(old)["protocol"].keys()
    assert identity.stored(old, where="here") == spec_of(protocol=OLD)
    assert identity.stored(identity.canonical_json(spec_of()), where="here") == spec_of()
    assert identity.spec_hash(spec_of()) != identity.spec_hash(spec_of(protocol=OLD))


def test_another_protocol_under_the_name_is_refused_with_what_continues_it() -> None:
    old = row(identity.canonical_json(spec_of(protocol=OLD)))
    with pytest.raises(InputError, match=r"write protocol: \{rates: best_of_grid, looks: none\} to continue it"):
        identity.refuse_other_study(spec_of(), "d", [old])
    identity.refuse_other_study(spec_of(protocol=OLD), "d", [old])
    # A protocol after a grid only adds trials.
    identity.refuse_other_study(spec_of(), "d", [row(identity.canonical_json(spec_of(protocol=None)))])
    with pytest.raises(InputError) as refused:
        identity.refuse_other_study(spec_of(schedule="linear"), "d", [old])
    assert "to continue it" not in str(refused.value)

"""Specs of earlier versions: read as they were declared, and refused under other words with the remedy."""

import json
from datetime import UTC, datetime

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


def test_words_and_places_are_no_part_of_what_a_spec_declares() -> None:
    spec = spec_of()
    elsewhere = spec_of(study="renamed", data="/moved", summary="s3://bucket/summary", description="why", tags=["a"])
    assert identity.spec_hash(elsewhere) == identity.spec_hash(spec)
    assert identity.canonical_json(elsewhere) != identity.canonical_json(spec)
    assert identity.stored(identity.canonical_json(elsewhere), where="here") == elsewhere
    assert not {"description", "tags"} & json.loads(identity.canonical_json(spec)).keys()
    assert identity.spec_hash(spec_of(margin={"validation_loss": 0.1})) != identity.spec_hash(spec)


def test_a_job_is_another_where_it_reads_or_writes_elsewhere() -> None:
    assert identity.run_hash(spec_of(summary="elsewhere")) != identity.run_hash(spec_of())
    assert identity.run_hash(spec_of(description="why", tags=["a"])) == identity.run_hash(spec_of())


def test_a_spec_that_an_earlier_version_hashed_with_its_paths_keeps_that_hash() -> None:
    def known(spec_hash: str, day: int, **changed: object) -> dict[str, object]:
        text = identity.canonical_json(spec_of(**changed))
        at = datetime(2026, 1, day, tzinfo=UTC)
        return {"spec_hash": spec_hash, "spec_json": text, "declared_at": None, "started_at": at}

    rows = [known("0002", 2, data="moved"), known("0001", 1), known("0003", 1, margin={"validation_loss": 0.1})]
    assert identity.known_as(spec_of(data="moved again"), rows) == "0001"
    assert identity.known_as(spec_of(margin={"validation_loss": 0.2}), rows) == (
        identity.spec_hash(spec_of(margin={"validation_loss": 0.2}))
    )
    assert identity.known_as(spec_of(), [{**rows[0], "spec_json": "[" * 9}]) == identity.spec_hash(spec_of())

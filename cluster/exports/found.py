"""The trial to export: found by the beginning of its id, with its data set and the places where its weights may be."""

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from cluster.analysis.declared import begun
from cluster.stores import store_of
from cluster.study import axes, identity, protocol
from cluster.summary import experiments, query
from cluster.summary.known_losses import losses
from cluster.summary.store import Summary
from cluster.summary.trial_ids import BEST, best, named
from trainer.data import manifest as prepared
from trainer.data.manifest import Manifest
from trainer.errors import InputError
from trainer.trial import TrialSpec


@dataclass(frozen=True, kw_only=True)
class FoundTrial:
    """A trial of a study, with what is known about it. `state` is None if no attempt has ended yet."""

    study: str
    trial: TrialSpec
    state: str | None
    error: str | None
    checkpoints: tuple[str, ...]
    data: str
    manifest: Manifest


def find(summary: Summary, study: str, prefix: str, *, data: str | None = None) -> FoundTrial:
    """The trial of `study` whose `trial_id` begins with `prefix`, or its best one if that is `best`.

    `data` is where the prepared data set is now, if it was moved.

    Raises:
        InputError: there is no such trial or more than one, or the data set is no longer there.
        NotReadyError: a store cannot be read.
    """
    query.asked(summary, study)
    specs = query.specs(summary, study)
    folder, manifest = _data_set(specs.to_pylist()[::-1], data)
    ended = query.trials(summary, study)
    trials = trials_of(specs, manifest, ended)
    # An attempt with an answer counts, even if another one that was begun by mistake has ended since.
    rows = {row["trial_id"]: row for some in (query.latest, query.finished) for row in some(ended).to_pylist()}
    if prefix == BEST:
        trial_id = best(query.newest(ended, specs), study=study)
    else:
        lister = f"`batchscope export {study} --summary {summary.uri}`"
        trial_id = named(prefix, sorted({*trials, *rows}), lister=lister, study=study)
    if trial_id not in trials:
        raise InputError(
            f"no spec of study {study!r} in {summary.uri} leads to its trial {trial_id}, so its model is not known: "
            "use the version of batchscope that trained it, or run the study again"
        )
    row = rows.get(trial_id, {})
    # The checkpoints may also be next to the summary, which may have been moved or copied from S3.
    places = (row.get("checkpoint_uri"), f"{summary.uri}/checkpoints/study={study}/{trial_id}")
    return FoundTrial(
        study=study,
        trial=trials[trial_id],
        state=row.get("state"),
        error=row.get("error"),
        checkpoints=tuple(dict.fromkeys(place for place in places if place)),
        data=folder,
        manifest=manifest,
    )


def _data_set(specs: Sequence[Mapping[str, Any]], data: str | None) -> tuple[str, Manifest]:
    """The prepared data set of the study: in `data`, or otherwise at the places in its specs."""
    data_hash = specs[0]["data_hash"]
    if data_hash is None:
        raise InputError(
            "the data set of the study is not known: its newest spec has no data_hash to compare --data with"
        )
    folders = dict.fromkeys([data] if data else [spec["data"] for spec in specs if spec["data"]])
    problems = [] if folders else ["its specs name none"]
    for folder in folders:
        try:
            manifest = prepared.read(store_of(folder))
        except InputError as problem:
            problems.append(str(problem))
        else:
            if manifest.data_hash == data_hash:
                return folder, manifest
            problems.append(f"{folder} holds other data (data_hash {manifest.data_hash[:8]}, not {data_hash[:8]})")
    raise InputError(
        f"the data set of the study was not found from {os.getcwd()}: {'; '.join(problems)}. Name the folder or s3:// "
        "address where it is now with --data"
    )


def trials_of(specs: pa.Table, manifest: Manifest, ended: pa.Table) -> dict[str, TrialSpec]:
    """The trials that any spec run under the study's name wanted, by `trial_id`.

    Confirmations stop at their spec's target, or at the target with which earlier confirmations began.
    """
    found, known = dict[str, TrialSpec](), losses(ended)
    for row in reversed(specs.to_pylist()):
        spec = identity.stored(row["spec_json"], where=f"the stored spec {row['spec_hash']} of study {row['study']}")
        grid = axes.trials(spec, data_hash=manifest.data_hash, train_rows=manifest.splits["train"].rows)
        own = experiments.of_spec(ended, row)
        screened_on, confirming = experiments.screened_on(own), begun(specs, own)
        margin = confirming.margin if confirming else row["margin"]
        seeds = confirming.seeds if confirming else ()
        conditions = protocol.Conditions(
            guess=row["baseline_loss"],
            margin=margin,
            declared_seeds=seeds,
            tried_on=experiments.tried_on(own) if spec.protocol else (),
        )
        targets = [spec.target_after, *([confirming.or_same(spec.target_after)] if confirming else [])]
        plans = (
            protocol.may_have_wanted(
                grid, spec.protocol, known, replace(conditions, screened_on=screened_on, target_after=target_after)
            )
            for target_after in targets
        )
        for plan in itertools.chain.from_iterable(plans):
            found |= {planned.trial.trial_id: planned.trial for planned in plan.trials}
    return found

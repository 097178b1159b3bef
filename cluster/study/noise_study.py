"""The study behind `batchscope noise`: some seeds of one batch size at one rate. Pure."""

from collections.abc import Mapping
from typing import Any

from cluster.study import axes
from cluster.study.forms import FULL
from cluster.study.names import name_of_data, with_suffix
from cluster.study.small_model import RATE, RATE_AT, small_model
from cluster.study.spec import StudySpec
from trainer.data.manifest import Manifest
from trainer.errors import InputError

_EPOCHS = 4


def study_of_data(data: str, manifest: Manifest) -> StudySpec:
    """A study of prepared data: a small model at B = 32 for four epochs."""
    return StudySpec.model_validate(
        {
            "study": name_of_data(data),
            "data": data,
            "task": manifest.task,
            "model": small_model(manifest),
            "axes": {"global_batch": [RATE_AT], "learning_rate": RATE, "seeds": 1},
            "budget": {"epochs": _EPOCHS},
        }
    )


def is_of(row: Mapping[str, Any], small: StudySpec) -> bool:
    """Whether a trial's row is of this study's batch size and rate: another may have run under its name before."""
    asked = small.axes
    return all(
        row[column] in values
        for column, values in (
            ("global_batch", asked.global_batch),
            ("learning_rate", asked.learning_rate),
            ("optimizer", asked.optimizer),
            ("dtype", asked.dtype),
        )
    )


def noise_study(spec: StudySpec, *, global_batch: int | None, seeds: int) -> StudySpec:
    """The seeds 0, 1, ... of one batch size of the spec, by default the middle one, at the middle one of its rates.

    Raises:
        InputError: the spec has no such batch size, or only `full`.
    """
    listed = [batch for batch in spec.axes.global_batch if batch != FULL]
    if global_batch is None:
        if not listed:
            raise InputError(f"axes.global_batch lists only {FULL}: list a number of rows, such as 32")
        global_batch = int(sorted(listed)[len(listed) // 2])
    elif global_batch not in listed:
        raise InputError(
            f"--global-batch {global_batch} is not among axes.global_batch ({', '.join(map(str, listed))}): give one "
            "of these"
        )
    rates = axes.rates(spec.axes.learning_rate, global_batch)
    of_one = spec.axes.model_copy(
        update={
            "global_batch": (global_batch,),
            "learning_rate": (sorted(rates)[len(rates) // 2],),
            "optimizer": spec.axes.optimizer[:1],
            "dtype": spec.axes.dtype[:1],
            "beta1": spec.axes.beta1 and spec.axes.beta1[:1],
            "weight_decay": spec.axes.weight_decay and spec.axes.weight_decay[:1],
            "seeds": tuple(range(seeds)),
        }
    )
    return spec.model_copy(
        update={
            "study": with_suffix(spec.study, "noise"),
            "axes": of_one,
            "budget": spec.budget_at(global_batch),
            "protocol": None,
            "target": None,
            "margin": None,
        }
    )

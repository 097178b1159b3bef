"""The columns of the central tables (`SCHEMAS`), and the values that they allow.

Columns are added, never renamed: a column that an older file lacks is read as null.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from numbers import Integral, Real
from typing import Any

import pyarrow as pa

from trainer.report import State

STATES = tuple(str(state) for state in State)
COMPLETED, STOPPED, DIVERGED, OUT_OF_MEMORY, FAILED, LOST, CANCELLED = STATES
# A trial in one of these states is an answer: another attempt would end in the same state. OUT_OF_MEMORY is an answer
# only if the trial does not go on in smaller micro-batches (`micro_batch_next`).
FINISHED = (COMPLETED, STOPPED, DIVERGED, OUT_OF_MEMORY)
# All but `settings`, which most studies lack.
AXES = ("global_batch", "learning_rate", "optimizer", "dtype", "seed")

TEXT, WHOLE, REAL = pa.string(), pa.int64(), pa.float64()
TIME = pa.timestamp("us", tz="UTC")


def _schema(*columns: tuple[str, pa.DataType]) -> pa.Schema:
    return pa.schema([(name, kind) for names, kind in columns for name in names.split()])


STUDIES = _schema(
    ("study spec_hash spec_json data data_hash task code_version", TEXT),
    ("started_at", TIME),  # the last run of this spec; `declared_at` is the first
    ("trials", WHOLE),  # how many trials the study asks for
    ("target margin", REAL),
    # when this spec was first run under the name; rows of the train split; the loss of guessing by label frequencies
    ("declared_at", TIME),
    ("train_rows", WHOLE),
    ("baseline_loss", REAL),
    ("best_constant_loss", REAL),  # the loss of the best guess that is the same for all validation rows
    ("label_names", TEXT),  # of the classes, in order, as a JSON list; null for other tasks
    ("factory_sha256", TEXT),  # of the code that builds the model; null for the built-in LSTM
    ("description tags", TEXT),  # what its author wrote about it; the tags with ", " between them
)
TRIALS = _schema(
    ("study trial_id", TEXT),
    ("attempt", WHOLE),
    ("state error", TEXT),
    # axes
    ("global_batch", WHOLE),
    ("learning_rate", REAL),
    ("optimizer dtype", TEXT),
    ("settings", TEXT),  # the values of the axes beta1 and weight_decay; null without them
    ("seed", WHOLE),
    # layout
    # `micro_batch_next`: the largest micro-batch with which an OUT_OF_MEMORY trial goes on; null if it does not go on
    ("workers micro_batch micro_batch_next", WHOLE),
    ("device node_type market", TEXT),
    # the card, its driver and cuDNN; `tf32` 1: float32 was rounded to TF32; `repeats` 1: the same gradient twice
    ("gpu_name driver cudnn", TEXT),
    ("tf32 repeats", WHOLE),
    # work
    ("updates examples", WHOLE),
    ("epochs", REAL),
    # time
    ("started_at ended_at", TIME),
    ("seconds_waiting seconds_starting seconds_training seconds_evaluating seconds_saving", REAL),
    # speed
    ("examples_per_second tokens_per_second padding_fraction", REAL),
    ("peak_memory_bytes", WHOLE),
    # quality
    ("final_training_loss final_validation_loss best_validation_loss best_validation_accuracy", REAL),
    ("test_loss test_accuracy", REAL),
    # of the averaged weights, if the study has `average`: at their own best evaluation
    ("best_validation_loss_averaged test_loss_averaged", REAL),
    ("cost_usd noise_scale gradient_check", REAL),
    ("noise_squared_gradient noise_trace", REAL),  # the moments whose ratio is `noise_scale`
    # ledger: the part of `seconds_training` that earlier attempts contributed; the seconds that a loss cost
    ("seconds_resumed seconds_repeated usd_per_hour", REAL),
    ("region price_source", TEXT),
    # what EC2 refused before it gave a fleet this machine: types, markets and its codes; null if it refused nothing
    ("refused", TEXT),
    # provenance
    ("data_hash spec_hash code_version tensorflow_version kernel_path checkpoint_uri phase", TEXT),
    # what distinguishes it from trials at the same point and seed under the same name (`cluster.study.experiment`)
    ("budget evaluate_every", TEXT),
    ("clip_norm stop_at_loss", REAL),
    ("traceback", TEXT),  # the end of that of an attempt that FAILED
    ("test_classes", TEXT),  # the test split by class, as JSON (`trainer.classes`); null where it is not recorded
)
EVALUATIONS = _schema(
    ("study trial_id", TEXT),
    ("attempt update examples", WHOLE),
    ("epoch seconds training_loss validation_loss validation_accuracy", REAL),
    ("gradient_norm noise_scale learning_rate", REAL),
    ("validation_loss_averaged", REAL),  # null unless the study has `average`
)
# A row is one measurement of a probe: the memory of one micro-batch, the speed of one global batch, or that of an
# evaluation. All rows of a probe have one `probed_at`.
PROBE_KINDS = ("memory", "throughput", "evaluation")
PROBES = _schema(
    ("study", TEXT),
    ("probed_at", TIME),
    ("kind state error", TEXT),
    # what was measured; `length` is the length to which each row was padded, null if rows kept their own
    ("global_batch micro_batch length", WHOLE),
    ("optimizer dtype", TEXT),
    # `lanes` worked at once, each with this many workers
    ("lanes workers threads", WHOLE),
    ("device node_type", TEXT),
    # memory of one worker; the line fitted to the measurements that are not `held_out`, and this measurement's distance
    # from it (measured / fitted - 1)
    ("peak_memory_bytes memory_limit_bytes", WHOLE),
    ("fit_base_bytes fit_bytes_per_place fit_error", REAL),
    ("held_out", WHOLE),
    # speed: the median over `blocks` of `updates`, their quartiles and coefficient of variation; `with_reading` 1: rows
    # were read meanwhile; `processors_used`: a worker's processor seconds per second, fewer if others use the machine
    ("processors_used", REAL),
    ("blocks updates", WHOLE),
    ("seconds_per_update seconds_per_update_low seconds_per_update_high seconds_per_update_variation", REAL),
    ("with_reading", WHOLE),
    ("examples_per_second tokens_per_second padding_fraction", REAL),
    # before the measurements: imports and opening the data; building, tracing and warming up
    ("seconds_starting seconds_tracing", REAL),
    # provenance
    ("data_hash spec_hash code_version tensorflow_version kernel_path", TEXT),
)
# A row is one epoch of somebody's own `model.fit`. `origin` is FOREIGN: batchscope neither trained nor checked the run,
# so its rows have a table of their own, from which nothing is concluded.
FOREIGN = "foreign"
FITS = _schema(
    ("study fit_id origin", TEXT),
    ("epoch", WHOLE),
    ("started_at ended_at", TIME),  # of the fit, and of this epoch
    ("global_batch updates", WHOLE),
    ("learning_rate", REAL),
    ("keras_optimizer keras_version", TEXT),
    ("training_loss validation_loss training_accuracy validation_accuracy", REAL),
)
SCHEMAS: dict[str, pa.Schema] = {
    "studies": STUDIES,
    "trials": TRIALS,
    "evaluations": EVALUATIONS,
    "probes": PROBES,
    "fits": FITS,
}
# As in SCHEMAS, which are slow to look into, a column at a time.
_KINDS = {name: {field.name: field.type for field in schema} for name, schema in SCHEMAS.items()}
# The columns that identify a row; never null.
KEYS = {
    "studies": ("study", "spec_hash"),
    "trials": ("study", "trial_id", "attempt", "state"),
    "evaluations": ("study", "trial_id", "attempt", "update"),
    "probes": ("study", "probed_at", "kind", "state", "spec_hash"),
    "fits": ("study", "fit_id", "epoch", "origin"),
}


def table_of(name: str, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The rows as the table `name`; missing columns are null.

    Raises:
        ValueError: a column or state does not exist, a key is missing, or a value has another type.
    """
    for row in rows:
        check(name, row)
    # Most columns of most rows are null, and Arrow makes those without looking at values.
    given = {column for row in rows for column, value in row.items() if value is not None}
    columns = [
        pa.array([row.get(field.name) for row in rows], field.type)
        if field.name in given
        else pa.nulls(len(rows), field.type)
        for field in SCHEMAS[name]
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMAS[name])


def check(name: str, row: Mapping[str, Any]) -> None:
    """Raise the ValueError of `table_of` if `row` cannot be one of the table `name`."""
    kinds = _KINDS[name]
    for column, value in row.items():
        if column not in kinds:
            raise ValueError(f"{name} has no column {column!r}")
        if value is not None and not _fits(value, kinds[column]):
            raise ValueError(f"{name}.{column} cannot hold {value!r}: {kinds[column]} is asked for")
    for column in KEYS[name]:
        if row.get(column) is None:
            raise ValueError(f"a row of {name} without {column!r}")
    # These become parts of file names.
    if not is_study_name(row["study"]):
        raise ValueError(f"{name}.study cannot be {row['study']!r}")
    for column in {"spec_hash", "trial_id", "fit_id"} & set(KEYS[name]):
        if not re.fullmatch(r"[A-Za-z0-9]+", row[column]):
            raise ValueError(f"{name}.{column} cannot be {row[column]!r}")
    if "attempt" in row and row["attempt"] < 1:
        raise ValueError(f"{name}.attempt counts from 1, not {row['attempt']}")
    if "state" in row and row["state"] not in STATES:
        raise ValueError(f"{name}.state cannot be {row['state']!r}: one of {', '.join(STATES)}")
    if "origin" in row and row["origin"] != FOREIGN:
        raise ValueError(f"{name}.origin cannot be {row['origin']!r}: {FOREIGN}")
    if "kind" in row and row["kind"] not in PROBE_KINDS:
        raise ValueError(f"{name}.kind cannot be {row['kind']!r}: one of {', '.join(PROBE_KINDS)}")


def is_study_name(text: str) -> bool:
    """Whether `text` can be a study's name, which is also a folder's."""
    return re.fullmatch(r"[A-Za-z0-9-]+", text) is not None


def _fits(value: object, kind: pa.DataType) -> bool:
    # Arrow itself would store 1.5 in a column of whole numbers as 1, True as 1.0, and a local time as if it were UTC.
    if kind == TEXT:
        return isinstance(value, str)
    if kind == TIME:
        return isinstance(value, datetime) and value.tzinfo is not None
    if isinstance(value, bool):
        return False
    return isinstance(value, Integral if kind == WHOLE else Real)

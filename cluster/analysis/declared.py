"""What a study declared before it could know who would win: its target and its margin. Pure.

A margin or a target that was first declared after the confirmations began may have been chosen by what they showed:
then it decides nothing.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from cluster.analysis.cells import Cell
from cluster.study.protocol import CONFIRM
from cluster.study.target import automatic


@dataclass(frozen=True, kw_only=True)
class Declared:
    """A study's target and margin, validation losses; None where there is none, or where it came too late.

    `spec` are the keys of the newest spec.
    """

    target: float | None
    target_source: Literal["declared", "automatic"] | None
    target_late: bool
    margin: float | None
    margin_late: bool
    spec: Mapping[str, Any]
    train_rows: int | None
    baseline_loss: float | None


def declared(studies: pa.Table, trials: pa.Table, cells: Sequence[Cell]) -> Declared:
    """What the specs of one study (rows of `studies`, the newest last) declare, given its trials and cells."""
    rows = studies.to_pylist()
    specs = [json.loads(row["spec_json"]) for row in rows]
    newest, spec = rows[-1], specs[-1]
    confirming = trials.filter(pc.equal(trials["phase"], CONFIRM))["started_at"]
    began = pc.min(confirming).as_py() if len(confirming) else None
    margin_late = newest["margin"] is not None and _late(rows, specs, "margin", began)
    target_late = spec.get("target") is not None and _late(rows, specs, "target", began)
    margin = None if margin_late else newest["margin"]
    target, source = newest["target"], "declared"
    if spec.get("target") == "auto":
        screened = [cell.screen_loss for cell in cells if cell.tuned and math.isfinite(cell.screen_loss)]
        target, source = automatic(screened, newest["margin"]), "automatic"
    return Declared(
        target=None if target_late else target,
        target_source=None if target is None or target_late else source,  # type: ignore[arg-type]
        target_late=target_late,
        margin=margin,
        margin_late=margin_late,
        spec=spec,
        train_rows=newest["train_rows"],
        baseline_loss=newest["baseline_loss"],
    )


def _late(
    rows: Sequence[Mapping[str, Any]], specs: Sequence[Mapping[str, Any]], key: str, began: datetime | None
) -> bool:
    """Whether the newest value of `key` was first declared after the confirmations began."""
    same = [
        row["declared_at"] or row["started_at"]
        for row, spec in zip(rows, specs, strict=True)
        if spec.get(key) == specs[-1].get(key)
    ]
    return began is not None and min(same) > began

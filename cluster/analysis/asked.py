"""What a study's specs ask for: the newest, the one under which its confirmations began, and later ones. Pure.

Only what was declared before the confirmations began cannot have been chosen by what they showed. The hash in the row
of the first confirmation names the spec of that moment; a row without a hash belongs to the newest spec declared before
it.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cluster.study import looks
from cluster.study.axes import settings_of
from cluster.study.cell import CellKey
from cluster.study.chosen_rates import BEST_OF_GRID
from cluster.study.confirming import confirming_seeds
from cluster.study.experiment import stops_at_target
from cluster.study.forms import FULL
from cluster.study.identity import stored
from cluster.study.protocol import CONFIRM, SCREEN
from cluster.summary import experiments


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One spec that was run under the study's name: its row of `studies`, and its keys."""

    row: Mapping[str, Any]
    keys: Mapping[str, Any]

    @property
    def declared_at(self) -> datetime:
        """When the spec was first run under the study's name."""
        at: datetime = self.row["declared_at"] or self.row["started_at"]
        return at

    @property
    def margin(self) -> float | None:
        """Its margin, a difference of validation losses."""
        margin: float | None = self.row["margin"]
        return margin

    @property
    def target(self) -> Any:
        """Its target: a validation loss, `auto`, or None."""
        return "auto" if self.keys.get("target") == "auto" else self.row["target"]

    @property
    def rates(self) -> str:
        """How its protocol chooses a rate; specs of earlier versions do not say, and took the best of the grid."""
        rule: str = (self.keys.get("protocol") or {}).get("rates", BEST_OF_GRID)
        return rule

    @property
    def looks(self) -> looks.Rule:
        """When its protocol looks; in earlier versions, and where runs stop at the target, at any time."""
        if stops_at_target(self.keys):
            return looks.NONE
        rule: str | list[int] = (self.keys.get("protocol") or {}).get("looks", looks.NONE)
        return rule if isinstance(rule, str) else tuple(rule)

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The seeds on its axis, in their order."""
        return tuple(self.keys.get("axes", {}).get("seeds", ()))

    @cached_property
    def settings(self) -> Mapping[str, Collection[str]]:
        """The settings of each optimizer on its axes, as a trial's row has them; empty text where there are none."""
        axes = self.keys.get("axes", {})
        if not {"beta1", "weight_decay"} & axes.keys():
            return dict.fromkeys(axes.get("optimizer", ()), ("",))
        of_spec = settings_of(stored(self.row["spec_json"], where="the stored spec"))
        return {
            optimizer: {one.name or "" for one in of_spec if one.optimizer == optimizer}
            for optimizer in axes["optimizer"]
        }

    def seeds(self, cell: CellKey) -> tuple[int, ...]:
        """The seeds that the spec asks for in this cell; none where its axes do not list it."""
        global_batch, optimizer, dtype, settings = cell
        axes = self.keys.get("axes", {})
        batches = [self.row["train_rows"] if batch == FULL else batch for batch in axes.get("global_batch", ())]
        listed = global_batch in batches and dtype in axes.get("dtype", ())
        listed = listed and settings in self.settings.get(optimizer, ())
        return self.all_seeds if listed else ()


@dataclass(frozen=True, kw_only=True)
class Specs:
    """The specs of one study.

    `began` is when its first confirmation started, and `confirmed` is the spec of that moment. Both are None before
    then; `confirmed` is also None if every spec came later. `later` are the specs that had not been declared by then.
    `tried_on` are the seeds of a plain grid before the screen, in whose place others confirm.
    """

    newest: Spec
    began: datetime | None
    confirmed: Spec | None
    later: tuple[Spec, ...]
    tried_on: tuple[int, ...] = ()

    @property
    def in_force(self) -> Spec | None:
        """The spec whose target and margin count; None where every spec came too late."""
        return self.newest if self.began is None else self.confirmed

    def seeds(self, cell: CellKey, taken: Collection[int] = ()) -> tuple[int, ...]:
        """The seeds planned in this cell: those of the spec in force and those that later specs added.

        A seed is never taken away. If the screen of a study that has grown has `taken` it, the next free one confirms.
        """
        specs = [spec for spec in (self.in_force, *self.later) if spec]
        return _distinct(seed for spec in specs for seed in self._confirming(spec.seeds(cell), taken))

    def late_seeds_at(self, cell: CellKey, taken: Collection[int] = ()) -> tuple[int, ...]:
        """The seeds of this cell planned after the confirmations began; none if the whole cell came late."""
        first = self._confirming(self.confirmed.seeds(cell), taken) if self.confirmed else ()
        return tuple(seed for seed in self.seeds(cell, taken) if seed not in first) if first else ()

    @property
    def counting(self) -> Spec:
        """The spec whose rules count: the one in force or, where every spec came too late, the newest."""
        return self.in_force or self.newest

    def seeds_in_order(self, taken: Collection[int]) -> tuple[int, ...]:
        """The seeds that confirm, in the order of the looks; `taken` are those of the screen.

        Seeds that later specs added count only where there are no looks, which would not be the declared ones.
        """
        specs = [self.counting, *(self.later if self.counting.looks == looks.NONE else ())]
        return tuple(dict.fromkeys(seed for spec in specs for seed in self._confirming(spec.all_seeds, taken)))

    def _confirming(self, seeds: Iterable[int], taken: Iterable[int]) -> tuple[int, ...]:
        """The seeds that confirm for these of an axis, of which the screen has `taken` some."""
        return tuple(confirming_seeds(seeds, {*taken, *self.tried_on}).values())

    @property
    def late_seeds(self) -> tuple[int, ...]:
        """The seeds that were first asked for after the confirmations began."""
        if self.confirmed is None:
            return ()
        planned = self.confirmed.all_seeds
        return _distinct(seed for spec in self.later for seed in spec.all_seeds if seed not in planned)


def specs_of(studies: pa.Table, trials: pa.Table) -> Specs:
    """The specs of one study, from its rows of `studies` (one or more, the newest last) and of `trials`."""
    specs = [Spec(row=row, keys=json.loads(row["spec_json"])) for row in studies.to_pylist()]
    first = _first_confirmation(trials)
    tried_on = experiments.tried_on(trials) if SCREEN in trials["phase"].to_pylist() else ()
    if first is None:
        return Specs(newest=specs[-1], began=None, confirmed=None, later=(), tried_on=tried_on)
    began: datetime = first["started_at"]
    in_time = [spec for spec in specs if spec.declared_at <= began]
    named = [spec for spec in specs if first["spec_hash"] is not None and spec.row["spec_hash"] == first["spec_hash"]]
    # Where times are equal, the last one counts; `max` would take the first.
    candidates = named or sorted(in_time, key=lambda spec: spec.declared_at)
    confirmed = candidates[-1] if candidates else None
    later = tuple(spec for spec in specs if spec is not confirmed and (spec.declared_at > began or spec is specs[-1]))
    return Specs(newest=specs[-1], began=began, confirmed=confirmed, later=later, tried_on=tried_on)


def _first_confirmation(trials: pa.Table) -> Mapping[str, Any] | None:
    confirming = trials.filter((pc.field("phase") == CONFIRM) & pc.field("started_at").is_valid())
    if not confirming.num_rows:
        return None
    order = pc.sort_indices(confirming, sort_keys=[("started_at", "ascending")])
    row: Mapping[str, Any] = confirming.select(["started_at", "spec_hash"]).take(order[:1]).to_pylist()[0]
    return row


def _distinct(seeds: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(set(seeds)))

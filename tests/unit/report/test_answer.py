"""The answer names the batch size to use, why it and not another that is as good, and what is nearly decided."""

from datetime import timedelta
from typing import Any

from cluster.analysis.verdict import judge
from cluster.report.answer import answer, recommended
from tests.support.simulated import World, spec_of, study
from tests.support.stored import changed

AXES = {**spec_of().axes.model_dump(mode="json"), "global_batch": [16, 32, 256]}
QUIET = 0.002


def said(world: World, **changed: Any) -> tuple[int | None, str]:
    verdict = judge(*study(spec_of(axes=AXES, **changed), world))
    [group] = verdict.groups
    [sentence] = answer(group, verdict.declared.margin)
    return recommended(group), sentence


def test_without_a_target_the_quickest_of_those_that_are_as_good() -> None:
    # A larger batch trains in less time.
    batch, sentence = said(World(run_deviation=QUIET, floors={256: 1.2}), target=None)
    assert batch == 32
    assert "as good as any within the margin, and the quickest of these to train; B = 256 loses" in sentence


def test_with_a_target_one_that_reaches_it_soonest() -> None:
    batch, sentence = said(World(run_deviation=QUIET, floors={256: 1.2}), target={"validation_loss": 0.8})
    assert batch == 16
    assert "the soonest to the target" in sentence
    assert "quickest" not in sentence


def test_a_difference_of_about_the_margin_is_said() -> None:
    _, sentence = said(World(run_deviation=0.006, floors={256: 0.842}), target=None)
    assert "; B = 256 is worse, by about the margin (0.04" in sentence
    assert "B = 256 is not decided" not in sentence


def test_one_disturbed_run_does_not_make_a_batch_size_slow() -> None:
    studies, trials, evaluations = study(spec_of(axes=AXES, target=None), World(run_deviation=QUIET))
    rows = trials.to_pylist()
    disturbed = next(n for n, row in enumerate(rows) if row["phase"] == "confirm" and row["global_batch"] == 32)
    ends = [row["ended_at"] + timedelta(hours=n == disturbed) for n, row in enumerate(rows)]
    [group] = judge(studies, changed(trials, ended_at=ends), evaluations).groups
    [before] = judge(studies, trials, evaluations).groups
    assert [one.seconds for one in group.cells] == [one.seconds for one in before.cells]

"""`batchscope check`: one real batch in every layout, and the largest difference between the gradients."""

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from cluster.cli import EXIT_NO
from cluster.cli.answering import put, text_or_json

if TYPE_CHECKING:
    from cluster.study.study import Study
    from trainer.check import Proof


@click.command()
@click.argument("study_file", metavar="STUDY.yaml", type=click.Path())
@text_or_json
def command(study_file: str, form: str) -> int:
    """Prove on one real batch that every layout of the study gives the same update.

    The batch goes through one worker whole, then in small micro-batches, then over two workers; some validation rows
    are evaluated whole and in pieces. The exit code is 1 if the results differ. Every run repeats this check on its own
    lanes.
    """
    from cluster.process import ray_session
    from cluster.study.capacity import this_machine
    from cluster.study.preflight import examine
    from cluster.study.spec import load

    spec = load(study_file)
    study = examine(spec, this_machine(with_gpus=spec.resources.gpus_per_worker > 0))
    with ray_session.local(**study.placed.ray_resources):
        found = check_study(study)
    passed = all(proof.passed for proof in found)
    put(form, map(line, found), study=spec.study, passed=passed, checks=list(map(_fields, found)))
    return 0 if passed else EXIT_NO


def _fields(proof: "Proof") -> dict[str, Any]:
    return {**dataclasses.asdict(proof), "largest": proof.largest, "passed": proof.passed}


def check_study(study: "Study") -> "list[Proof]":
    """Check one trial of the study for each dtype, on the connected Ray."""
    from cluster.lanes.check import check
    from cluster.study.checked import checked

    click.echo("checking one real batch in every layout ...", err=True)
    return check(checked(study.trials), data=study.spec.data)


def line(proof: "Proof") -> str:
    """The result of a check, in one line."""
    verdict = "the same update" if proof.passed else "NOT the same update: do not trust this study"
    return (
        f"check: {proof.rows} rows in {proof.dtype}, whole on one worker, in micro-batches of 5 "
        f"({proof.micro_batches:.1e}) and on two workers ({proof.workers:.1e}), evaluated whole and in pieces "
        f"({proof.evaluation:.1e}): largest relative difference {proof.largest:.1e}, allowed {proof.tolerance:.0e}: "
        f"{verdict}"
    )

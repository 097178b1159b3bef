"""`batchscope results STUDY --assert CLAIM`: whether the verdict shows what a pipeline relies on, as an exit code."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from cluster.cli import EXIT_NO

if TYPE_CHECKING:
    from cluster.summary.store import Summary


def check_claims(summary: "Summary", study: str | None, texts: Sequence[str], *, form: str, output: str | None) -> int:
    """Print or write what the verdict on a study answers to each claim; the exit code is 0 only if all are true.

    Raises:
        InputError: a claim cannot be read, or is about a batch size or study that does not exist.
    """
    from cluster.analysis.verdict import judge
    from cluster.process.files import save
    from cluster.report.claims import parse_claim, rulings
    from cluster.summary import query
    from cluster.text.formats import document
    from cluster.text.plain import plain
    from trainer.errors import InputError

    if study is None or form not in ("table", "json"):
        raise InputError(
            "--assert is for one study and answers in text or as JSON: name it, with --format table or json"
        )
    claims = [parse_claim(text) for text in texts]
    query.asked(summary, study)
    verdict = judge(query.specs(summary, study), query.trials(summary, study), query.evaluations(summary, study))
    found = rulings(verdict, claims)
    holds = all(one.answer == "true" for one in found)
    if form == "json":
        rows = [{"claim": one.claim, "answer": one.answer, "why": one.why} for one in found]
        text = document(study=study, holds=holds, margin=verdict.declared.margin, claims=rows)
    else:
        text = "".join(f"{one.answer}: {one.claim}: {plain(one.why)}\n" for one in found)
    if output is not None:
        save(text.encode(), output)
    else:
        click.echo(text, nl=False)
    return 0 if holds else EXIT_NO

"""Claims about batch sizes: what the verdict shows is true, what it does not show is undecided, and no code runs."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cluster.analysis.verdict import judge
from cluster.cli.results import command
from cluster.report.answer import answer
from cluster.report.claims import ALLOWED, PREDICATES, parse_claim, rulings
from tests.support.simulated import World, spec_of, study
from tests.support.stored import store
from trainer.errors import InputError

# Of 16, 32 and 256, 16 and 32 are the same within 0.05, and 256 is worse by 0.4.
SIZES = [16, 32, 256]
AXES = {**spec_of().axes.model_dump(mode="json"), "global_batch": SIZES}
KNOWN = World(floors={256: 1.2}, run_deviation=0.005)
NOISY = World(run_deviation=0.3)


def answers(*claims: str, world: World = KNOWN, **changed: Any) -> list[str]:
    tables = study(spec_of(axes=AXES, **changed), world)
    return [one.answer for one in rulings(judge(*tables), map(parse_claim, claims))]


def asserted(summary: str, *claims: str, more: tuple[str, ...] = ()) -> Result:
    arguments = ["simulated", "--summary", summary, *(word for claim in claims for word in ("--assert", claim)), *more]
    return CliRunner().invoke(command, arguments, standalone_mode=False)


def test_what_is_shown_is_true_and_its_contrary_false_in_either_order() -> None:
    verdict = judge(*study(spec_of(axes=AXES), KNOWN))
    [group] = verdict.groups
    reference, other = group.reference, ({16, 32} - {group.reference}).pop()
    shown = {
        f"worse(256, {reference})": "true",
        f"better({reference}, 256)": "true",
        f"worse({reference}, 256)": "false",
        f"better(256, {reference})": "false",
        f"not_worse({reference}, 256)": "true",
        f"not_worse(256, {reference})": "false",
        f"equivalent({reference}, {other})": "true",
        f"equivalent({other}, {reference})": "true",
        f"equivalent(256, {reference})": "false",
        f"not_worse({other}, {reference})": "true",
        f"worse({other}, {reference})": "false",
        f"decided({other}, {reference})": "true",
        "use(256)": "false",
    }
    assert {
        claim: found.answer for claim, found in zip(shown, rulings(verdict, map(parse_claim, shown)), strict=True)
    } == shown


def test_the_batch_size_to_use_is_that_of_the_answer() -> None:
    verdict = judge(*study(spec_of(axes=AXES), KNOWN))
    [sentence] = answer(verdict.groups[0], verdict.declared.margin)
    found = {one.claim: one.answer for one in rulings(verdict, [parse_claim(f"use({batch})") for batch in SIZES])}
    assert [claim for claim, holds in found.items() if holds == "true"] == [
        f"use({batch})" for batch in SIZES if f"Use B = {batch} " in sentence
    ]
    assert list(found.values()).count("true") == 1


def test_two_that_were_only_compared_with_a_third_are_undecided() -> None:
    verdict = judge(*study(spec_of(axes=AXES), KNOWN))
    first, second = sorted(set(SIZES) - {verdict.groups[0].reference})
    claims = [parse_claim(f"{name}({first}, {second})") for name in PREDICATES if name not in ("use", "decided")]
    found = rulings(verdict, claims)
    assert {one.answer for one in found} == {"undecided"}
    assert "not compared with one another" in found[0].why
    [decided] = rulings(verdict, [parse_claim(f"decided({first}, {second})")])
    assert decided.answer == "false"


def test_noise_and_a_grid_leave_every_claim_undecided() -> None:
    claims = [
        f"{name}({pair})" for name in ("equivalent", "worse", "better", "not_worse") for pair in ("16, 32", "32, 16")
    ]
    assert set(answers(*claims, world=NOISY)) == {"undecided"}
    assert set(answers(*claims, "use(16)", protocol=None, margin=None)) == {"undecided"}


def test_a_claim_of_two_optimizers_holds_for_both_or_not_at_all() -> None:
    axes = {**AXES, "optimizer": ["adam", "sgd"]}
    verdict = judge(*study(spec_of(axes=axes), KNOWN))
    references = {group.reference for group in verdict.groups}
    [found] = rulings(verdict, [parse_claim(f"worse(256, {min(references)})")])
    assert ("adam" in found.why, "sgd" in found.why) == (True, True)
    assert found.answer == ("true" if len(references) == 1 else "undecided")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("__import__('os').system('id')", "cannot be read"),
        ("worse(16, 32) and worse(32, 16)", "cannot be read"),
        ("worse(16, 32.0)", "cannot be read"),
        ("worse(-16, 32)", "cannot be read"),
        ("worse(16, " + "9" * 100_000 + ")", "cannot be read"),
        ("equivalents(16, 32)", "did you mean 'equivalent'?"),
        ("worse(16)", "needs two different global batches"),
        ("worse(16, 16)", "needs two different global batches"),
        ("use(16, 32)", "needs one global batch"),
        ("", "cannot be read"),
    ],
)
def test_anything_else_is_refused_with_what_is_allowed(text: str, words: str) -> None:
    with pytest.raises(InputError, match="write one of equivalent") as refused:
        parse_claim(text)
    assert words in str(refused.value)
    assert ALLOWED in str(refused.value)
    assert len(str(refused.value)) < 400
    assert refused.value.exit_code == 2


def test_a_batch_size_that_the_study_does_not_have_is_refused() -> None:
    with pytest.raises(InputError, match=r"no results of B = 33: it has B = 16, 32, 256"):
        answers("worse(33, 16)")


def test_the_exit_code_is_0_only_if_all_that_is_claimed_is_shown(tmp_path: Path) -> None:
    tables = study(spec_of(axes=AXES), KNOWN)
    summary, reference = store(tmp_path, tables).uri, judge(*tables).groups[0].reference
    first, second = sorted(set(SIZES) - {reference})
    true, false, undecided = f"worse(256,{reference})", f"better(256,{reference})", f"worse({second}, {first})"
    for claims, status in (((true,), 0), ((false,), 1), ((undecided,), 1), ((true, false), 1), ((true, true), 0)):
        result = asserted(summary, *claims)
        assert (result.exception, result.return_value) == (None, status)
        assert len(result.stdout.splitlines()) == len(claims)
    result = asserted(summary, true, undecided, more=("--format", "json"))
    found = json.loads(result.stdout)
    assert (found["schema_version"], found["study"], found["holds"], found["margin"]) == (1, "simulated", False, 0.05)
    assert [(one["claim"], one["answer"]) for one in found["claims"]] == [
        (f"worse(256, {reference})", "true"),
        (undecided, "undecided"),
    ]


@pytest.mark.parametrize("more", [("--verdict",), ("--where", "seed = 1"), ("--limit", "1"), ("--format", "csv")])
def test_claims_are_about_a_whole_study(tmp_path: Path, more: tuple[str, ...]) -> None:
    result = asserted(str(tmp_path), "use(16)", more=more)
    assert isinstance(result.exception, InputError)

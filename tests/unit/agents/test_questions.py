"""Twenty questions about three summaries, which an agent answers from the tools alone."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tests.support import agents

pytestmark = pytest.mark.slow

Answer = dict[str, Any]


@pytest.fixture(scope="module")
def summaries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("summaries")
    return {
        "topics": agents.decided(folder / "decided"),
        "noisy": agents.noisy(folder / "noisy"),
        "broken": agents.failed(folder / "failed"),
    }


def claimed(*claims: str) -> dict[str, Any]:
    return {"claims": list(claims)}


def outcomes(found: Answer) -> dict[int, str]:
    return {one["global_batch"]: one["outcome"] for one in found["comparisons"]}


def lowest(found: Answer) -> int:
    """The batch size with the lowest mean over the confirmations."""
    confirmed = [row for row in found["rows"] if row["phase"] == "confirm"]
    batch: int = min(confirmed, key=lambda row: row["best_validation_loss_mean"])["global_batch"]
    return batch


QUESTIONS: list[tuple[str, str, str, dict[str, Any], Callable[[Answer], Any], Any]] = [
    ("topics", "Which studies are there?", "studies", {}, lambda it: [row["study"] for row in it["rows"]], ["topics"]),
    ("topics", "Which batch size shall I use?", "verdict", {}, lambda it: it["use"][0]["global_batch"], 32),
    (
        "topics",
        "Does the batch size change the quality?",
        "verdict",
        {},
        lambda it: it["sentences"][0].partition(".")[0],
        "Yes: the batch size changes the quality here",
    ),
    ("topics", "What was found of each size?", "verdict", {}, outcomes, {16: "equivalent", 256: "worse"}),
    (
        "topics",
        "By how much is 256 worse?",
        "verdict",
        {},
        lambda it: [round(one["difference"], 1) for one in it["comparisons"] if one["global_batch"] == 256],
        [0.4],
    ),
    ("topics", "Which differences do not matter?", "verdict", {}, lambda it: it["margin"], 0.05),
    ("topics", "Is 256 worse than 32?", "check_claims", claimed("worse(256, 32)"), lambda it: it["holds"], True),
    (
        "topics",
        "May I say that 16 and 32 are the same?",
        "check_claims",
        claimed("equivalent(16, 32)"),
        lambda it: it["claims"][0]["answer"],
        "true",
    ),
    (
        "topics",
        "May I say that 256 is worse than 16, since both were compared with 32?",
        "check_claims",
        claimed("worse(256, 16)"),
        lambda it: (it["holds"], it["claims"][0]["answer"]),
        (False, "undecided"),
    ),
    ("topics", "How many trials completed?", "failures", {}, lambda it: it["states"]["completed"], 30),
    (
        "topics",
        "What would decide the rest?",
        "next_study",
        {},
        lambda it: (it["code"], it["study_yaml"]),
        ("decided", None),
    ),
    ("noisy", "Is any size better or worse?", "verdict", {}, lambda it: set(outcomes(it).values()), {"undecided"}),
    (
        "noisy",
        "So are they the same?",
        "check_claims",
        claimed("equivalent(16, 64)", "equivalent(64, 16)", "decided(16, 64)"),
        lambda it: [one["answer"] for one in it["claims"]],
        ["undecided", "undecided", "false"],
    ),
    (
        "noisy",
        "Which study would decide it?",
        "next_study",
        {},
        lambda it: (it["code"], yaml.safe_load(it["study_yaml"])["study"], it["margin"]),
        ("study", "noisy-next", "declared"),
    ),
    ("noisy", "How long would that take?", "next_study", {}, lambda it: it["seconds"][0] > 60, True),
    ("noisy", "Which size has the lowest mean loss?", "points", {}, lowest, 16),
    (
        "noisy",
        "And does that decide anything?",
        "check_claims",
        claimed("better(16, 64)"),
        lambda it: it["holds"],
        False,
    ),
    (
        "broken",
        "Why did it fail?",
        "failures",
        {},
        lambda it: it["causes"],
        [{"error": agents.ERROR.format(0), "trials": 4}],
    ),
    ("broken", "How many trials of how many failed?", "verdict", {}, lambda it: (it["failed"], it["trials"]), (4, 4)),
    (
        "broken",
        "What does it show?",
        "verdict",
        {},
        lambda it: (it["use"], it["sentences"]),
        ([], ["Nothing can be said: 4 trials failed; the tool `failures` has the errors."]),
    ),
]


@pytest.mark.parametrize(
    ("study", "question", "tool", "arguments", "read", "expected"), QUESTIONS, ids=[one[1] for one in QUESTIONS]
)
def test_the_tools_answer(
    summaries: dict[str, str],
    study: str,
    question: str,
    tool: str,
    arguments: dict[str, Any],
    read: Callable[[Answer], Any],
    expected: Any,
) -> None:
    named = {} if tool == "studies" else {"study": study}
    found = agents.asked(summaries[study], tool, **named, **arguments)
    assert found["schema_version"] == 1
    assert found["problems"] == []
    assert read(found) == expected


def test_there_are_twenty_questions() -> None:
    assert len(QUESTIONS) == 20

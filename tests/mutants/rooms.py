"""What is mutated, and the quick tests that must notice."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Room:
    """Files of the product, as patterns, and the tests of their logic."""

    files: tuple[str, ...]
    tests: tuple[str, ...]


ROOMS = {
    "order": Room(
        ("trainer/order/*.py",),
        (
            *("tests/unit/trainer/test_plan.py", "tests/unit/trainer/test_permutation.py"),
            *("tests/unit/trainer/test_window.py", "tests/unit/trainer/test_rows.py"),
            *("tests/unit/trainer/test_noise.py", "tests/unit/trainer/test_cuts.py"),
        ),
    ),
    "plan": Room(("cluster/plan/*.py",), ("tests/unit/plan", "tests/unit/cli/test_plan.py")),
    # The rest of it computes with TensorFlow, and is held by `tests/parity`.
    "update": Room(
        ("trainer/update/schedule.py", "trainer/update/noise.py", "trainer/update/settings.py"),
        ("tests/unit/trainer/test_schedule.py", "tests/unit/trainer/test_noise.py", "tests/unit/trainer/test_trial.py"),
    ),
    "checkpoint": Room(("trainer/checkpoint.py",), ("tests/unit/trainer/test_checkpoint.py",)),
    "protocol": Room(
        ("cluster/study/protocol.py", "cluster/study/confirming.py"),
        (
            *("tests/unit/study/test_protocol.py", "tests/unit/study/test_looks.py"),
            *("tests/unit/study/test_chosen_rates.py", "tests/unit/study/test_target.py"),
        ),
    ),
    "rules": Room(
        tuple(
            f"cluster/analysis/{name}.py" for name in ("verdict", "refusals", "paired", "counted", "reach", "soonest")
        ),
        ("tests/unit/analysis",),
    ),
    "recovery": Room(
        ("cluster/lanes/recovery.py",),
        tuple(f"tests/unit/lanes/test_{name}.py" for name in ("recovery", "lane", "out_of_memory")),
    ),
}

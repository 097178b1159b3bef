"""The plan of a study file for an agent, from what was measured before, or a guess: nothing is started for it."""

from pathlib import Path
from typing import Any

from cluster.plan import as_json
from cluster.plan.planned import planned
from cluster.study.capacity import this_machine
from cluster.study.preflight import examine
from cluster.study.spec import load
from trainer.errors import InputError, brief


def plan_of(name: str, folder: Path) -> dict[str, Any]:
    """The plan of the study in a file of `folder`, as `batchscope plan --no-calibration --format json` has it.

    Raises:
        InputError: the file is elsewhere, is no study, cannot fit, or names code that would have to run.
        NotReadyError: its data or its summary cannot be read.
    """
    spec = load(_inside(name, folder))
    factory = getattr(spec.model, "factory", None)
    if factory is not None:
        raise InputError(
            f"a model factory ({brief(factory)!r}) is code that would run here, so this study is not planned: a person "
            "can run `batchscope plan` on it"
        )
    study = examine(spec, this_machine(with_gpus=spec.resources.gpus_per_worker > 0))
    return as_json.to_json(planned(study, calibrated=False, tell=lambda share: None))


def _inside(name: str, folder: Path) -> Path:
    """The file's path, which no link leads out of the folder."""
    try:
        path, root = (folder / name).resolve(), folder.resolve()
    except (OSError, ValueError) as problem:
        raise InputError(f"{brief(name)!r} cannot be read: {problem}") from None
    if not path.is_relative_to(root):
        raise InputError(
            f"{brief(name)!r} is not in {root}, where `batchscope mcp` was started: only files there are read"
        )
    return path

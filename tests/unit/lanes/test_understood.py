"""What Tune fails with, in words for a person where Ray ended a lane because its machine had no memory left."""

import ray

from cluster.lanes.schedule import understood
from trainer.errors import NotReadyError


def _as_tune_raises(cause: BaseException) -> RuntimeError:
    try:
        try:
            raise cause
        except BaseException as problem:
            raise RuntimeError("Caught unexpected exception: ...") from problem
    except RuntimeError as problem:
        return problem


def test_a_machine_without_memory_is_no_bug_of_ours() -> None:
    said = understood(_as_tune_raises(ray.exceptions.OutOfMemoryError("4 worker(s) were killed")))
    assert isinstance(said, NotReadyError)
    assert "out of memory" in str(said)
    assert "\n" not in str(said)


def test_anything_else_stays_what_it_is() -> None:
    problem = _as_tune_raises(ValueError("another"))
    assert understood(problem) is problem

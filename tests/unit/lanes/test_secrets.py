"""What Tune gives to a lane's runtime environment, which Ray logs for all to read, has no key of AWS in it."""

from types import SimpleNamespace
from typing import Any

import pytest
from ray import tune
from ray.tune.execution.class_cache import _ActorClassCache
from ray.tune.schedulers import FIFOScheduler

from cluster.lanes import schedule
from cluster.lanes.schedule import SECRETS


def test_no_key_of_the_driver_is_in_a_lanes_runtime_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, f"planted-{name}")
    monkeypatch.setattr(tune, "with_parameters", lambda trainable, **kept: trainable)
    monkeypatch.setattr(tune, "Tuner", lambda *arguments, **kept: None)
    settings: Any = SimpleNamespace(storage=str(tmp_path))
    queue: Any = None
    schedule._tuner(queue, FIFOScheduler(), 1, settings, schedule._Watcher(lambda event: None, lambda: False))
    given: dict[str, Any] = {}

    def remote(**options: Any) -> Any:
        given.update(options)
        return lambda trainable: trainable

    monkeypatch.setattr("ray.tune.execution.class_cache.ray.remote", remote)
    _ActorClassCache().get(object)
    assert "planted" not in str(given)
    assert given["runtime_env"]["env_vars"]

"""What Tune gives to a lane's runtime environment, which Ray logs for all to read, has no key of AWS in it.

And Tune imports no MLflow to count what it is given.
"""

import subprocess
import sys
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


def test_no_telemetry_imports_mlflow(tmp_path: Any) -> None:
    code = """
import sys
from types import SimpleNamespace
from ray import tune
from ray.tune import tune as run
from cluster.lanes import schedule

tune.with_parameters, tune.Tuner = lambda trainable, **kept: trainable, lambda *arguments, **kept: None
watcher = schedule._Watcher(lambda event: None, lambda: False)
schedule._tuner(None, schedule.FIFOScheduler(), 1, SimpleNamespace(storage="{folder}"), watcher)
run.air_usage.tag_callbacks([watcher])
print([name for name in sys.modules if name.startswith("mlflow")])
"""
    done = subprocess.run(
        [sys.executable, "-c", code.replace("{folder}", str(tmp_path))], capture_output=True, text=True, check=False
    )
    assert done.stdout == "[]\n", done.stderr

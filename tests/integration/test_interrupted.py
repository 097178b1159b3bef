"""A study that loses its data and its worker goes on where it was, and no number changes.

What is killed is in test_faults.py, what is stopped in test_nothing_left.py.
"""

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import hash_of, write_prepared
from tests.support.runs import begin, curve, finish, processes_of, rows, workers_of
from tests.support.studies import LONG, write_study
from tests.support.undisturbed import curve as undisturbed_curve

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("nothing_is_left_behind")]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, int, float]]:
    """The curves of the long study when nothing happens to it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_prepared(folder / "data")
    return undisturbed_curve(write_study(folder, **LONG))


@pytest.mark.timeout(1200)
def test_a_study_that_loses_its_data_and_its_worker_goes_on_where_it_was(
    study: Callable[..., Path], undisturbed: list[Any], nothing_is_left_behind: str, tmp_path: Path
) -> None:
    file = study(**LONG)
    process = begin(file)
    said = _other_data_in_the_place_of(tmp_path / "data")
    [worker] = workers_of(nothing_is_left_behind)
    worker.kill()
    assert said in finish(process, status=2)
    *_, killed, failed = rows(file)
    assert (killed["state"], failed["state"]) == ("LOST", "FAILED")
    assert failed["trial_id"] == killed["trial_id"]
    assert failed["error"].startswith(said)
    assert not failed["updates"]
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "own").rename(tmp_path / "data")

    process = begin(file)
    addresses = {ip for one in processes_of(nothing_is_left_behind) for ip in _listening(one)}
    assert addresses
    assert all(ip.removeprefix("::ffff:").startswith("127.") for ip in addresses), addresses
    finish(process)
    assert [(row["state"], row["attempt"]) for row in rows(file)] == [
        ("LOST", 1),
        ("FAILED", 2),
        ("COMPLETED", 3),
        ("COMPLETED", 1),
    ]
    assert sorted(curve(file)) == undisturbed


def _other_data_in_the_place_of(data: Path) -> str:
    """Move the data to `own`, and put others there: what a study must say of that."""
    before = hash_of(data)[:8]
    data.rename(data.with_name("own"))
    write_prepared(data, seed=1)
    return f"the data at {data} changed: this study was begun with {before}, but now {hash_of(data)[:8]} is there"


def _listening(process: psutil.Process) -> list[str]:
    """The addresses on which a process takes connections."""
    with contextlib.suppress(psutil.Error):
        found = process.net_connections(kind="tcp")
        return [one.laddr.ip for one in found if one.status == psutil.CONN_LISTEN]
    return []

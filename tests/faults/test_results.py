"""`batchscope results` over a summary in S3 whose server answers with 4 bytes a second: it ends, and says so."""

import subprocess
import sys
from typing import Any

import pytest

from cluster.stores.bucket import Bucket
from cluster.summary import query
from cluster.summary.store import Summary
from tests.contracts.test_summary import STUDY, TRIAL
from tests.support import faults
from tests.support.faults import Proxy
from trainer.errors import NotReadyError

# The command, with seconds instead of minutes.
COMMAND = """
import sys
from cluster.stores import bucket, calls
bucket.SECONDS, calls.PATIENCE_SECONDS = 3.0, 1.0
from cluster.cli import main
sys.argv = ["batchscope", "results", *sys.argv[1:]]
main()
"""


@pytest.fixture
def summary(store: Bucket) -> Summary:
    one = Summary(store.uri)
    one.write_study(STUDY)
    for number in range(20):
        one.write_trial({**TRIAL, "trial_id": f"{number:04x}", "seed": number})
    return one


def results(summary: Summary) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", COMMAND, "wiki", "--summary", summary.uri],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("method", ["listing", "object"])
def test_a_dripping_server_ends_the_command_with_3(proxy: Proxy, summary: Summary, method: str) -> None:
    # Everything drips, or only what is not a listing.
    proxy.plan = lambda request: faults.DRIP if method == "listing" or "list-type" not in request.path else None
    done = results(summary)
    assert done.returncode == 3, done.stderr
    assert done.stdout == ""
    assert "no whole answer to s3:" in done.stderr
    assert "Traceback" not in done.stderr
    assert proxy.fired[faults.DRIP] + len(proxy.seen) > 1


def test_what_was_read_once_is_not_read_again(
    proxy: Proxy, summary: Summary, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("BATCHSCOPE_CACHE", str(tmp_path))
    first = query.trials(summary, "wiki")
    begun = len(proxy.seen)
    assert query.trials(summary, "wiki") == first
    # A listing of the trials and one of the specs that they ran under, and no object.
    again = proxy.seen[begun:]
    assert len(again) == 2
    assert not any(request.path.endswith(".parquet") for request in again)
    # Another content has another version, and a damaged copy is none.
    summary.write_study({**STUDY, "trials": 41})
    assert query.asked(summary, "wiki") == 41
    summary.write_study({**STUDY, "trials": 42})
    assert query.asked(summary, "wiki") == 42
    for file in (tmp_path / "summary").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    assert query.trials(summary, "wiki") == first


def test_one_object_that_cannot_be_read_is_no_table_without_it(proxy: Proxy, summary: Summary, short: float) -> None:
    proxy.plan = lambda request: faults.SLOW_DOWN if "0007-1.parquet" in request.path else None
    with pytest.raises(NotReadyError, match=r"0007-1\.parquet.*SlowDown"):
        query.trials(summary, "wiki")

"""Each call of a bucket against each fault: it ends well by repetition, or in time with an error that says what."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cluster.stores import calls
from cluster.stores.bucket import Bucket
from cluster.stores.client import client
from tests.support import faults
from tests.support.faults import Proxy
from trainer.errors import InputError, NotReadyError

OLD, NEW = b"old" * 50_000, b"new" * 50_001


def fetched(store: Bucket, folder: Path) -> bytes:
    store.fetch("old", folder / "copy")
    return (folder / "copy").read_bytes()


# What is called, and what must be true after.
CALLS: dict[str, tuple[Callable[[Bucket, Path], Any], Callable[[Any, Bucket], bool]]] = {
    "read": (lambda store, _: store.read("old"), lambda answer, _: answer == OLD),
    "fetch": (fetched, lambda answer, _: answer == OLD),
    "write": (lambda store, _: store.write("old", NEW), lambda _, store: store.read("old") == NEW),
    "create": (
        lambda store, _: store.create("new", NEW),
        lambda answer, store: answer in (None, NEW) and store.read("new") == NEW,
    ),
    "create what is there": (
        lambda store, _: store.create("old", NEW),
        lambda answer, store: answer == OLD == store.read("old"),
    ),
    "names": (lambda store, _: store.names("o"), lambda answer, _: answer == ["old", "other"]),
    "delete": (lambda store, _: store.delete("old"), lambda _, store: store.names() == ["other"]),
}
every_call = pytest.mark.parametrize(("call", "holds"), CALLS.values(), ids=CALLS.keys())


@pytest.fixture(autouse=True)
def _some(store: Bucket) -> None:
    store.write("old", OLD)
    store.write("other", b"")


@every_call
@pytest.mark.parametrize("fault", faults.FAULTS)
def test_a_fault_that_passes_is_not_noticed(
    proxy: Proxy, store: Bucket, tmp_path: Path, fault: str, call: Any, holds: Any
) -> None:
    proxy.spoil(fault, times=2)
    answer = call(store, tmp_path)
    assert proxy.fired[fault] >= 1
    proxy.plan = lambda request: None
    assert holds(answer, store)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", ["read", "fetch", "names"])
def test_a_single_slow_answer_is_given_up_for_another(proxy: Proxy, store: Bucket, tmp_path: Path, name: str) -> None:
    call, holds = CALLS[name]
    proxy.spoil(faults.DRIP)
    begun = len(proxy.seen)
    assert holds(call(store, tmp_path), store)
    assert len(proxy.seen) == begun + 2


ENDLESS = [(name, faults.SLOW_DOWN) for name in CALLS] + [
    ("read", faults.DRIP),
    ("fetch", faults.DRIP),
    ("names", faults.DRIP),
    ("fetch", faults.CUT_OFF),
    ("write", faults.LOST_REQUEST),
]


@pytest.mark.parametrize(("name", "fault"), ENDLESS)
def test_a_fault_without_end_ends_in_an_error_that_names_it(
    proxy: Proxy, store: Bucket, tmp_path: Path, short: float, name: str, fault: str
) -> None:
    proxy.spoil_all(fault)
    begun, requests = time.monotonic(), len(proxy.seen)
    with pytest.raises(NotReadyError, match=rf"{store.uri}.*to s3:\w+ within {short:g} s, in \d+ tries.*AWS_ENDPOINT"):
        CALLS[name][0](store, tmp_path)
    assert time.monotonic() - begun < 10 * short, "a guard against hanging, not a measurement"
    assert len(proxy.seen) - requests > 1


def test_a_listing_that_arrives_empty_is_not_an_empty_listing(proxy: Proxy, store: Bucket) -> None:
    proxy.spoil(faults.EMPTY, times=2)
    assert store.names() == ["old", "other"]
    assert proxy.fired[faults.EMPTY] == 2


def test_a_listing_goes_on_after_the_last_page_that_arrived(
    proxy: Proxy, store: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"many/{number}" for number in range(7)]
    for name in names:
        store.write(name, b"")
    listing = client().list_objects_v2
    monkeypatch.setattr(client(), "list_objects_v2", lambda **fields: listing(**fields, MaxKeys=2))
    begun = len(proxy.seen)
    proxy.spoil(faults.SLOW_DOWN, first=3)
    assert store.names("many/") == names
    assert proxy.fired[faults.SLOW_DOWN] == 1
    assert len(proxy.seen) - begun == 5


@every_call
def test_what_is_not_allowed_is_said_at_once(
    proxy: Proxy, store: Bucket, tmp_path: Path, call: Any, holds: Any
) -> None:
    proxy.spoil_all(faults.DENIED)
    begun = len(proxy.seen)
    bucket = store.uri.removeprefix("s3://").partition("/")[0]
    with pytest.raises(
        NotReadyError, match=rf"bucket {bucket} refused s3:\w+ \(AccessDenied\); allow s3:\w+ on arn:aws:s3:::{bucket}"
    ):
        call(store, tmp_path)
    assert len(proxy.seen) - begun == 1


@every_call
def test_a_bucket_that_is_missing_is_said_at_once(proxy: Proxy, tmp_path: Path, call: Any, holds: Any) -> None:
    begun = len(proxy.seen)
    with pytest.raises(NotReadyError, match=r"\(NoSuchBucket\); create the bucket no-such-bucket first"):
        call(Bucket("s3://no-such-bucket/x"), tmp_path)
    assert len(proxy.seen) - begun == 1


def test_an_object_that_is_missing_is_said_at_once(proxy: Proxy, store: Bucket, tmp_path: Path) -> None:
    begun = len(proxy.seen)
    with pytest.raises(FileNotFoundError, match=f"{store.uri}/no is not there"):
        store.read("no")
    with pytest.raises(FileNotFoundError):
        store.fetch("no", tmp_path / "no")
    store.delete("no")
    assert len(proxy.seen) - begun == 3


def test_what_the_disk_refuses_is_no_fault_of_the_store() -> None:
    tries = []

    def work(one: calls.Try[None]) -> None:
        tries.append(one)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        calls.persist(calls.Call(action="s3:GetObject", bucket="b", place="s3://b/x", seconds=60), work)
    assert len(tries) == 1


@pytest.mark.parametrize("uri", ["s3://no_such_name!/x"])
def test_a_name_that_no_bucket_has(store: Bucket, uri: str) -> None:
    with pytest.raises(InputError, match="correct the address"):
        Bucket(uri).read("x")


@pytest.mark.usefixtures("impatient")
def test_a_try_that_moves_is_waited_for_past_the_patience() -> None:
    arrived: list[int] = []

    def work(one: calls.Try[int]) -> int:
        for number in range(8):
            time.sleep(calls.PATIENCE_SECONDS / 5)
            one.step(lambda: arrived.append(number))  # noqa: B023 - called at once
        return len(arrived)

    call = calls.Call(action="s3:GetObject", bucket="b", place="s3://b/x", seconds=60)
    assert calls.persist(call, work) == 8
    assert arrived == list(range(8))


def test_a_last_try_that_is_cut_off_does_not_hide_what_stopped_those_before() -> None:
    """By "silence" somebody would look at the network, though S3 did answer."""
    over, tries = threading.Event(), []

    def work(one: calls.Try[None]) -> None:
        tries.append(one)
        if len(tries) > 1:
            over.wait(30)
            return
        raise ClientError({"Error": {"Code": "SlowDown"}, "ResponseMetadata": {"HTTPStatusCode": 503}}, "GetObject")

    call = calls.Call(action="s3:GetObject", bucket="b", place="s3://b/x", seconds=0.5)
    with pytest.raises(NotReadyError, match=r"in 2 tries \(the last: SlowDown\)"):
        calls.persist(call, work)
    over.set()
    assert tries[-1].ended(30)


def test_what_was_given_up_touches_nothing_more() -> None:
    """Else a slow first try would write into the file of the second."""
    may_go_on, touched = threading.Event(), []

    def work(one: calls.Try[None]) -> None:
        may_go_on.wait(30)
        one.step(lambda: touched.append(1))

    one = calls.Try(work)
    one.give_up()
    may_go_on.set()
    assert one.ended(30)
    assert isinstance(one.problem, calls.GivenUpError)
    assert not touched

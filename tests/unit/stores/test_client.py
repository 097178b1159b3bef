"""Whoever agrees to pay for reading says so with each request that reads, and nobody else does."""

from typing import Any

import pytest

from cluster.stores.client import PAYER, client


class SentError(Exception):
    """A request, in place of being sent."""


def _sent(request: Any, **_: Any) -> None:
    raise SentError(request.headers.get("x-amz-request-payer"))


@pytest.mark.parametrize(("value", "agreed"), [(None, None), ("requester", b"requester"), ("owner", None)])
def test_who_agrees_to_pay_says_so(monkeypatch: pytest.MonkeyPatch, value: str | None, agreed: bytes | None) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "fake")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    if value is not None:
        monkeypatch.setenv(PAYER, value)
    made = client()
    made.meta.events.register("before-send.s3", _sent)
    for call in (
        lambda: made.get_object(Bucket="articles", Key="a"),
        lambda: made.list_objects_v2(Bucket="articles"),
        lambda: made.put_object(Bucket="articles", Key="a", Body=b""),
    ):
        with pytest.raises(SentError) as found:
            call()
        assert found.value.args == (agreed,)
    with pytest.raises(SentError) as found:
        made.list_buckets()
    assert found.value.args == (None,)

"""Small objects published whole and, unless `replace` is asked for, only once: in a local folder or on S3.

pyarrow's S3 filesystem cannot write on a condition (arrow#44281), so S3 objects are written with boto3 and
`IfNoneMatch="*"`. No S3 client bounds a whole call (its timeouts are between bytes), so each has an own deadline.
"""

import contextlib
import errno
import os
import queue
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from trainer.errors import InputError, NotReadyError, UserError

DEADLINE_SECONDS = 60.0
CONFLICT_TRIES = 5


def publish(root: str, key: str, body: bytes, *, replace: bool = False) -> bytes | None:
    """Write `body` at `key` under `root` (an absolute folder or `s3://bucket/prefix`), whole or not at all.

    Returns:
        None when it was written; when something is there already and `replace` is false, what is there.

    Raises:
        InputError: the folder cannot be written.
        NotReadyError: the bucket cannot be written, or does not answer.
    """
    if not root.startswith("s3://"):
        return _publish_file(root, key, body, replace=replace)
    bucket, _, prefix = root.removeprefix("s3://").partition("/")
    name = f"{prefix}/{key}" if prefix else key
    return _on_s3(root, lambda: _publish_object(bucket, name, body, replace=replace))


@contextlib.contextmanager
def reading(root: str) -> Iterator[None]:
    """Turn what pyarrow raises when the summary at `root` cannot be read into a NotReadyError."""
    try:
        yield
    except OSError as problem:
        reason = str(problem).splitlines()[0]
        raise NotReadyError(
            f"cannot read the summary in {root}: {reason}; look at its permissions, or for s3:// at the "
            "network, AWS_REGION, AWS_ENDPOINT_URL and the credentials"
        ) from None


def _publish_file(root: str, key: str, body: bytes, *, replace: bool) -> bytes | None:
    path = os.path.join(root, *key.split("/"))
    folder = os.path.dirname(path)
    # Readers skip names that begin with a dot.
    temporary = os.path.join(folder, f".{uuid.uuid4().hex}.tmp")
    action = "creating the folder"
    try:
        if not os.path.isdir(folder):
            os.makedirs(folder, exist_ok=True)
            for parent in (root, os.path.dirname(folder), os.path.dirname(root)):
                _fsync_folder(parent)
        action = "writing a file"
        try:
            with open(temporary, "xb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            if replace:
                os.replace(temporary, path)
            else:
                os.link(temporary, path)
        finally:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                os.unlink(temporary)
        _fsync_folder(folder)
    except FileExistsError as problem:
        if not os.path.isfile(path):
            raise _refused(root, action, problem) from None
        with open(path, "rb") as file:
            return file.read()
    except OSError as problem:
        raise _refused(root, action, problem) from None
    return None


def _refused(root: str, action: str, problem: OSError) -> UserError:
    reason = problem.strerror or str(problem)
    remedy = "choose another place for `summary`, or change its permissions"
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "make room there, or choose another place for `summary`"
    return InputError(f"cannot write the summary in {root}: {action} was refused ({reason}); {remedy}")


def _fsync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@lru_cache(maxsize=1)
def _client() -> Any:
    from boto3.session import Session
    from botocore.config import Config

    return Session().client(
        "s3",
        config=Config(retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=5, read_timeout=20),
    )


def _publish_object(bucket: str, name: str, body: bytes, *, replace: bool) -> bytes | None:
    from botocore.exceptions import ClientError

    client = _client()
    if replace:
        client.put_object(Bucket=bucket, Key=name, Body=body)
        return None
    for tried in range(1, CONFLICT_TRIES + 1):
        try:
            client.put_object(Bucket=bucket, Key=name, Body=body, IfNoneMatch="*")
            return None
        except ClientError as problem:
            status = problem.response["ResponseMetadata"]["HTTPStatusCode"]
            if status == 412:
                # Perhaps our own earlier try, whose answer was lost: the caller compares.
                there: bytes = client.get_object(Bucket=bucket, Key=name)["Body"].read()
                return there
            # 409: another write of this key is under way; AWS asks to try again, and botocore does not.
            if status != 409 or tried == CONFLICT_TRIES:
                raise
            time.sleep(random.uniform(0.1, 0.5) * tried)
    raise AssertionError("the last try returns or raises")


def _on_s3(root: str, call: Callable[[], bytes | None]) -> bytes | None:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return _before_deadline(root, call)
    except ClientError as problem:
        raise NotReadyError(_s3_message(root, problem)) from None
    except BotoCoreError as problem:
        raise NotReadyError(
            f"cannot write the summary in {root}: {type(problem).__name__}; "
            "look at the network, AWS_ENDPOINT_URL, AWS_REGION and that AWS credentials are set"
        ) from None


def _s3_message(root: str, problem: Any) -> str:
    bucket, _, prefix = root.removeprefix("s3://").partition("/")
    code, action = problem.response["Error"].get("Code", "?"), problem.operation_name
    remedy = {
        "NoSuchBucket": f"create the bucket {bucket} first, or correct `summary`",
        "AccessDenied": f"allow s3:{action} on arn:aws:s3:::{'/'.join(filter(None, [bucket, prefix, '*']))}",
    }.get(code, "look at AWS_REGION, AWS_ENDPOINT_URL and the credentials")
    return f"cannot write the summary in {root}: bucket {bucket} refused {action} ({code}); {remedy}"


def _before_deadline(root: str, call: Callable[[], bytes | None]) -> bytes | None:
    """What `call` returns or raises, or NotReadyError after DEADLINE_SECONDS."""
    answers: queue.SimpleQueue[tuple[bytes | None, Exception | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((call(), None))
        except Exception as problem:  # noqa: BLE001 - raised again below, in the caller's thread
            answers.put((None, problem))

    # A daemon: a call that never returns must not hold up the end of the process either.
    threading.Thread(target=run, name="summary-s3", daemon=True).start()
    try:
        there, problem = answers.get(timeout=DEADLINE_SECONDS)
    except queue.Empty:
        raise NotReadyError(
            f"cannot write the summary in {root}: no answer within {DEADLINE_SECONDS:g} s; "
            "look at the network and AWS_ENDPOINT_URL"
        ) from None
    if problem is not None:
        raise problem
    return there

"""A store in S3, through boto3: each object is written by one PUT. `cluster.stores.calls` ends every call in time."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.stores.calls import CHUNK_BYTES, Call, Try, persist
from cluster.stores.client import client
from cluster.stores.refusals import CutOffError

# A study outlasts two minutes without S3, whatever it reads, writes or deletes. That is longer than a lease is held
# without a renewal (`cluster.summary.driver.lease`): without answers a driver loses the lease first, and goes on by
# itself once S3 is back, where a call that gives up would end it.
SECONDS = 130.0
FETCH_SECONDS = 150.0


@dataclass(frozen=True)
class Bucket:
    """The store at `uri`, `s3://bucket/prefix`. It opens nothing before it is used, so it can be pickled.

    Every call can raise NotReadyError: at once if S3 refuses it (permission, no such bucket), or if no try succeeded
    within SECONDS, or FETCH_SECONDS, plus a second for each megabyte.
    """

    uri: str

    def read(self, name: str) -> bytes:
        """The content of an object."""

        def work(one: Try[bytes]) -> bytes:
            chunks: list[bytes] = []
            self._download(name, one, chunks.append)
            return b"".join(chunks)

        return persist(self._call("s3:GetObject", name), work)

    def fetch(self, name: str, target: Path) -> None:
        """Copy an object to a local file, a chunk at a time."""
        with target.open("wb") as file:

            def again() -> None:
                file.seek(0)
                file.truncate()

            def work(one: Try[None]) -> None:
                one.step(again, moved=0)
                self._download(name, one, file.write)

            persist(self._call("s3:GetObject", name, seconds=FETCH_SECONDS), work)

    def write(self, name: str, content: bytes) -> None:
        """Put an object."""
        bucket, key = self._key(name)
        persist(
            self._call("s3:PutObject", name, uploads=len(content)),
            lambda _: client().put_object(Bucket=bucket, Key=key, Body=content),
        )

    def create(self, name: str, content: bytes) -> bytes | None:
        """Put an object if there is none yet."""
        bucket, key = self._key(name)

        def work(_: Try[bool]) -> bool:
            from botocore.exceptions import ClientError

            try:
                client().put_object(Bucket=bucket, Key=key, Body=content, IfNoneMatch="*")
            except ClientError as problem:
                if problem.response["ResponseMetadata"]["HTTPStatusCode"] != 412:
                    raise
                return False
            return True

        if persist(self._call("s3:PutObject", name, uploads=len(content)), work):
            return None
        try:
            # An earlier try of this call may have put it, and its answer been lost: the caller compares.
            return self.read(name)
        except FileNotFoundError:
            # It was deleted between the two calls.
            return self.create(name, content)

    def names(self, prefix: str = "") -> list[str]:
        """The names of the objects that begin with `prefix`."""
        return sorted(self.sizes(prefix))

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """The bytes of the objects whose names begin with `prefix`."""
        return {name: found["Size"] for name, found in self._listed(prefix).items()}

    def versions(self, prefix: str = "") -> dict[str, str]:
        """S3's ETags of the objects whose names begin with `prefix`: another ETag means another content."""
        return {name: found["ETag"].strip('"') for name, found in self._listed(prefix).items()}

    def delete(self, name: str) -> None:
        """Delete an object."""
        bucket, key = self._key(name)
        persist(self._call("s3:DeleteObject", name), lambda _: client().delete_object(Bucket=bucket, Key=key))

    def region(self) -> str | None:
        """The region of the bucket; None if its store does not say."""
        bucket = self._key("")[0]
        answer = persist(self._call("s3:ListBucket", ""), lambda _: client().head_bucket(Bucket=bucket))
        found: str | None = answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region")
        return found

    def sweep(self) -> None:
        """Do nothing: a PUT that did not end leaves nothing behind."""

    def within(self, name: str) -> "Bucket":
        """The store under a longer prefix."""
        return Bucket(f"{self.uri}/{name}")

    def _listed(self, prefix: str) -> dict[str, dict[str, Any]]:
        bucket, root = self._key("")
        found: dict[str, dict[str, Any]] = {}
        following: dict[str, str] = {}

        def keep(page: dict[str, Any]) -> None:
            objects = page.get("Contents", [])
            # A key that ends in a slash is what consoles show as a folder.
            found.update({item["Key"].removeprefix(root): item for item in objects if not item["Key"].endswith("/")})
            following["ContinuationToken"] = page.get("NextContinuationToken", "")

        def work(one: Try[None]) -> None:
            # Another try goes on after the last page that arrived.
            while following.get("ContinuationToken") != "":
                page = client().list_objects_v2(Bucket=bucket, Prefix=root + prefix, **following)
                # botocore takes an empty body for a page without objects.
                if "IsTruncated" not in page or page["IsTruncated"] != ("NextContinuationToken" in page):
                    raise CutOffError
                one.step(lambda page=page: keep(page))  # type: ignore[misc]

        persist(self._call("s3:ListBucket", prefix), work)
        return found

    def _download(self, name: str, one: Try[Any], take: Callable[[bytes], object]) -> None:
        """Hand the chunks of an object to `take`. botocore checks the length and, if S3 has one, the checksum."""
        bucket, key = self._key(name)
        with contextlib.closing(client().get_object(Bucket=bucket, Key=key)["Body"]) as body:
            one.reads(body)
            while chunk := body.read(CHUNK_BYTES):
                one.step(lambda chunk=chunk: take(chunk), moved=len(chunk))  # type: ignore[misc]

    def _call(self, action: str, name: str, *, seconds: float | None = None, uploads: int = 0) -> Call:
        place = f"{self.uri}/{name}".rstrip("/")
        seconds = SECONDS if seconds is None else seconds
        return Call(action=action, bucket=self._key("")[0], place=place, seconds=seconds, uploads=uploads)

    def _key(self, name: str) -> tuple[str, str]:
        bucket, _, prefix = self.uri.removeprefix("s3://").partition("/")
        return bucket, f"{prefix}/{name}" if prefix else name

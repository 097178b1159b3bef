"""The machines that did not join their fleet, and why: each left a note in the fleet's bucket (`node/ready.py`)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cluster.fleet import aws, stack
from cluster.fleet.spec import FleetSpec

# The stack's lifecycle rule deletes the notes after a day.
PREFIX = "machines/"
LONGEST_NOTE_BYTES = 1000
NEWEST = 5


@dataclass(frozen=True)
class TurnedAway:
    """A machine that ended itself before it joined, why, and when it said so."""

    instance_id: str
    why: str
    at: datetime


def turned_away(spec: FleetSpec) -> list[TurnedAway]:
    """The newest notes, the newest first; none if there is no stack.

    Raises:
        NotReadyError: AWS refused or did not answer.
    """
    found = stack.outputs(spec.stack, spec.region)
    if found is None or "Bucket" not in found:
        return []
    client, bucket = aws.client("s3", spec.region), found["Bucket"]
    listed = aws.ask("s3:ListBucket", lambda: client.list_objects_v2(Bucket=bucket, Prefix=PREFIX).get("Contents", []))
    newest = sorted(listed, key=lambda one: one["LastModified"], reverse=True)[:NEWEST]
    return [_note(client, bucket, one) for one in newest]


def _note(client: Any, bucket: str, listed: dict[str, Any]) -> TurnedAway:
    def read() -> str:
        body = client.get_object(Bucket=bucket, Key=listed["Key"])["Body"]
        return str(body.read(LONGEST_NOTE_BYTES).decode(errors="replace"))

    why = aws.ask("s3:GetObject", read).strip()
    return TurnedAway(listed["Key"].removeprefix(PREFIX), why, listed["LastModified"])

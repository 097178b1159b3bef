"""What a trial's attempts left behind, as lines for a person: states, times, errors and ends of tracebacks. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from cluster.report.duration import duration
from cluster.text.plain import plain, plain_lines

Row = Mapping[str, Any]


def attempt_log(rows: Sequence[Row], begun: Sequence[Row] = ()) -> str:
    """The log of one trial: a part for each of the attempts that ended (`rows`), then those that have only `begun`."""
    first = [*rows, *begun][0]
    head = (
        f"trial {plain(first['trial_id'])} of study {plain(first['study'])}: global batch {first['global_batch']}, "
        f"rate {first['learning_rate']:g}, {plain(first['optimizer'])}, {plain(first['dtype'])}, seed {first['seed']}"
    )
    return "\n\n".join([head, *map(_ended, rows), *map(_begun, begun)])


def _ended(row: Row) -> str:
    took = (row["ended_at"] - row["started_at"]).total_seconds() if row["ended_at"] and row["started_at"] else None
    parts = [f"attempt {row['attempt']} ended {row['state']}"]
    if row["ended_at"]:
        parts.append(f"{row['ended_at']:%Y-%m-%d %H:%M:%S} UTC")
    if took is not None:
        parts.append(f"after {duration(took)}")
    parts.append(f"{row['updates'] or 0:,} updates")
    if row["node_type"]:
        parts.append(f"on {plain(row['node_type'])}")
    lines = [", ".join(parts)]
    if row["error"]:
        lines.append(f"error: {plain(row['error'])}")
    if row.get("traceback"):
        lines += ["the end of its traceback:", *(f"    {line}" for line in plain_lines(row["traceback"]).split("\n"))]
    elif row["state"] == "FAILED":
        lines.append("no traceback was kept with it")
    return "\n".join(lines)


def _begun(row: Row) -> str:
    since = f" at {row['started_at']:%Y-%m-%d %H:%M:%S} UTC" if row.get("started_at") else ""
    return f"attempt {row['attempt']} began{since} and has no end yet: it is running, or was killed with its driver"

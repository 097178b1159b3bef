"""The result of a probe for a person: the memory line, the curve of speed, and sentences with their ratios.

It is made from one probe's rows of the table `probes`.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from cluster.analysis.counted import counted
from cluster.summary.tables import COMPLETED, OUT_OF_MEMORY

Row = Mapping[str, Any]
# A held-out point further from the line than this gets a note.
ERROR_AT_MOST = 0.15
# Above this coefficient of variation between blocks, the machine was too busy to trust a small difference.
VARIATION_AT_MOST = 0.10
# A lone worker that got less of a processor than this had to share it.
USED_AT_LEAST = 0.9
BAR = 24
# The part of a limit that is kept free for whatever else a worker may come to hold.
MARGIN = 0.1


def headline(lanes: int, workers: Mapping[int, int], threads: int) -> str:
    """One line on what is about to be measured."""
    most = max(workers.values())
    return (
        f"probing on this machine: memory in fresh processes of {counted(most, 'worker')}, then speed with "
        f"{counted(lanes, 'lane')} of {counted(most, 'worker')} and {counted(threads, 'thread')} each; one "
        "or two minutes"
    )


def text(rows: Sequence[Row]) -> str:
    """The tables and sentences of one probe."""
    lines: list[str] = []
    for dtype, optimizer in dict.fromkeys((row["dtype"], row["optimizer"]) for row in rows):
        mine = [row for row in rows if (row["dtype"], row["optimizer"]) == (dtype, optimizer)]
        lines += [f"{dtype}, {optimizer}", "", *memory_lines(mine), "", *speed_lines(mine), ""]
    return "\n".join(lines)


def memory_lines(rows: Sequence[Row]) -> list[str]:
    """The memory of each micro-batch, the line through it, and the most rows under the limit."""
    found = sorted((row for row in rows if row["kind"] == "memory"), key=lambda row: int(row["micro_batch"]))
    largest = max((row["peak_memory_bytes"] for row in found if row.get("peak_memory_bytes")), default=0)
    lines = [f"{'micro-batch':>11}  {'length':>6}  {'MiB a worker':>12}  {'off the line':>12}"]
    for row in found:
        if row["state"] != COMPLETED:
            lines.append(f"{row['micro_batch']:>11}  {'-':>6}  {_state(row):>12}  {row['error']}")
            continue
        off = "-" if row.get("fit_error") is None else f"{row['fit_error']:+.1%}{'*' if row['held_out'] else ' '}"
        size = row["peak_memory_bytes"]
        lines.append(
            f"{row['micro_batch']:>11}  {row['length']:>6}  {size / 2**20:>12,.0f}  {off:>12}  {_bar(size, largest)}"
        )
    return [*lines, "", *_memory_words(found)] if found else []


def _memory_words(found: Sequence[Row]) -> list[str]:
    base, slope = found[0].get("fit_base_bytes"), found[0].get("fit_bytes_per_place")
    if base is None or slope is None:
        return ["memory: too few micro-batches fitted for a line through them"]
    held_out = [abs(row["fit_error"]) for row in found if row.get("fit_error") is not None and row["held_out"]]
    lines = [f"memory of a worker: {base / 2**20:,.0f} MiB + {slope:,.0f} bytes x rows x tokens of a micro-batch"]
    if held_out:
        lines[0] += f"; points held out of the fit (*) are within {max(held_out):.1%}"
        if max(held_out) > ERROR_AT_MOST:
            lines.append(f"NOTE: that is more than {ERROR_AT_MOST:.0%}: do not plan with this line")
    limit, fitting = found[0].get("memory_limit_bytes"), [row for row in found if row["state"] == COMPLETED]
    if limit and slope and fitting:
        length = max(row["length"] for row in fitting)
        most = int(max(0.0, limit * (1 - MARGIN) - base) // (slope * length))
        if failed := [row["micro_batch"] for row in found if row["state"] == OUT_OF_MEMORY]:
            # Memory that is reserved but unused counts against a limit too, so the line would promise too much.
            most = max([row["micro_batch"] for row in fitting]) if most >= min(failed) else most
        lines.append(
            f"under the limit of {limit / 2**30:g} GiB, less a margin of {MARGIN:.0%}, at most {counted(most, 'row')} "
            f"of {length} tokens go through the model at once; a larger share goes in several micro-batches"
        )
    return lines


def speed_lines(rows: Sequence[Row]) -> list[str]:
    """The curve of speed over global batches, and sentences on what it shows."""
    found = [row for row in rows if row["kind"] == "throughput"]
    timed = {row["global_batch"]: row for row in found if row["state"] == COMPLETED and row["with_reading"] == 1}
    unread = {row["global_batch"]: row for row in found if row["state"] == COMPLETED and row["with_reading"] == 0}
    fastest = max((row["examples_per_second"] for row in timed.values()), default=0.0)
    lines = [
        f"{'global batch':>12}  {'micro':>5}  {'ms an update':>12}  {'quartiles':>17}  {'rows/s':>8}  {'tokens/s':>9}  "
        f"{'padding':>7}"
    ]
    for row in sorted(found, key=lambda row: int(row["global_batch"])):
        if row["state"] != COMPLETED:
            lines.append(f"{row['global_batch']:>12}  {row['micro_batch']:>5}  {_state(row):>12}  {row['error']}")
        elif row["with_reading"] == 1:
            low, high = row["seconds_per_update_low"], row["seconds_per_update_high"]
            quartiles = f"{low * 1e3:,.1f} - {high * 1e3:,.1f}"
            lines.append(
                f"{row['global_batch']:>12}  {row['micro_batch']:>5}  {row['seconds_per_update'] * 1e3:>12,.1f}  "
                f"{quartiles:>17}  {row['examples_per_second']:>8,.0f}  {row['tokens_per_second']:>9,.0f}  "
                f"{row['padding_fraction']:>7.0%}  {_bar(row['examples_per_second'], fastest)}"
            )
    return [*lines, "", *_speed_words(timed, unread), *_evaluation_words(rows)]


def _speed_words(timed: Mapping[int, Row], unread: Mapping[int, Row]) -> list[str]:
    batches = sorted(timed)
    if not batches:
        return ["speed: no global batch could be timed"]
    lines = [neighbours(timed[a], timed[b]) for a, b in pairwise(batches) if b < 1.5 * a]
    if doublings := [(a, 2 * a) for a in batches if 2 * a in timed]:
        lines.append(doubling([(timed[a], timed[b]) for a, b in doublings]))
    best = max(batches, key=lambda batch: float(timed[batch]["examples_per_second"]))
    lines.append(f"most rows a second: global batch {best}, {timed[best]['examples_per_second']:,.0f}")
    reading = [timed[batch]["seconds_per_update"] / unread[batch]["seconds_per_update"] for batch in batches]
    lines.append(f"while its rows are read, an update takes {_range(reading)} times as long as without reading")
    tracing = [timed[batch]["seconds_tracing"] for batch in batches]
    lines.append(
        f"left out: {max(timed[batch]['seconds_starting'] for batch in batches):.1f} s to start, "
        f"{sum(tracing):.1f} s to trace, compile and warm up all of these"
    )
    busy = min(timed[batch]["processors_used"] for batch in batches)
    # Workers that sum wait for each other, which does not mean that the machine is busy.
    if busy < USED_AT_LEAST and timed[batches[0]]["workers"] == 1 and timed[batches[0]]["device"] == "cpu":
        lines.append(
            f"NOTE: other work kept the machine busy: a worker got {busy:.0%} of a processor, so all times are too long"
        )
    variations = {batch: timed[batch]["seconds_per_update_variation"] for batch in batches}
    if uneven := [f"{batch} by {part:.0%}" for batch, part in variations.items() if part > VARIATION_AT_MOST]:
        lines.append(
            f"NOTE: blocks of one global batch vary by more than {VARIATION_AT_MOST:.0%} ({', '.join(uneven)}): the "
            "machine was busy with other work, so measure again before you believe small differences"
        )
    return lines


def neighbours(small: Row, large: Row) -> str:
    """Whether two global batches close to each other differ in time."""
    ratio, low, high = _times(small, large)
    a, b = small["global_batch"], large["global_batch"]
    sentence = (
        f"{b} against {a}: an update takes {ratio:.2f} times as long ({low:.2f} to {high:.2f}) for {b / a:.2f} times "
    )
    sentence += f"the rows, so {b / a / ratio:.2f} times the rows a second"
    if low <= b / a <= high:
        sentence += ": no difference per row between the two can be measured here"
    return sentence


def doubling(pairs: Sequence[tuple[Row, Row]]) -> str:
    """The answer to whether twice the batch takes twice the time."""
    ratios = {f"{small['global_batch']} to {large['global_batch']}": _times(small, large) for small, large in pairs}
    each = ", ".join(f"{name} {ratio:.2f}" for name, (ratio, _, _) in ratios.items())
    less = [name for name, (_, _, high) in ratios.items() if high < 2]
    if not less:
        answer = "yes, as far as can be measured here"
    elif len(less) == len(ratios):
        answer = "no, less"
    else:
        answer = f"less for {', '.join(less)}; yes for the others, as far as can be measured here"
    return f"does twice the batch take twice the time? {answer}: {each} times"


def _evaluation_words(rows: Sequence[Row]) -> list[str]:
    lines = []
    for row in rows:
        if row["kind"] != "evaluation" or row["state"] != COMPLETED:
            continue
        if row.get("examples_per_second"):
            lines.append(f"evaluating: {row['examples_per_second']:,.0f} rows/s a lane")
        elif row.get("peak_memory_bytes"):
            lines.append(f"evaluating takes {row['peak_memory_bytes'] / 2**20:,.0f} MiB a worker, whatever the batch")
    return lines


def _times(small: Row, large: Row) -> tuple[float, float, float]:
    """How many times as long the larger batch's update takes: by the medians, then the least and most by quartiles."""
    return (
        large["seconds_per_update"] / small["seconds_per_update"],
        large["seconds_per_update_low"] / small["seconds_per_update_high"],
        large["seconds_per_update_high"] / small["seconds_per_update_low"],
    )


def _range(ratios: Sequence[float]) -> str:
    low, high = f"{min(ratios):.2f}", f"{max(ratios):.2f}"
    return low if low == high else f"{low} to {high}"


def _bar(value: float, most: float) -> str:
    return "#" * round(BAR * value / most) if most else ""


def _state(row: Row) -> str:
    return str(row["state"]).replace("_", " ").lower()

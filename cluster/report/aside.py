"""The last sentences of a verdict: the law of updates over batch sizes, what memory depends on, the noise scale."""

from collections.abc import Iterator

from cluster.analysis.counted import counted
from cluster.analysis.verdict import GroupVerdict


def aside(group: GroupVerdict) -> Iterator[str]:
    """What stands beside the conclusions of a group."""
    yield from _scaling(group)
    yield from _memory(group)
    yield from _noise(group)


def _scaling(group: GroupVerdict) -> Iterator[str]:
    knee, b20 = group.scaling.knee, group.scaling.b20
    if knee is not None and knee.critical_batch is not None:
        yield (
            f"At B = {knee.critical_batch:.3g} (critical batch, 95 % CI {knee.low:.3g}-{knee.high:.3g}) the target "
            "takes twice the fewest updates and twice the fewest examples."
        )
    elif knee is not None:
        bounds = [f"B_crit >= {knee.at_least:.3g}"] if knee.at_least is not None else []
        bounds += [f"B_crit <= {knee.at_most:.3g}"] if knee.at_most is not None else []
        yield f"Critical batch: {' and '.join(bounds) or 'not identified'}: {knee.reason}."
    if b20 is not None:
        bound = f"{b20.bound} " if b20.bound else ""
        yield f"Up to {bound}B = {b20.batch:.3g}, the target takes at most 1.2 times the fewest examples (B20)."


def _memory(group: GroupVerdict) -> Iterator[str]:
    sizes = [cell.micro_batch for cell in group.cells if cell.micro_batch is not None]
    if sizes:
        most = f"{counted(max(sizes), 'row')} {'was' if max(sizes) == 1 else 'were'}"
        yield (
            f"Memory depends on the micro-batch, not on B: at most {most} in the model at once. If memory allows only "
            "b rows, accumulate micro-batches of b, which gives the same result but is no faster, or train at B = b "
            "with the learning rate tuned for it."
        )


def _noise(group: GroupVerdict) -> Iterator[str]:
    scales = [cell.noise_scale for cell in group.cells if cell.noise_scale is not None]
    bounds = [
        f"at least {cell.noise_scale_at_least:.3g} at B = {cell.global_batch}"
        for cell in group.cells
        if cell.noise_scale_at_least is not None
    ]
    told = [f"{min(scales):.3g} to {max(scales):.3g} over the batch sizes"] if scales else []
    if told or bounds:
        yield (
            f"Diagnostic: gradient noise scale {'; '.join(told + bounds)}, from few updates a run; within one batch "
            "size it has been seen to vary a hundredfold."
        )

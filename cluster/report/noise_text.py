"""The noise of a training in words: how much its loss varies over seeds, and what paired seeds can tell of that."""

from cluster.analysis.noise import Noise
from cluster.analysis.power import pairs_needed

_SQRT2 = 2**0.5


def text(noise: Noise, *, what: str, margin: float | None) -> str:
    """The figures of one batch size and rate, which `what` names; `margin` is the study's, if it has one."""
    lines = [
        f"{what}: best validation loss {noise.mean:.4g} over {noise.seeds} seeds; standard deviation "
        f"{noise.deviation:.2g}, at most {noise.deviation_at_most:.2g} with 80 % confidence",
        "",
        "What pairs of seeds tell in 4 of 5 studies, if nothing of a seed is common to both batch sizes:",
        "  pairs   smallest difference detected   smallest margin decided",
    ]
    for pairs, difference in noise.detectable.items():
        lines.append(f"  {pairs:>5}   {difference:>28.3g}   {noise.decidable[pairs]:>23.3g}")
    worse = noise.deviation_at_most / noise.deviation if noise.deviation else 1.0
    lines += [
        "",
        f"The deviation of {noise.seeds} runs is uncertain: all of these may be {worse:.2f} times as large, or more.",
    ]
    if margin is not None:
        lines.append(_decides(noise, margin))
    lines.append(
        "A margin is the difference that matters to you. It does not follow from the noise: a margin of twice this "
        "deviation would call batch sizes equivalent that differ by one."
    )
    return "\n".join(lines) + "\n"


def _decides(noise: Noise, margin: float) -> str:
    needed = pairs_needed(noise.deviation * _SQRT2, margin)
    few = min(noise.decidable)
    if noise.decidable[few] <= margin:
        return f"{few} seeds decide the study's margin of {margin:g} in 4 of 5 studies of equal batch sizes."
    many = "over 1,000 seeds" if needed is None else f"{needed} seeds"
    return f"{few} seeds cannot decide the study's margin of {margin:g}; about {many} can."

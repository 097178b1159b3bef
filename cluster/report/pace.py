"""How fast a trial goes: its rows a second and the time it will still take, from the moments of its reports. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """A trial's first report of used examples and its last one, each with the second it came; none before the first.

    The first hides what the start took, and what a resumed trial had done before.
    """

    began_at: float
    first: tuple[float, int] | None = None
    last: tuple[float, int] | None = None

    def reported(self, examples: int, at: float) -> "Pace":
        """With one report more."""
        if not examples:
            return self
        return Pace(self.began_at, self.first or (at, examples), (at, examples))

    def examples_per_second(self) -> float | None:
        """Rows a second between the reports; None before there are two."""
        if self.first is None or self.last is None:
            return None
        (since, before), (until, now) = self.first, self.last
        return (now - before) / (until - since) if now > before and until > since else None

    def seconds_left(self, planned_examples: float, at: float) -> float | None:
        """Seconds until so many examples are used, from the second `at`; None while the pace is not known."""
        pace = self.examples_per_second()
        if pace is None or self.last is None:
            return None
        reported_at, done = self.last
        return max(0.0, (planned_examples - done) / pace - (at - reported_at))

"""How fast a trial trains: its rows a second and the time it still needs, from the times of its reports. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """A trial's first and last report of used examples, each with its time in seconds; None before the first report.

    Counting from the first report leaves out the start-up, and what a resumed trial had done before.
    """

    began_at: float
    first: tuple[float, int] | None = None
    last: tuple[float, int] | None = None

    def reported(self, examples: int, at: float) -> "Pace":
        """The pace with one more report."""
        if not examples:
            return self
        return Pace(self.began_at, self.first or (at, examples), (at, examples))

    def examples_per_second(self) -> float | None:
        """Rows a second between the two reports; None before there are two."""
        if self.first is None or self.last is None:
            return None
        (since, before), (until, now) = self.first, self.last
        return (now - before) / (until - since) if now > before and until > since else None

    def seconds_left(self, planned_examples: float, at: float) -> float | None:
        """Seconds from the time `at` until `planned_examples` are used; None while the pace is not known."""
        pace = self.examples_per_second()
        if pace is None or self.last is None:
            return None
        reported_at, done = self.last
        return max(0.0, (planned_examples - done) / pace - (at - reported_at))

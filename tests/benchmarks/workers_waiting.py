"""Two workers on two cores: the share of an update that each spends in the all-reduce and in waiting for the other.

    python -m tests.benchmarks.workers_waiting [--data FOLDER | --articles FILE] [--batches 32 128 ...] [--seconds 4]

Both workers are processes with one thread, as a lane's are, and one worker alone is a third with two. Blocks of the
same updates alternate between the two layouts. Of each update a worker measures what its share takes and what follows,
which is the all-reduce and the optimiser; the latter is measured alone, in the same two processes at once, by a learner
without other workers. What is left is the all-reduce, with the copies into one vector and out of it, and the waiting:
for a share that takes the other worker longer, and for whatever else the machine does. Medians over blocks of the mean
of both workers, with the least and the most.
"""

import argparse
import time
from dataclasses import dataclass, replace
from typing import Any

from cluster.process.ports import free_ports
from tests.benchmarks import setting
from tests.benchmarks.rows_per_second import WARM_UPDATES, Ours, Process, Settings

WORKERS = 2
GOAL = 0.15
GOAL_FROM = 128


@dataclass(frozen=True, kw_only=True)
class MemberSettings(Settings):
    """What one of several workers is told."""

    rank: int
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Parts:
    """The seconds of a block: all of it, and after the shares, with the other workers and without any."""

    seconds: float
    update: float
    update_alone: float

    @property
    def waiting(self) -> float:
        """The part of all of it that is the all-reduce and the waiting."""
        return (self.update - self.update_alone) / self.seconds


class Member(Ours):
    """One of several workers."""

    settings: MemberSettings

    def collective(self) -> Any:
        """The sum over the workers, whose processes start at the same time."""
        from trainer.machine.peers import introduce
        from trainer.order.world import World
        from trainer.update.collective import Collective

        rank, addresses = self.settings.rank, self.settings.addresses
        introduce(rank, addresses, b"of a benchmark")
        return Collective(World(rank, len(addresses)))

    def parts(self, first: int, updates: int) -> Parts:
        """A block of updates `first` to `first + updates`."""
        from trainer.data.rows import read_ahead
        from trainer.order.world import World
        from trainer.update.collective import Collective
        from trainer.update.update import Learner

        learner, batch, after = self.journey.learner, self.settings.global_batch, 0.0
        alone = Learner(learner.shape, Collective(World()))
        alone.update(global_batch=batch)
        started = time.perf_counter()
        for share in read_ahead(self._shares(first, updates)):
            for micro_batch in share.micro_batches:
                learner.add(micro_batch)
            computed = time.perf_counter()
            learner.update(global_batch=batch)
            after += time.perf_counter() - computed
        ended = time.perf_counter()
        for _ in range(updates):
            alone.update(global_batch=batch)
        return Parts(ended - started, after, time.perf_counter() - ended)


def measure(settings: Settings, *, seconds: float, blocks: int) -> tuple[list[float], list[float]]:
    """Of each block: the mean share of waiting, and the rows per second of two workers over those of one."""
    addresses = tuple(f"127.0.0.1:{port}" for port in free_ports(WORKERS))
    told = {**vars(settings), "threads": 1, "inter_op": 1}
    members = [Process(Member, MemberSettings(**told, rank=rank, addresses=addresses)) for rank in range(WORKERS)]
    one = Process(Ours, replace(settings, threads=WORKERS, inter_op=WORKERS))
    try:
        ask_all([*members, one], "warm", 0, WARM_UPDATES)
        warm = ask_all(members, "parts", 0, WARM_UPDATES)
        one.block(0, WARM_UPDATES)
        updates = max(2, round(seconds * WARM_UPDATES / warm[0].seconds))
        ask_all([*members, one], "warm", WARM_UPDATES, blocks * updates)
        waiting, ratios = [], []
        for block in range(blocks):
            first = WARM_UPDATES + block * updates
            found = ask_all(members, "parts", first, updates)
            waiting.append(sum(parts.waiting for parts in found) / WORKERS)
            ratios.append(one.block(first, updates).seconds / found[0].seconds)
        return waiting, ratios
    finally:
        for process in (*members, one):
            process.end()


def ask_all(members: list[Process], *request: Any) -> list[Any]:
    """The answers of workers that do something together."""
    for member in members:
        member.send(*request)
    return [member.receive() for member in members]


def main() -> None:
    """Measure every global batch and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    setting.add_data_options(parser)
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 128, 256, 512], metavar="B")
    parser.add_argument("--seconds", type=float, default=4.0, help="of a block, about")
    parser.add_argument("--blocks", type=int, default=5)
    options = parser.parse_args()
    from cluster.study.placement import micro_batch_rows
    from cluster.study.resources import Resources

    print(setting.machine_line(), flush=True)
    with setting.temporary_home() as home:
        data = setting.data_folder(options, home)
        print(setting.describe_data(data), flush=True)
        for batch in options.batches:
            settings = Settings(
                data=data,
                global_batch=batch,
                micro_batch=micro_batch_rows(Resources(), batch),
                threads=WORKERS,
                inter_op=WORKERS,
                embedding_units=64,
                lstm_units=128,
                dropout=0.0,
                optimizer="adam",
                steps_per_execution=1,
            )
            waiting, ratios = measure(settings, seconds=options.seconds, blocks=options.blocks)
            setting.figure(
                f"all-reduce and waiting, of an update of 2 workers, B = {batch}",
                setting.median_range(waiting),
                f"<= {GOAL}" if batch >= GOAL_FROM else "",
            )
            setting.figure(
                f"rows per second, 2 workers / 1 worker of 2 threads, B = {batch}", setting.median_range(ratios)
            )


if __name__ == "__main__":
    main()

"""The keys of a study that say what it may use at once: workers, lanes, processors, cards, memory."""

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from cluster.study import forms
from cluster.study.reading import Strict

# More than any machine has, in CPUs or GPUs, and in memory.
_MOST_OF_A_MACHINE, _MOST_GIB = 10_000, 2**20

MicroBatch = Annotated[int | str, BeforeValidator(forms.micro_batch)]


class Resources(Strict):
    """What a study may use at once. Without `lanes`, as many run as fit."""

    workers: Annotated[int | dict[int, int], BeforeValidator(forms.workers)] = Field(
        default=1, description="a whole number from 1 to 1000000, or {1: 1, 512: 4}: 4 from global batch 512 on"
    )
    lanes: int | None = Field(
        default=None,
        ge=1,
        le=forms.MOST_WORKERS,
        description=f"a whole number from 1 to {forms.MOST_WORKERS}, or leave it out for as many as fit",
    )
    # Ray counts both to four decimals.
    cpus_per_worker: float = Field(
        default=1.0, ge=0.001, le=_MOST_OF_A_MACHINE, description=f"a number of CPUs from 0.001 to {_MOST_OF_A_MACHINE}"
    )
    gpus_per_worker: float = Field(
        default=0.0,
        ge=0,
        le=_MOST_OF_A_MACHINE,
        description="0, a part of one GPU from 0.001 on, such as 0.25, or a whole number of GPUs",
    )
    micro_batch: MicroBatch = Field(default="auto", description="a whole number of rows of at least 1, or auto")
    memory_gib: float | None = Field(
        default=None,
        ge=0.001,
        le=_MOST_GIB,
        description="the memory of one worker in GiB (of its GPU, or of its process on CPUs) from 0.001 to "
        f"{_MOST_GIB}, such as 4, or leave it out for what the machine has",
    )

    def workers_at(self, global_batch: int) -> int:
        """The workers of a trial with this global batch."""
        if isinstance(self.workers, int):
            return self.workers
        return self.workers[max(start for start in self.workers if start <= global_batch)]

    @model_validator(mode="after")
    def _no_gpu_and_a_half(self) -> Self:
        if 0 < self.gpus_per_worker < 0.001:
            raise ValueError(f"gpus_per_worker {self.gpus_per_worker} is less than Ray can place: give 0.001 or more")
        if self.gpus_per_worker > 1 and self.gpus_per_worker % 1:
            raise ValueError(
                f"gpus_per_worker {self.gpus_per_worker} is over 1 and not a whole number, which Ray cannot place: "
                f"give {int(self.gpus_per_worker)}"
            )
        return self

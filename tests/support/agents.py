"""Three made summaries and a scripted agent, which asks the tools of `batchscope mcp` in the same process."""

from pathlib import Path
from typing import Any

import anyio
from mcp.client.client import Client

from cluster.agents.server import server
from tests.support.simulated import World, spec_of, study
from tests.support.stored import changed, store

SIZES = [16, 32, 256]
AXES = {**spec_of().axes.model_dump(mode="json"), "global_batch": SIZES}
ERROR = "InvalidArgumentError: indices[0] = {} is not in [0, 4) (my_models.py:39)"


def decided(folder: Path) -> str:
    """The study `topics`: 16 and 32 are the same within 0.05, 256 is worse by 0.4."""
    tables = study(spec_of(study="topics", axes=AXES), World(floors={256: 1.2}, run_deviation=0.005))
    return store(folder, tables, study="topics").uri


def noisy(folder: Path) -> str:
    """The study `noisy`: 16 and 64 differ by nothing, and runs are too noisy to show it."""
    axes = {**AXES, "global_batch": [16, 64]}
    tables = study(spec_of(study="noisy", axes=axes, budget={"epochs": 8}), World(run_deviation=0.08))
    return store(folder, tables, study="noisy").uri


def failed(folder: Path, *, error: str = ERROR, fails: int = 4, **columns: Any) -> str:
    """The study `broken`: a grid of four trials, of which some failed; `columns` change the row of its spec."""
    axes = {"global_batch": [16, 64], "learning_rate": 0.01, "seeds": 2}
    spec = spec_of(study="broken", axes=axes, protocol=None, target=None, margin=None)
    studies, trials, evaluations = study(spec, World())
    failing = [number < fails for number in range(4)]
    rows = changed(
        trials,
        state=["FAILED" if one else "COMPLETED" for one in failing],
        error=[error.format(number) if one else None for number, one in enumerate(failing)],
        best_validation_loss=[None if one else 0.5 for one in failing],
    )
    tables = changed(studies, trials=4, **columns), rows, evaluations.slice(0, 0)
    return store(folder, tables, study="broken").uri


def asked(summary: str, tool: str, folder: Path = Path(), /, **arguments: Any) -> dict[str, Any]:
    """What a tool answers; `error` is among its fields if it refuses."""

    async def ask() -> dict[str, Any]:
        problems: list[Exception] = []
        async with Client(server(summary, folder, report=problems.append)) as client:
            result = await client.call_tool(tool, arguments)
        assert problems == []
        assert result.structured_content is not None, result
        assert result.is_error == ("error" in result.structured_content)
        return result.structured_content

    return anyio.run(ask)


def offered(summary: str) -> tuple[str | None, list[dict[str, Any]]]:
    """What a client is told before it asks: the server's instructions, and its tools."""

    async def ask() -> tuple[str | None, list[dict[str, Any]]]:
        async with Client(server(summary, Path(), report=print)) as client:
            return client.instructions, [tool.model_dump() for tool in (await client.list_tools()).tools]

    return anyio.run(ask)

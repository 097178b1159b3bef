"""`batchscope mcp`: tools that only read the results of studies, for an agent, over its stdin and stdout."""

import importlib.util
import os
from pathlib import Path

import click

from cluster.process import signals


@click.command("mcp")
@click.option("--summary", "uri", default="./summary", show_default=True, help="Folder or s3://bucket/prefix.")
@click.option("--skill", is_flag=True, help="Print the skill, a file that teaches an agent the workflow, and end.")
def command(uri: str, skill: bool) -> None:
    """Serve the results of studies to an agent (Model Context Protocol over stdio). Nothing is written or started.

    \b
    claude mcp add batchscope -- batchscope mcp --summary /path/to/summary
    batchscope mcp --skill > .claude/skills/batchscope/SKILL.md

    Study files are planned only from the folder where this was started.
    """  # noqa: D301 - \b is click's: do not fill these lines
    from cluster.agents.skill import skill_text
    from cluster.cli import report_bug
    from trainer.errors import InputError

    if skill:
        click.echo(skill_text(), nl=False)
        return
    if importlib.util.find_spec("mcp") is None:
        raise InputError("mcp needs the SDK of MCP: in the clone of batchscope, `pip install -e '.[mcp]'`")
    # As for `serve`: what is asked does not slow down a study that runs here.
    os.nice(10)

    from cluster.agents.server import server
    from cluster.summary.store import Summary

    summary = Summary(uri)
    made = server(summary.uri, Path.cwd(), report=report_bug)
    # There is nothing to save: from now on a signal ends the process at once. The SDK's own way out would wait for the
    # next line of stdin.
    signals.settle()
    made.run("stdio")

"""The commands that come next after a run, as they can be typed where it was started."""

import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping

DEFAULT_SUMMARY = "summary"
_INDENT = "    "


def next_commands(study: str, summary: str) -> list[str]:
    """The commands, each with what it does; `summary` is where the study's results are."""
    program, place = program_name(), summary_option(summary)
    commands = {
        f"{program} report {study} -o {study}.html{place}": "one page, offline",
        f"{program} serve{place}": "all studies, in a browser",
        f"{program} next {study} -o {study}-next.yaml{place}": "the study that decides what is undecided",
    }
    return aligned(commands)


def aligned(commands: Mapping[str, str]) -> list[str]:
    """Each command with its comment, the comments in one column."""
    width = max(map(len, commands))
    return [f"{command:<{width}}  # {what}" for command, what in commands.items()]


def indented(lines: Iterable[str], width: int | None) -> list[str]:
    """The lines of `aligned` with an indent; where one is wider than `width`, each comment is above its command."""
    found = list(lines)
    if width is not None and max(map(len, found)) + len(_INDENT) > width:
        parts = (line.partition("  # ") for line in found)
        found = [text for command, _, what in parts for text in (f"# {what}", command.rstrip())]
    return [_INDENT + line for line in found]


def program_name() -> str:
    """How to call this program here: by its name or, where that is not on PATH, by its path."""
    if shutil.which("batchscope") or os.path.basename(sys.argv[0]) != "batchscope":
        return "batchscope"
    return shlex.quote(os.path.relpath(sys.argv[0]))


def summary_option(summary: str) -> str:
    """The option that names a summary, with a space before it; empty for the default one."""
    if "://" in summary:
        return f" --summary {shlex.quote(summary)}"
    path = os.path.relpath(summary)
    if path.startswith(os.pardir):
        path = os.path.abspath(summary)
    return "" if path == DEFAULT_SUMMARY else f" --summary {shlex.quote(path)}"

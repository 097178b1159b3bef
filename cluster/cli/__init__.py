"""The command `batchscope`: parse, call, print. Each command is a module here, imported only when it is called."""

import contextlib
import importlib
import io
import os
import platform
import signal
import sys
import tempfile
import traceback
import warnings
from typing import Any

import click

from cluster.process import proxies, signals
from cluster.stores.waiting import StoreWarning
from cluster.summary.problems import SummaryWarning
from cluster.text.masked import masked
from cluster.text.plain import plain, plain_lines
from cluster.text.wrapped import terminal_width, wrapped
from trainer.errors import NotReadyError, UserError

COMMANDS = {
    "demo": "the bundled articles, on this machine, in minutes",
    "prepare": "articles (Parquet, JSONL, CSV) -> a prepared data set",
    "init": "a first study of prepared data, of about three minutes, as a commented file",
    "plan": "what fits, how long it takes and what it costs, before anything is trained",
    "check": "prove on one real batch that every layout gives the same update",
    "probe": "measure what fits and how fast, batch by batch",
    "noise": "a few seeds of one batch size: how much a loss varies, and what seeds can tell",
    "run": "run a study here, with progress; Ctrl-C stops cleanly; run again to resume",
    "submit": "hand a study to a cluster, which runs it without this machine",
    "status": "how far the studies on a cluster have come",
    "logs": "the log of a study on a cluster, so far or to its end",
    "stop": "save and stop a study on a cluster",
    "resume": "continue a stopped study on a cluster",
    "list": "all jobs of studies on a cluster",
    "results": "a table of a study's results",
    "next": "the study that decides what a study left undecided, as a commented file",
    "studies": "list, describe, rename, move, copy, merge and delete the studies of a summary",
    "compact": "pack finished studies into few files, which are quick to read",
    "report": "one self-contained page on a study",
    "serve": "all studies and their pages, live and read-only, in a browser",
    "mcp": "results for an agent, read-only, as tools of the Model Context Protocol",
    "export": "models, tables, plots; runs for MLflow and TensorBoard",
    "doctor": "whether this machine, a store and a cluster can do a study's work",
    "fleet": "the EC2 machines: up, down, status, render",
}
EXIT_NO = 1
EXIT_FAILED_TRIALS = 4
EXIT_BUDGET = 6
EXIT_BUG = 70
EXIT_INTERRUPTED = 130


class Commands(click.Group):
    """A group whose commands are imported when they are called, so that `--help` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command's function, from the module of its name."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"cluster.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table above, without importing their modules."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="batchscope")
def batchscope() -> None:
    """Does the batch size change the quality of my LSTM, or only memory and speed? Measured on your own data."""


def main() -> None:
    """Run the command and exit: 0 done, 2 and 3 for a user's errors, 70 with a report file for internal errors."""
    status: object = 0
    _say_problems()
    # A first signal may still arrive while the command prints how it ended.
    with contextlib.suppress(signals.StoppedError):
        try:
            signals.install()
            proxies.go_direct()
            status = _ended()
        finally:
            signals.settle()
    signals.settle()
    sys.exit(status if isinstance(status, int) else 0)


def _ended() -> object:
    """Run the command; what it returned or, after printing why it failed, the exit code for that."""
    try:
        return batchscope(standalone_mode=False)
    except click.exceptions.Abort:
        return EXIT_INTERRUPTED
    except click.ClickException as problem:
        shown = io.StringIO()
        problem.show(shown)
        click.echo(plain_lines(shown.getvalue()), err=True, nl=False)
        return problem.exit_code
    except UserError as problem:
        text = f"batchscope: {plain_lines(str(problem))}"
        click.echo(wrapped(text, terminal_width(sys.stderr)), err=True)
        return problem.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # `| head` has read enough, so nobody will read what is still buffered.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return signals.EXIT_SIGNAL + signal.SIGPIPE
    except Exception as problem:  # noqa: BLE001 - the last line of defence: a report instead of a traceback
        if signals.count():
            # Interrupted work fails in many ways, none of which is a fault.
            first_line = masked(plain(str(problem).split("\n", 1)[0]))
            click.echo(f"batchscope: while stopping: {type(problem).__name__}: {first_line}", err=True)
            return EXIT_BUG
        return _full_disk(problem) or report_bug(problem)


def _say_problems() -> None:
    """Print warnings about a summary's objects, and of a store that keeps one waiting, as plain lines, each once.

    Other warnings are left to Python.
    """
    printed: set[str] = set()
    as_before = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if not issubclass(category, (SummaryWarning, StoreWarning)):
            as_before(message, category, *rest, **more)
        elif str(message) not in printed:
            printed.add(str(message))
            click.echo(f"batchscope: {plain(str(message))}", err=True)

    warnings.showwarning = show
    for category in (SummaryWarning, StoreWarning):
        warnings.simplefilter("always", category)


def _full_disk(problem: Exception) -> int | None:
    """Say that a disk is full, wherever a command met it, and return the exit code; None if that is not the problem."""
    from cluster.lanes.surroundings import full_disk, full_disk_text

    if (full := full_disk(problem)) is None:
        return None
    click.echo(wrapped(f"batchscope: {plain(full_disk_text(full))}", terminal_width(sys.stderr)), err=True)
    return NotReadyError.exit_code


def report_bug(problem: Exception) -> int:
    """Write a report of an internal error, print where it is, and return the exit code.

    Where it cannot be written, it is printed.
    """
    text = masked("".join(traceback.format_exception(problem)))
    what = f"{type(problem).__name__}: {masked(plain(str(problem)))}"
    try:
        handle, path = tempfile.mkstemp(prefix="batchscope-bug-", suffix=".txt")
        with os.fdopen(handle, "w") as report:
            report.write(f"python {platform.python_version()} on {platform.platform()}\n{text}")
    except OSError as refused:
        click.echo(f"batchscope: internal error ({what}); please report it ({refused.strerror}):\n{text}", err=True)
        return EXIT_BUG
    click.echo(f"batchscope: internal error ({what}); please report it and attach {path}", err=True)
    return EXIT_BUG

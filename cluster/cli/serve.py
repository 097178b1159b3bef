"""`batchscope serve`: all studies of a summary and their pages, live and read-only, for a browser and for programs."""

import contextlib
import os
import time
from collections.abc import Callable

import click

from cluster.process import signals

SECONDS_UNTIL_AGAIN = 600.0


@click.command("serve")
@click.option("--summary", "uri", default="./summary", show_default=True, help="Folder or s3://bucket/prefix.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; others need the token.")
@click.option("--port", type=click.IntRange(0, 65535), default=8700, show_default=True, help="0 takes any free port.")
@click.option(
    "--token",
    envvar="BATCHSCOPE_TOKEN",
    show_envvar=True,
    help="The token that readers must give.  [default: none for this machine only, otherwise a new one]",
)
def command(uri: str, host: str, port: int, token: str | None) -> None:
    """Show all studies of a summary, each on its own page, even while they run; Ctrl-C ends it.

    The same content is under /api as JSON, described by /api/openapi.json. Nothing is written.
    """
    # Everything else on this machine goes first, so that readers do not slow down a study that is being watched. With
    # 19, a page would wait a minute next to busy cores. This precedes any thread, since each keeps its first priority.
    os.nice(10)

    from cluster.report.page.page import page
    from cluster.report.serve.listen import listen, serve
    from cluster.summary.store import Summary

    summary = Summary(uri)
    listening = listen(host, port, token)
    click.echo(f"{summary.uri} is shown at {listening.url} until Ctrl-C", err=True)
    # A signal is the intended end, so nothing is printed, and `main` exits with that signal's code.
    with contextlib.suppress(signals.StoppedError):
        serve(listening, summary, page=page, report=_reporter())


def _reporter() -> Callable[[Exception], None]:
    """A function that prints problems on stderr; it repeats one only after a while, since many readers meet it."""
    said: dict[str, float] = {}

    def report(problem: Exception) -> None:
        from cluster.cli import report_bug
        from cluster.text.plain import plain_lines
        from trainer.errors import UserError

        text, now = repr(problem), time.monotonic()
        if now - said.get(text, -SECONDS_UNTIL_AGAIN) < SECONDS_UNTIL_AGAIN:
            return
        said[text] = now
        if isinstance(problem, UserError):
            click.echo(f"batchscope: {plain_lines(str(problem))}", err=True)
        else:
            report_bug(problem)

    return report

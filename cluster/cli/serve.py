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
@click.option("--port", type=click.IntRange(0, 65535), default=8700, show_default=True, help="0: any that is free.")
@click.option(
    "--token",
    envvar="BATCHSCOPE_TOKEN",
    show_envvar=True,
    help="What readers must bring.  [default: none on this machine only, else one is made]",
)
def command(uri: str, host: str, port: int, token: str | None) -> None:
    """Show all studies of a summary, each on its page, while they run; Ctrl-C ends it.

    The same as JSON is under /api, described by /api/openapi.json. Nothing is written.
    """
    # Everything else on this machine goes first: a study that is being watched must not feel its readers. Not 19, with
    # which a page would wait for a minute beside busy cores. Before any thread is there: each keeps what it began with.
    os.nice(10)

    from cluster.report.page.page import page
    from cluster.report.serve.listen import listen, serve
    from cluster.summary.store import Summary

    summary = Summary(uri)
    listening = listen(host, port, token)
    click.echo(f"{summary.uri} is shown at {listening.url} until Ctrl-C", err=True)
    # A signal is how it is meant to end: nothing is to be said, and `main` ends with that signal's exit code.
    with contextlib.suppress(signals.StoppedError):
        serve(listening, summary, page=page, report=_reporter())


def _reporter() -> Callable[[Exception], None]:
    """Says what went wrong on stderr; the same again only after a while, since many readers meet it."""
    said: dict[str, float] = {}

    def report(problem: Exception) -> None:
        from cluster.cli import report_bug
        from trainer.errors import UserError

        text, now = repr(problem), time.monotonic()
        if now - said.get(text, -SECONDS_UNTIL_AGAIN) < SECONDS_UNTIL_AGAIN:
            return
        said[text] = now
        if isinstance(problem, UserError):
            click.echo(f"batchscope: {problem}", err=True)
        else:
            report_bug(problem)

    return report

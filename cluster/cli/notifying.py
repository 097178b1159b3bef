"""`--notify`: a notice of how a study ended, to a webhook or a command."""

import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cluster.cli import EXIT_BUDGET, EXIT_FAILED_TRIALS, EXIT_INTERRUPTED, EXIT_NO
from cluster.process.signals import EXIT_CODES, StoppedError
from trainer.errors import UserError

if TYPE_CHECKING:
    from cluster.process.notice import Receiver
    from cluster.study.spec import StudySpec

Command = TypeVar("Command", bound=Callable[..., Any])
VARIABLE = "BATCHSCOPE_NOTIFY"
OUTCOMES = {
    0: "completed",
    EXIT_NO: "refused",
    EXIT_FAILED_TRIALS: "failed_trials",
    EXIT_BUDGET: "out_of_budget",
    EXIT_CODES[signal.SIGTERM]: "stopped",
}
ERROR = "error"


def notify_option(command: Command) -> Command:
    """The option `--notify`."""
    option = click.option(
        "--notify",
        "target",
        envvar=VARIABLE,
        show_envvar=True,
        metavar="URL|COMMAND",
        help="At the end, POST how it went as JSON to this https:// address, or call this command with it on stdin.",
    )
    return option(command)


def receiver(target: str | None, *, joins_cluster: bool) -> "Receiver | None":
    """Whom to notify, checked before anything starts; the variable is taken out of what child processes inherit.

    Raises:
        InputError: nobody can be notified so, or a cluster would see the address.
    """
    from cluster.process.notice import Webhook, receiver_of
    from trainer.errors import InputError

    from_variable = os.environ.pop(VARIABLE, None)
    if target is None:
        return None
    found = receiver_of(target)
    if joins_cluster and isinstance(found, Webhook) and target != from_variable:
        raise InputError(
            f"--notify {found.shown}: the address is a secret, and Ray shows a command line to whoever sees the "
            f"cluster: put it into the environment variable {VARIABLE}"
        )
    return found


def with_notice(found: "Receiver | None", spec: "StudySpec", work: Callable[[], int]) -> int:
    """Do the work, give notice of its end, and return its exit code; what `work` raises is raised after the notice."""
    if found is None:
        return work()
    try:
        status = work()
    except StoppedError:
        _give(found, spec, "stopped", None)
        raise
    except UserError as problem:
        _give(found, spec, ERROR, str(problem))
        raise
    except Exception as problem:
        _give(found, spec, ERROR, f"internal error ({type(problem).__name__})")
        raise
    # Who no longer follows a cluster's study (130) knows that, and the study goes on.
    if status != EXIT_INTERRUPTED:
        _give(found, spec, OUTCOMES.get(status, ERROR), None)
    return status


def _give(found: "Receiver", spec: "StudySpec", outcome: str, problem: str | None) -> None:
    from cluster.process.notice import give
    from cluster.report.notice import notice

    click.echo(give(found, notice(spec, outcome, problem)), err=True)

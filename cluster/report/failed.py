"""What failed in a study, in one sentence."""

from cluster.analysis.failures import Cause, Failures
from cluster.report.next_commands import program_name, summary_option
from cluster.text.plain import plain

MOST_CAUSES, MOST_CHARACTERS = 3, 240


def sentence(failures: Failures) -> str:
    """A sentence on how many trials failed and with which errors; empty if none failed."""
    if not failures.failed:
        return ""
    if failures.failed == failures.trials:
        who = f"All {failures.trials} trials" if failures.trials > 1 else "The only trial"
    else:
        who = f"{failures.failed} of {failures.trials} trials"
    if len(failures.causes) == 1:
        alike = {1: "", 2: ", both"}.get(failures.failed, ", all")
        return f"{who} failed{alike} with: {_short(failures.causes[0])}"
    named = [f"{cause.trials} with: {_short(cause)}" for cause in failures.causes[:MOST_CAUSES]]
    others = sum(cause.trials for cause in failures.causes[MOST_CAUSES:])
    return f"{who} failed: {'; '.join(named)}{f'; {others} with other errors' if others else ''}"


def where_to_look(failures: Failures, study: str, summary: str) -> str:
    """The command that prints a traceback of the most frequent failure; empty if none failed."""
    if not failures.failed:
        return ""
    trial, place = failures.causes[0].trial_id, summary_option(summary)
    return f"the traceback of one that failed: {program_name()} logs {study} --trial {trial}{place}"


def _short(cause: Cause) -> str:
    """The first words of an error, and at the end its place in the code."""
    text = plain(cause.text)
    if len(text) <= MOST_CHARACTERS:
        return text
    words, opening, place = text.rpartition(" (")
    end = opening + place if opening and len(place) < MOST_CHARACTERS // 3 else ""
    return f"{(words if end else text)[: MOST_CHARACTERS - len(end) - 3]}...{end}"

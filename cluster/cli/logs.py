"""`batchscope logs`: the log of a study on a cluster, or what one of its trials left behind, wherever it ran."""

import click

from cluster.cli.answering import JSON, put, text_or_json
from cluster.cli.reaching import no_address, reach, trial_or_cluster_options


@click.command()
@click.argument("study")
@trial_or_cluster_options
@click.option("-f", "--follow", is_flag=True, help="Follow it to its end; the exit code is then the study's own.")
@click.option("--trial", "prefix", metavar="ID", help="What this trial's attempts left, from the summary; no cluster.")
@click.option("--summary", "uri", default="./summary", show_default=True, help="With --trial: where the results are.")
@text_or_json
def command(
    study: str, address: str | None, token_file: str | None, follow: bool, prefix: str | None, uri: str, form: str
) -> int:
    """Print the log of the newest job of STUDY, which may also be a job's id; with --trial, that of a trial.

    A trial's log has the state, the error and the end of the traceback of each of its attempts, as they are in the
    summary, and what its workers wrote on this machine, while their files are there.
    """
    from cluster.cli.following import follow_to_end, show_line
    from cluster.jobs.job import find
    from trainer.errors import InputError

    if follow and form == JSON:
        raise InputError("--format json is the log so far: leave out -f, or follow it as text")

    if prefix is not None:
        if follow:
            raise InputError("-f follows a job: leave it out, or leave out --trial")
        lines = _trial(study, prefix, uri)
        put(form, lines, study=study, trial=prefix, lines="\n".join(lines).splitlines())
        return 0
    if address is None:
        raise no_address()
    head = reach(address, token_file)
    job = find(head.jobs(), study)
    if follow:
        return follow_to_end(head, job)
    lines = head.log(job.id).splitlines()
    if form == JSON:
        put(form, [], study=job.study, job=job.id, lines=lines)
        return 0
    for line in lines:
        show_line(line)
    return 0


def _trial(study: str, prefix: str, uri: str) -> list[str]:
    from cluster.process.worker_logs import pieces
    from cluster.report.attempt_log import attempt_log
    from cluster.summary import query
    from cluster.summary.store import Summary
    from cluster.summary.trial_ids import named

    summary = Summary(uri)
    query.asked(summary, study)
    rows = query.trials(summary, study).sort_by([("attempt", "ascending")]).to_pylist()
    begun = summary.lost_attempts(study)
    lister = f"`batchscope export {study} --summary {summary.uri}`"
    trial_id = named(prefix, sorted({row["trial_id"] for row in (*rows, *begun)}), lister=lister, study=study)
    mine, unended = ([row for row in of if row["trial_id"] == trial_id] for of in (rows, begun))
    found = [f"\nwhat a worker wrote, {file}:\n{text}" for file, text in pieces(trial_id)]
    return [attempt_log(mine, unended), *found]

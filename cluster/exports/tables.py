"""All tables of a study or of a whole summary, as Parquet or CSV files, and its verdicts as JSON.

Texts in CSV are unchanged, so that it reads back exactly. `batchscope results --format csv` is for spreadsheets, which
would run some texts as formulas.
"""

from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from cluster.analysis.verdict import judge
from cluster.report import verdict as words
from cluster.report import verdict_table
from cluster.summary import query
from cluster.summary.store import Summary
from cluster.text.formats import to_parquet
from trainer.errors import InputError

PARQUET, CSV = FORMATS = ("parquet", "csv")
READERS = {
    "studies": query.studies,
    "trials": query.trials,
    "evaluations": query.evaluations,
    "probes": query.probes,
    "fits": query.fits,
}


def read(summary: Summary, study: str | None) -> dict[str, pa.Table]:
    """The tables of READERS and `points`, of one study or of all.

    Raises:
        InputError: there is no such study, or no study at all.
        NotReadyError: the summary cannot be read.
    """
    if study is not None:
        query.asked(summary, study)
    found = {name: reader(summary, study) for name, reader in READERS.items()}
    if not found["studies"].num_rows and not found["trials"].num_rows:
        raise InputError(f"there is no study in {summary.uri}: name the folder or s3:// address with --summary")
    points = query.points(found["trials"])
    of_language = pc.unique(found["studies"]["task"]).to_pylist() == ["language_model"]
    return found | {"points": query.with_perplexity(points) if of_language else points}


def names(tables: Mapping[str, pa.Table], *, form: str) -> list[str]:
    """The files' names: one for each table, and `verdict-STUDY.json` for each study with a spec."""
    return [f"{name}.{form}" for name in tables] + [f"verdict-{study}.json" for study in _judged(tables)]


def contents(tables: Mapping[str, pa.Table], *, form: str) -> Iterator[bytes]:
    """The contents of the files of `names`."""
    for rows in tables.values():
        yield to_parquet(rows) if form == PARQUET else to_csv(rows)
    for study in _judged(tables):
        specs, trials, evaluations = (_of(tables[name], study) for name in ("studies", "trials", "evaluations"))
        verdict = judge(query.with_spec(specs), trials, evaluations)
        yield verdict_table.to_json(verdict, words.sentences(verdict)).encode()


def to_csv(rows: pa.Table) -> bytes:
    """CSV with numbers in full, times in UTC, every text in quotes, and null as an empty field without quotes."""
    sink = pa.BufferOutputStream()
    pacsv.write_csv(rows, sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _judged(tables: Mapping[str, pa.Table]) -> list[str]:
    studies: list[str] = pc.unique(query.with_spec(tables["studies"])["study"]).to_pylist()
    return studies


def _of(rows: pa.Table, study: str) -> pa.Table:
    return rows.filter(pc.equal(rows["study"], study))

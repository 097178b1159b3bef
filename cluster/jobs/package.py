"""What a job takes to the cluster: the two packages, the study, the code of its model, and no other file."""

import importlib.metadata
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import cluster
import trainer
from cluster.study import identity
from cluster.study.spec import StudySpec

STUDY_FILE = "study.yaml"
# The files of a package that a study needs when it runs; the bundled articles (Parquet) are only for `batchscope demo`.
_SUFFIXES = (".py", ".typed", ".yaml", ".csv", ".md")


def fill(folder: Path, spec: StudySpec, code: Mapping[str, Path]) -> None:
    """Write a job's working directory into the empty `folder`; Ray puts it first on the path of driver and workers.

    `code` are the files that build the model, by their paths there (`cluster.study.factory_code`).
    The study is written as its canonical JSON, which is also YAML. The `dist-info` is there because the version of the
    code is a column of the summary, and `importlib.metadata` knows only installed packages.
    """
    for package in (trainer, cluster):
        _copy(package, folder)
    for name, file in code.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / name)
    (folder / STUDY_FILE).write_text(identity.whole_json(spec) + "\n", encoding="utf-8")
    version = importlib.metadata.version("batchscope")
    info = folder / f"batchscope-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: batchscope\nVersion: {version}\n", encoding="utf-8")


def command(verb: str, *flags: str, **options: str | None) -> str:
    """The shell command by which a job runs `batchscope VERB` on its study, on the cluster that it is on.

    `exec` replaces the shell by the driver, which then receives signals directly.
    """
    words = ["exec", "python", "-m", "cluster.cli", verb, STUDY_FILE, "--address", "auto"]
    given = [word for name, value in options.items() if value is not None for word in (f"--{name}", value)]
    return shlex.join([*words, *flags, *given])


def _copy(package: ModuleType, folder: Path) -> None:
    assert package.__file__ is not None
    source = Path(package.__file__).parent
    for file in source.rglob("*"):
        if file.suffix in _SUFFIXES and file.is_file() and not file.name.startswith("."):
            target = folder / source.name / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)

"""A study in a summary, as the source or the target of a change."""

from dataclasses import dataclass

from cluster.summary.store import Summary
from trainer.data.store import Store

# Where a summary keeps what belongs to a study, in the order in which it is deleted. A reader who finds a spec without
# trials is shown an empty study; trials without the specs that came after them would be judged by the wrong one.
FOLDERS = ("trials", "evaluations", "probes", "fits", "attempts", "checkpoints", "notes", "studies")


@dataclass(frozen=True)
class StudyPlace:
    """The study of this name in this summary, whether it is there or not."""

    summary: Summary
    study: str

    @property
    def store(self) -> Store:
        """The store of the whole summary."""
        return self.summary.store

    def folder(self, name: str) -> str:
        """The prefix of the study's objects in one of FOLDERS."""
        return f"{name}/study={self.study}/"

    def names(self, folder: str) -> list[str]:
        """The study's objects in one of FOLDERS, without the prefix."""
        prefix = self.folder(folder)
        return [name.removeprefix(prefix) for name in self.store.names(prefix)]

    def is_there(self) -> bool:
        """Whether any object belongs to the study."""
        return any(self.names(folder) for folder in FOLDERS)

    def __str__(self) -> str:
        """The study as messages name it."""
        return f"study {self.study!r} in {self.summary.uri}"

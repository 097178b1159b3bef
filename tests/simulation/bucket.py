"""A bucket in memory: what is written is there for all at once; a call may be slow, refused, or lose its answer."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.errors import NotReadyError


@dataclass
class Objects:
    """What the bucket holds, and how its calls go: `call` waits, and says whether the answer arrives."""

    call: Callable[[str], bool]
    content: dict[str, bytes] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Bucket:
    """As `trainer.data.store.Store`, which tries a call again whose answer is lost, as `cluster.stores` does."""

    objects: Objects
    uri: str
    prefix: str = ""

    def read(self, name: str) -> bytes:
        """The content of an object."""
        self._call("read")
        try:
            return self.objects.content[self.prefix + name]
        except KeyError:
            raise FileNotFoundError(name) from None

    def fetch(self, name: str, target: Path) -> None:
        """Copy an object to a file."""
        target.write_bytes(self.read(name))

    def write(self, name: str, content: bytes) -> None:
        """Publish an object."""
        self._call("write", lambda: self._put(name, content))

    def create(self, name: str, content: bytes) -> bytes | None:
        """Publish an object if there is none of this name; a second try after a lost answer finds its own."""
        there: list[bytes | None] = []

        def put() -> None:
            there.append(self.objects.content.get(self.prefix + name))
            if there[-1] is None:
                self._put(name, content)

        self._call("create", put)
        return there[-1]

    def names(self, prefix: str = "") -> list[str]:
        """The names that begin with `prefix`, sorted."""
        self._call("names")
        whole = self.prefix + prefix
        return sorted(name.removeprefix(self.prefix) for name in self.objects.content if name.startswith(whole))

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """The bytes of each object."""
        return {name: len(self.objects.content[self.prefix + name]) for name in self.names(prefix)}

    def versions(self, prefix: str = "") -> dict[str, str]:
        """A mark of each object."""
        return {name: str(hash(self.objects.content[self.prefix + name])) for name in self.names(prefix)}

    def delete(self, name: str) -> None:
        """Delete an object."""
        self._call("delete", lambda: self.objects.content.pop(self.prefix + name, None))

    def sweep(self) -> None:
        """Nothing unfinished is ever there."""

    def within(self, name: str) -> "Bucket":
        """The store at `name`."""
        return Bucket(self.objects, f"{self.uri}/{name}", f"{self.prefix}{name}/")

    def _put(self, name: str, content: bytes) -> None:
        if self.objects.content.get(self.prefix + name, content) != content:
            self.objects.changed.append(self.prefix + name)
        self.objects.content[self.prefix + name] = content

    def _call(self, action: str, effect: Callable[[], Any] = lambda: None) -> None:
        for _ in range(3):
            arrives = self.objects.call(action)
            effect()
            if arrives:
                return
        raise NotReadyError(f"{self.uri} does not answer")

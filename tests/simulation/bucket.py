"""A bucket in memory: a call may be slow or refused, its answer lost, its effect late, a listing not of one moment."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

# Of 1,000 names in S3; studies here have a few dozen.
NAMES_OF_A_PAGE = 3


class Line(Protocol):
    """The line to the bucket: it takes its time, and decides what becomes of a call."""

    def call(self, action: str, name: str, effect: Callable[[], Any]) -> Any:
        """What `effect` returns, once it has come about."""

    def next_page(self) -> bool:
        """Whether a listing comes in pages now; if so, the time until the next one has passed."""


@dataclass
class Objects:
    """What the bucket holds; `changed` are the names of objects whose content was replaced by another."""

    line: Line
    content: dict[str, bytes] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)

    def put(self, name: str, content: bytes) -> None:
        """Publish an object."""
        if self.content.get(name, content) != content:
            self.changed.append(name)
        self.content[name] = content

    def create(self, name: str, content: bytes) -> bytes | None:
        """Publish an object unless there is one of this name, which is returned."""
        there = self.content.get(name)
        if there is None:
            self.content[name] = content
        return there

    def after(self, last: str, prefix: str) -> list[str]:
        """The names beyond `last` that begin with `prefix`, sorted."""
        return sorted(name for name in self.content if name > last and name.startswith(prefix))


@dataclass(frozen=True)
class Bucket:
    """As `trainer.data.store.Store`."""

    objects: Objects
    uri: str
    prefix: str = ""

    def read(self, name: str) -> bytes:
        """The content of an object."""
        key = self.prefix + name
        content: bytes | None = self.objects.line.call("read", key, lambda: self.objects.content.get(key))
        if content is None:
            raise FileNotFoundError(name)
        return content

    def fetch(self, name: str, target: Path) -> None:
        """Copy an object to a file."""
        target.write_bytes(self.read(name))

    def write(self, name: str, content: bytes) -> None:
        """Publish an object."""
        key = self.prefix + name
        self.objects.line.call("write", key, lambda: self.objects.put(key, content))

    def create(self, name: str, content: bytes) -> bytes | None:
        """Publish an object if there is none of this name; a second try after a lost answer finds its own."""
        key = self.prefix + name
        there: bytes | None = self.objects.line.call("create", key, lambda: self.objects.create(key, content))
        return there

    def names(self, prefix: str = "") -> list[str]:
        """The names that begin with `prefix`, sorted."""
        whole, last, found = self.prefix + prefix, "", []
        while page := self.objects.line.call("names", whole, partial(self.objects.after, last, whole)):
            paged = len(page) > NAMES_OF_A_PAGE and self.objects.line.next_page()
            found += page[:NAMES_OF_A_PAGE] if paged else page
            last = found[-1]
            if not paged:
                break
        return [name.removeprefix(self.prefix) for name in found]

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """The bytes of each object."""
        return {name: len(self.objects.content.get(self.prefix + name, b"")) for name in self.names(prefix)}

    def versions(self, prefix: str = "") -> dict[str, str]:
        """A mark of each object."""
        return {name: str(hash(self.objects.content.get(self.prefix + name))) for name in self.names(prefix)}

    def delete(self, name: str) -> None:
        """Delete an object."""
        key = self.prefix + name
        self.objects.line.call("delete", key, lambda: self.objects.content.pop(key, None))

    def sweep(self) -> None:
        """Nothing unfinished is ever there."""

    def within(self, name: str) -> "Bucket":
        """The store at `name`."""
        return Bucket(self.objects, f"{self.uri}/{name}", f"{self.prefix}{name}/")

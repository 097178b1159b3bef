"""Faults planted in the product, each with the kind of inputs that finds it."""

from collections.abc import Callable, Mapping

import pytest

from cluster.prepare import fields
from cluster.summary import encoding, portable
from trainer.checkpoint import Checkpoints
from trainer.data import manifest

Plant = Callable[[pytest.MonkeyPatch], None]


def _is_digits(field: str) -> bool:
    return field.lstrip("+-").isdecimal()


# What the product would do if it guessed, or trusted what it reads.
PLANTED: Mapping[str, tuple[str, Plant]] = {
    "a label 01 is 1": ("csv", lambda patch: patch.setattr(fields, "_is_integer", _is_digits)),
    "a seal is not compared": ("tables", lambda patch: patch.setattr(encoding, "is_sealed", lambda content: True)),
    "a manifest is trusted": ("manifests", lambda patch: patch.setattr(manifest, "_check_hashes", lambda *_: None)),
    "a checkpoint's facts are trusted": (
        "checkpoints",
        lambda patch: patch.setattr(Checkpoints, "_archive_hash", lambda self, found, name: found.text("archive")),
    ),
    "an interval is an object": ("sql", lambda patch: patch.setattr(portable, "_is_held", lambda kind: True)),
}

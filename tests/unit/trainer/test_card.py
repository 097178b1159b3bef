"""What rows say of a card, from what the system says of it."""

from pathlib import Path

import pytest

from trainer.errors import NotReadyError
from trainer.machine.card import CONTEXT_BYTES, Card, card_in_use, cudnn_in, driver_in, limit_on_part, part_of_card

OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  560.35.05  Release Build  (builder)  Tue Sep\nGCC"
CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\nGCC version:  gcc"
MAPS = """7f0e-7f1f r-xp 0 00:2a 11   /venv/nvidia/cudnn/lib/libcudnn_graph.so.9
7f2e-7f3f r-xp 0 00:2a 12                     /venv/nvidia/cudnn/lib/libcudnn.so.9
"""


@pytest.mark.parametrize(("text", "version"), [(OPEN, "560.35.05"), (CLOSED, "550.54.15"), ("", None)])
def test_the_drivers_version_is_its_kernel_modules(text: str, version: str | None) -> None:
    assert driver_in(text) == version


def test_cudnn_is_the_one_that_is_mapped() -> None:
    assert cudnn_in(MAPS) == "/venv/nvidia/cudnn/lib/libcudnn.so.9"
    assert cudnn_in("7f0e-7f1f r-xp 0 00:2a 11   /usr/lib/libc.so.6\n") is None


def test_a_part_of_a_card_leaves_room_for_cudas_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert part_of_card(0.25) is None
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 24564\necho 23034\n")
    program.chmod(0o755)
    assert part_of_card(0.25) == 23034 * 2**18 - CONTEXT_BYTES
    program.write_text("#!/bin/sh\necho No devices were found\n")
    assert part_of_card(0.25) is None


def test_no_more_of_a_card_is_taken_than_ones_part(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 16384\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    part = 2**32 - CONTEXT_BYTES
    assert limit_on_part(0.25, None) == part
    assert limit_on_part(0.25, 2**31) == 2**31
    with pytest.raises(NotReadyError, match=r"memory_gib 4 is more than 0\.25 of this machine's card has \(3\.4 GiB"):
        limit_on_part(0.25, 2**32)
    # Without its program nothing is known of the card, and what is asked for is tried.
    program.unlink()
    assert limit_on_part(0.25, 2**32) == 2**32


@pytest.mark.slow
def test_without_a_card_there_is_nothing_to_say() -> None:
    assert card_in_use() == Card()

"""The checks of a card, with what stands in for one: programs and files that say what a card's would."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from cluster.doctor import card
from cluster.doctor.finding import NotHereError, WrongError
from cluster.doctor.on_card import OnCard, computed

SITE: Any = None
TWO = "GPU 0: NVIDIA L4 (UUID: GPU-1)\nGPU 1: NVIDIA L4 (UUID: GPU-2)\n"


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Programs that print what they are told to."""
    kept, folder = card._on_card, tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def write(name: str, text: str, code: int = 0) -> None:
        (tmp_path / f"{name}.txt").write_text(text)
        (folder / name).write_text(f"#!/bin/sh\n/bin/cat {tmp_path}/{name}.txt\nexit {code}\n")
        (folder / name).chmod(0o755)

    yield write
    kept.cache_clear()


def test_without_a_card_nothing_is_passed() -> None:
    for look in (card.driver, card.devices, card.libraries, card.arithmetic, card.kernels):
        with pytest.raises(NotHereError, match="no GPU here"):
            look(SITE)


@pytest.mark.parametrize(
    ("version", "log", "said"),
    [
        ("560.35.05", "all is well\n", None),
        ("550.54.15", "", "want 560"),
        ("560.35.05", "NVRM: Xid 79: fell off", "Xid 79"),
    ],
)
def test_an_old_driver_or_a_broken_card_is_refused(
    programs: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, log: str, said: str | None
) -> None:
    (tmp_path / "version").write_text(f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {version}  Tue\n")
    monkeypatch.setattr(card, "DRIVER", tmp_path / "version")
    programs("dmesg", log)
    if said is None:
        assert card.driver(SITE) == f"driver {version}, no Xid"
        return
    with pytest.raises(WrongError, match=said):
        card.driver(SITE)


@pytest.mark.slow
def test_cards_that_tensorflow_does_not_see_are_named_with_the_reason(programs: Any) -> None:
    programs("nvidia-smi", TWO)
    assert card.listed_cards() == ["NVIDIA L4", "NVIDIA L4"]
    with pytest.raises(WrongError, match=r"nvidia-smi lists 2, TensorFlow sees 0: .*cuda"):
        card.devices(SITE)


def test_what_was_computed_is_judged(programs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    good = OnCard(product=1024.1024, apart=1e-6, libraries=[f"{sys.prefix}/lib/libcudnn.so.9"])
    monkeypatch.setattr(card, "_on_card", lambda: good)
    assert card.arithmetic(SITE) == "1.0001 x 1,024 = 1024.1024"
    assert card.libraries(SITE) == "libcudnn.so.9"
    assert "at most 1.0e-06" in card.kernels(SITE)
    rounded = OnCard(product=1024.1123, apart=1e-6, libraries=[])
    monkeypatch.setattr(card, "_on_card", lambda: rounded)
    assert card.arithmetic(SITE) == "1.0001 x 1,024 = 1024.1123"
    bad = OnCard(product=1024.0, apart=float("nan"), libraries=["/usr/local/cuda/lib64/libcudnn.so.9"])
    monkeypatch.setattr(card, "_on_card", lambda: bad)
    for look, said in ((card.arithmetic, "TF32"), (card.libraries, "unset LD_LIBRARY_PATH"), (card.kernels, "nan")):
        with pytest.raises(WrongError, match=said):
            look(SITE)


@pytest.mark.tf
def test_what_is_computed_is_the_same_on_a_processor() -> None:
    found = computed("/CPU:0")
    # Processors add in orders of their own; TF32 would make it 1024.
    assert found.product == pytest.approx(1024.1024, abs=card.ROUNDING)
    assert found.apart == 0
    assert found.libraries == []
    assert json.dumps(found.__dict__)

"""The card that this process computes on, its driver, and the cuDNN that it has loaded: what rows say of a machine."""

import ctypes
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from trainer.errors import NotReadyError

# What CUDA takes of a card for each process that uses it, beside what TensorFlow allocates.
CONTEXT_BYTES = 600 * 2**20
SECONDS = 30.0
DRIVER = Path("/proc/driver/nvidia/version")
MAPS = Path("/proc/self/maps")


@dataclass(frozen=True, kw_only=True)
class Card:
    """The card's name (several joined by '+'), and the versions of driver and cuDNN; None where there is none."""

    gpu_name: str | None = None
    driver: str | None = None
    cudnn: str | None = None


def card_in_use() -> Card:
    """The card of this process, whose TensorFlow has computed on it; only then is cuDNN loaded."""
    import tensorflow as tf

    cards = tf.config.get_visible_devices("GPU")
    if not cards:
        return Card()
    names = [tf.config.experimental.get_device_details(card).get("device_name", "unknown") for card in cards]
    return Card(
        gpu_name="+".join(sorted(names)),
        driver=driver_in(DRIVER.read_text(errors="replace")) if DRIVER.exists() else None,
        cudnn=_cudnn_version(cudnn_in(MAPS.read_text(errors="replace"))),
    )


def part_of_card(share: float) -> int | None:
    """The bytes that a process may take of its `share` of this machine's smallest card; None if that is unknown.

    Without a limit, the first of the processes that share a card may take what the others come to need.
    """
    query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=SECONDS, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    mib = [int(line) for line in said.split() if line.isdigit()]
    return int(share * min(mib) * 2**20) - CONTEXT_BYTES if mib else None


def limit_on_part(share: float, asked_bytes: int | None) -> int | None:
    """The bytes that a process takes of its `share` of a card: what is `asked` for (`memory_gib`), else the whole part.

    Raises:
        NotReadyError: more is asked for than the part has, so that its neighbours on the card would run out of memory.
    """
    part = part_of_card(share)
    if asked_bytes is None or part is None or asked_bytes <= part:
        return part if asked_bytes is None else asked_bytes
    raise NotReadyError(
        f"resources.memory_gib {asked_bytes / 2**30:g} is more than {share:g} of this machine's card has "
        f"({part / 2**30:.1f} GiB, without what CUDA takes itself): give less, a larger gpus_per_worker, or leave "
        "memory_gib out"
    )


def driver_in(text: str) -> str | None:
    """The version in what NVIDIA's kernel module says of itself; None if it says none."""
    found = re.search(r"Kernel Module.*?\s(\d+\.\d+(?:\.\d+)?)\s", text)
    return found[1] if found else None


def cudnn_in(maps: str) -> str | None:
    """The file of cuDNN's main library among the mapped ones; None if it is not loaded."""
    found = re.search(r"(/\S*/libcudnn\.so\.\d\S*)", maps)
    return found[1] if found else None


def _cudnn_version(file: str | None) -> str | None:
    """As its own function returns it, 91002 for 9.10.2 (cudnn_version.h)."""
    if file is None:
        return None
    number = ctypes.CDLL(file).cudnnGetVersion()
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"

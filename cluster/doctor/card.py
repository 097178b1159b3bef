"""The checks of a card: its driver, what TensorFlow sees of it, the libraries it loads, and its arithmetic."""

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

from cluster.doctor.finding import NO_GPU, NotHereError, Site, WrongError
from cluster.doctor.on_card import ROWS, OnCard
from trainer.machine.card import DRIVER, driver_in

# CUDA 12.6, whose libraries TensorFlow's wheels bring
# (https://docs.nvidia.com/cuda/cuda-toolkit-release-notes, table 3).
OLDEST_DRIVER = 560
SECONDS = 60.0
SECONDS_TO_COMPUTE = 900.0
# Two ways of summing 64 products in float32, 20 tokens one after another.
APART_AT_MOST = 1e-4
# A sum of 1,024 float32 numbers of about 1 is rounded by up to 0.06, on one processor by 0.01; with TF32 it is 1024.
ROUNDING = 0.06
_COUNT = "import tensorflow as tf; print(len(tf.config.list_physical_devices('GPU')))"


def driver(site: Site) -> str:
    """The driver is new enough, and its log has no error of a card."""
    if not DRIVER.exists():
        raise NotHereError(NO_GPU)
    version = driver_in(DRIVER.read_text(errors="replace"))
    if version is None or int(version.split(".")[0]) < OLDEST_DRIVER:
        raise WrongError(f"driver {version}: TensorFlow's libraries want {OLDEST_DRIVER} or newer; take a newer image")
    log = _said(["dmesg"])
    if errors := re.findall(r"NVRM: Xid.*", log):
        raise WrongError(f"driver {version}: {errors[-1][:200]}; end this machine, another will have another card")
    return f"driver {version}, no Xid" if log else f"driver {version}; the kernel's log may not be read"


def devices(site: Site) -> str:
    """TensorFlow sees as many cards as `nvidia-smi` lists."""
    cards = listed_cards()
    done = subprocess.run(
        [sys.executable, "-c", _COUNT], capture_output=True, text=True, timeout=SECONDS_TO_COMPUTE, check=False
    )
    if done.stdout.strip() != str(len(cards)):
        why = [line for line in done.stderr.splitlines() if "dlopen" in line or "cuda" in line.lower()]
        seen, reason = done.stdout.strip() or "none", (why or ["it says nothing"])[-1][:200]
        raise WrongError(f"nvidia-smi lists {len(cards)}, TensorFlow sees {seen}: {reason}")
    return f"{len(cards)}: {', '.join(sorted(set(cards)))}"


def libraries(site: Site) -> str:
    """What is loaded for a computation is the environment's own, not the image's."""
    found = _on_card().libraries
    if strange := [file for file in found if not file.startswith(sys.prefix)]:
        raise WrongError(f"{strange[0]} is not of this environment: unset LD_LIBRARY_PATH where Ray is started")
    return ", ".join(Path(file).name for file in found)


def arithmetic(site: Site) -> str:
    """float32 is float32: a product that TF32 would round is exact."""
    product = _on_card().product
    if abs(product - 1024.1024) > ROUNDING:
        raise WrongError(f"1.0001 x 1,024 is {product:.4f}: TF32 is on although it was turned off, do not train here")
    return f"1.0001 x 1,024 = {product:.4f}"


def kernels(site: Site) -> str:
    """An LSTM's forward and backward pass on the card is the processor's, for few rows and many."""
    apart = _on_card().apart
    if not apart <= APART_AT_MOST:
        raise WrongError(f"an LSTM on the card is {apart:.1e} from the processor's: do not train here")
    return f"an LSTM of {', '.join(map(str, ROWS))} rows is at most {apart:.1e} from the processor's"


def listed_cards() -> list[str]:
    """The names of the cards that `nvidia-smi` lists.

    Raises:
        NotHereError: there is none.
    """
    said = _said(["nvidia-smi", "-L"])
    cards: list[str] = re.findall(r"^GPU \d+: (.*?) \(UUID", said, re.M)
    if not cards:
        raise NotHereError(f"{NO_GPU}: {said.strip()[:200]}" if said else NO_GPU)
    return cards


@cache
def _on_card() -> OnCard:
    listed_cards()
    command = [sys.executable, "-m", "cluster.doctor.on_card", "/GPU:0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_TO_COMPUTE, check=False)
    if done.returncode:
        raise WrongError(f"computing on the card failed: {(done.stderr.strip().splitlines() or ['?'])[-1][:300]}")
    return OnCard(**json.loads(done.stdout))


def _said(command: list[str]) -> str:
    """What a program prints; nothing if there is no such program."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False).stdout
    except OSError:
        return ""

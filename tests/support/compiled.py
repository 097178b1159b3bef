"""What XLA compiled, kept in a folder for the whole test run: each process after the first one loads it.

TensorFlow's own cache (`tf_xla_persistent_cache_directory` in tensorflow/compiler/jit/flags.cc), keyed by the compiled
program itself.
"""

import os
import shutil
import tempfile

FLAGS = "TF_XLA_FLAGS"
OPTION = "--tf_xla_persistent_cache_directory="


def keep() -> str | None:
    """Make the folder, which processes started from now on use; None where the environment names one already."""
    if OPTION in os.environ.get(FLAGS, ""):
        return None
    folder = tempfile.mkdtemp(prefix="batchscope-compiled-")
    os.environ[FLAGS] = f"{os.environ.get(FLAGS, '')} {OPTION}{folder}".strip()
    return folder


def drop(folder: str | None) -> None:
    """Remove the folder that `keep` made."""
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
        del os.environ[FLAGS]

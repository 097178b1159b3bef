"""TensorFlow's import without the lines that its C++ part writes on a person's terminal."""

import os
import sys
import tempfile


def import_tensorflow() -> None:
    """Import TensorFlow in this process; what it says on stderr meanwhile is shown only if the import fails.

    It writes some lines before any setting of its own can silence them (`TF_CPP_MIN_LOG_LEVEL` comes too late).
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
        except BaseException:
            said.seek(0)
            os.write(terminal, said.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)

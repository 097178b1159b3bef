"""TensorFlow's import without the lines that its C++ part writes on a person's terminal."""

import os
import sys
import tempfile


def import_tensorflow() -> None:
    """Import TensorFlow in this process; its output on stderr is shown only if the import fails.

    TensorFlow writes some lines before any of its settings can silence them (`TF_CPP_MIN_LOG_LEVEL` comes too late).
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as output:
        os.dup2(output.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
        except BaseException:
            output.seek(0)
            os.write(terminal, output.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)

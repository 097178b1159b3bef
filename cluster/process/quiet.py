"""TensorFlow's import without the lines that its C++ part writes on a person's terminal."""

import contextlib
import os
import sys
import tempfile


def import_tensorflow() -> None:
    """Import TensorFlow in this process, which takes no GPU; its output on stderr is shown only if the import fails.

    The driver only builds models; on a card, TensorFlow would keep all its memory from the workers.
    TensorFlow writes some lines before any of its settings can silence them (`TF_CPP_MIN_LOG_LEVEL` comes too late).
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as output:
        os.dup2(output.fileno(), 2)
        try:
            import tensorflow as tf

            with contextlib.suppress(RuntimeError):
                # Refused where a program has used a card already, which is its own then.
                tf.config.set_visible_devices([], "GPU")
        except BaseException:
            output.seek(0)
            os.write(terminal, output.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)

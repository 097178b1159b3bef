"""The cause of an exception in one line, out of messages as TensorFlow and Keras make them."""

import pytest

from cluster.lanes.failure import failure_of
from trainer import cause as subject
from trainer.cause import MOST_CHARACTERS, cause

pytestmark = pytest.mark.tf
LIBRARY = "/somewhere/site-packages/keras/src/layers/layer.py"
GRAPH = (
    "Graph execution error:\n\nDetected at node sequential/mine/GatherV2 defined at (most recent call last):\n"
    f'  File "{subject.__file__}", line 3, in train\n\n  File "{LIBRARY}", line 1002, in __call__\n\n'
    f'  File "/home/me/my_models.py", line 39, in call\n\n  File "{LIBRARY}", line 7, in gather\n\n'
)
NODE = "\n\t [[{{node sequential/mine/GatherV2}}]] [Op:__inference_step_134]"


def test_a_graph_execution_error_says_what_and_where() -> None:
    import tensorflow as tf

    problem = tf.errors.InvalidArgumentError(None, None, f"{GRAPH}indices[0] = 9 is not in [0, 4){NODE}")
    said = "InvalidArgumentError: indices[0] = 9 is not in [0, 4) (my_models.py:39)"
    assert cause(problem) == said
    failure = failure_of(problem, workers=1)
    assert failure is not None
    assert failure.error == said


def test_what_python_raised_inside_of_a_graph_is_named_itself() -> None:
    import tensorflow as tf

    inner = (
        "KeyError: 'key'\nTraceback (most recent call last):\n\n"
        f'  File "{LIBRARY}", line 269, in __call__\n    ret = func(*args)\n          ^^^^^^^^^^^\n\n'
        '  File "/home/me/my_models.py", line 16, in f\n    return {}["key"]\n           ~~^^^^^^^\n\n'
        "KeyError: 'key'\n\n"
    )
    assert cause(tf.errors.UnknownError(None, None, GRAPH + inner + NODE)) == "KeyError: 'key' (my_models.py:16)"


def test_what_a_layer_raised_while_it_was_traced() -> None:

    text = (
        'in user code:\n\n    File "/home/me/fit.py", line 9, in step  *\n        return m(x, training=True)\n'
        f'    File "{LIBRARY}", line 122, in error_handler  **\n        raise e.with_traceback(tb) from None\n'
        '    File "/home/me/my_models.py", line 5, in call\n        raise ValueError("my layer cannot")\n\n'
        "    ValueError: Exception encountered when calling Mine.call().\n    \n"
        "    \x1b[1mmy layer cannot: 5 > 4\x1b[0m\n    \n    Arguments received by Mine.call():\n"
        "      \u2022 x=tf.Tensor(shape=(5, 4), dtype=float32)\n"
    )
    assert cause(ValueError(text)) == "ValueError: my layer cannot: 5 > 4 (my_models.py:5)"


def test_a_plain_exception_has_its_first_words_and_the_innermost_line_of_a_file_of_ones_own() -> None:
    import tensorflow as tf

    def inner() -> None:
        raise ValueError("\n\nfirst \x1b[31mred\x07\nsecond")

    try:
        inner()
    except ValueError as raised:
        problem = raised
    line = inner.__code__.co_firstlineno + 1
    assert cause(problem) == f"ValueError: first red (test_cause.py:{line})"
    assert cause(KeyError()) == "KeyError"
    assert cause(MemoryError("")) == "MemoryError"
    long = tf.errors.InvalidArgumentError(None, None, GRAPH + "x" * 2000)
    assert len(cause(long)) == MOST_CHARACTERS
    assert cause(long).endswith("x (my_models.py:39)")

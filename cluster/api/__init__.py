"""batchscope from Python: does the batch size change the quality of an LSTM, or only memory and speed?

>>> import batchscope
>>> batchscope.prepare("articles.parquet", "prepared", text="body", label="topic")
>>> study = batchscope.Study.load("study.yaml")
>>> study.plan().expected.seconds
>>> study.run(on_event=print)
>>> batchscope.Summary("summary").verdict("my-study").sentences
>>> model, tokenizer, labels = batchscope.best_model("my-study")

It does what the command `batchscope` does, but prints nothing. This package is installed as `batchscope`; TensorFlow
and Ray are imported only when something needs them.
"""

import cluster

if getattr(cluster, "DISTRIBUTION", None) != "batchscope":
    raise ImportError(
        f"{getattr(cluster, '__file__', None) or list(cluster.__path__)} takes the place of batchscope's own package "
        f"`cluster`, which {__file__} needs: rename it, start Python in another folder, or install batchscope into an "
        "environment of its own"
    )

from cluster.process.ray_environment import set_environment
from trainer.errors import DataError, InputError, NotReadyError, UserError

from .fit_log import log_fit
from .loading import TrainedModel, best_model
from .plot import Plot
from .preparing import prepare
from .study import Study
from .summary import Summary
from .table import Table
from .verdict import Verdict

# A program that imports Ray after this gets one that batchscope can use.
set_environment()

__all__ = [
    "DataError",
    "InputError",
    "NotReadyError",
    "Plot",
    "Study",
    "Summary",
    "Table",
    "TrainedModel",
    "UserError",
    "Verdict",
    "best_model",
    "log_fit",
    "prepare",
]

"""How the workers of a lane find each other: by `TF_CONFIG`, from which TensorFlow's collective runtime starts."""

import json
import os
from collections.abc import Sequence


def introduce(rank: int, addresses: Sequence[str]) -> None:
    """Tell this process, before its collective is made, that it is worker `rank` of those at `addresses`."""
    # Keras 3 does not use TF_CONFIG, and a lone worker needs none: it would only start a server for nobody.
    if len(addresses) > 1:
        task = {"type": "worker", "index": rank}
        os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": list(addresses)}, "task": task})

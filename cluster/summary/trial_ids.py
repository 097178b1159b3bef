"""Which trial a person means: by the beginning of its id, or as the best of a study. Pure."""

from collections.abc import Sequence
from difflib import get_close_matches

import pyarrow as pa
import pyarrow.compute as pc

from cluster.study.protocol import CONFIRM
from cluster.summary.attempts import finished
from cluster.summary.tables import COMPLETED, STOPPED
from trainer.errors import InputError

BEST = "best"


def named(prefix: str, known: Sequence[str], *, lister: str, study: str) -> str:
    """The one of the `known` ids that begins with `prefix`; `lister` is the command that lists them.

    Raises:
        InputError: there is none, or more than one.
    """
    matching = [trial_id for trial_id in known if trial_id.startswith(prefix)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        first = ", ".join(matching[:3]) + (", ..." if len(matching) > 3 else "")
        raise InputError(
            f"--trial {prefix!r} matches {len(matching)} trials of study {study!r} ({first}): give more of its digits"
        )
    nearest = ", ".join(get_close_matches(prefix, known, n=3, cutoff=0.0))
    raise InputError(
        f"study {study!r} has no trial whose id begins with {prefix!r} (nearest: {nearest}): {lister} lists those that "
        "have ended"
    )


def best(trials: pa.Table, *, study: str) -> str:
    """The trial with the lowest validation loss of those that kept the weights of that moment.

    Of a protocol it is a confirmation, if there is one: the lowest of a screen's many rates is as much luck as quality.

    Raises:
        InputError: none has such weights yet.
    """
    rows = finished(trials)
    kept = pc.and_(pc.is_in(rows["state"], pa.array([COMPLETED, STOPPED])), pc.is_finite(rows["best_validation_loss"]))
    weights = rows.filter(kept)
    confirmed = weights.filter(pc.equal(weights["phase"], CONFIRM))
    order = (confirmed if confirmed.num_rows else weights).sort_by(
        [("best_validation_loss", "ascending"), ("trial_id", "ascending")]
    )
    if not order.num_rows:
        raise InputError(f"no trial of study {study!r} has kept weights yet: wait until one has completed")
    trial_id: str = order["trial_id"][0].as_py()
    return trial_id

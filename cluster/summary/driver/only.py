"""One driver for each study, wherever its summary is: by a lock in a folder of this machine, or a lease in a bucket."""

import contextlib
from collections.abc import Callable, Iterator

from cluster.summary.driver import lease
from cluster.summary.driver.hold import Hold, ensure
from cluster.summary.driver.lock import locked
from cluster.summary.store import Summary
from trainer.errors import NotReadyError


@contextlib.contextmanager
def only_driver(summary: Summary, study: str, say: Callable[[str], None]) -> Iterator[Hold]:
    """Hold the study during the block; `say` is called with a text if there is a wait.

    Raises:
        InputError: another process holds it.
        NotReadyError: the hold was lost inside, so another process may have begun to run the study.
    """
    in_bucket = summary.uri.startswith("s3://")
    with lease.held(summary.store, study, say) if in_bucket else locked(summary.uri, study) as hold:
        try:
            yield hold
        except NotReadyError:
            # A store that does not answer fails the block and the renewals; the hold's error names what follows.
            ensure(hold)
            raise
        ensure(hold)

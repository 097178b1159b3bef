"""One driver a study, wherever its summary is: the lock of a folder of this machine, or the lease in a bucket."""

import contextlib
from collections.abc import Callable, Iterator

from cluster.summary.driver import lease
from cluster.summary.driver.hold import Hold, ensure
from cluster.summary.driver.lock import locked
from cluster.summary.store import Summary


@contextlib.contextmanager
def only_driver(summary: Summary, study: str, say: Callable[[str], None]) -> Iterator[Hold]:
    """Hold the study inside; `say` hears what is waited for.

    Raises:
        InputError: another process holds it.
        NotReadyError: it was lost inside: another process may have begun to run the study.
    """
    in_bucket = summary.uri.startswith("s3://")
    with lease.held(summary.store, study, say) if in_bucket else locked(summary.uri, study) as hold:
        yield hold
        ensure(hold)

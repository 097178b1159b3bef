"""A word for whoever waits: a call to a store that has had no answer for a while is named, with how long it may take.

It is a warning of Python's, so that commands, notebooks and workers each show it in their own way.
"""

import contextlib
import threading
import time
import warnings

SECONDS_BEFORE_A_WORD = 5.0
# An outage holds up many calls at once, and one line is enough for all of them.
SECONDS_BETWEEN_WORDS = 60.0

_lock = threading.Lock()
_said_at = -float("inf")


class StoreWarning(UserWarning):
    """A store keeps somebody waiting."""


class Wait:
    """The time since a call to the store at `place` began; it ends `seconds` after its begin."""

    def __init__(self, place: str, action: str, seconds: float) -> None:
        self._place, self._action, self._seconds = place, action, seconds
        self._word_at = time.monotonic() + SECONDS_BEFORE_A_WORD
        self._said = False

    def seconds_to_word(self) -> float:
        """How long it is until something is to be said; for ever if it was."""
        return float("inf") if self._said else self._word_at - time.monotonic()

    def say(self) -> None:
        """Warn, unless another call has just done so."""
        global _said_at
        self._said = True
        with _lock:
            if time.monotonic() - _said_at < SECONDS_BETWEEN_WORDS:
                return
            _said_at = time.monotonic()
        text = (
            f"{self._place} has not answered {self._action} for {SECONDS_BEFORE_A_WORD:g} s: "
            f"trying on, for {self._seconds:g} s at most"
        )
        # Where somebody has made warnings into errors, a word must not end the call that it is about.
        with contextlib.suppress(StoreWarning):
            warnings.warn(text, StoreWarning, stacklevel=2)

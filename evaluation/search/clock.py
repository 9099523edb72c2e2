"""How long a search may go on."""

from __future__ import annotations

import time


class Clock:
    """Says between pools whether there is time for another one.

    The first pool is always searched, so that the same command given again and again comes to an
    end; a further one only where the longest so far would still be in time.

    Args:
        timeout: seconds from now on; None for no end.

    Raises:
        ValueError: the timeout is not above 0.
    """

    def __init__(self, timeout: float | None) -> None:
        if timeout is not None and timeout <= 0:
            raise ValueError(f"expected a timeout above 0 seconds, got {timeout}; give 3600, say")
        self.timeout = timeout
        self._began = self._last = time.monotonic()
        self._longest = 0.0

    def begin(self) -> None:
        """Note that the first pool begins."""
        self._last = time.monotonic()

    def another(self) -> bool:
        """Note that a pool has ended; return whether there is time for another one."""
        now = time.monotonic()
        self._longest, self._last = max(self._longest, now - self._last), now
        return self.timeout is None or now + self._longest - self._began <= self.timeout

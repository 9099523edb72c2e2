"""How the C library keeps the memory that networks use on a CPU."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT = 2**30
_MAPPED = 2**28


def keep_freed_memory() -> None:
    """Let a GNU C library keep up to 1 GB of freed memory, and take blocks up to 256 MB from it.

    By default it gives the activations of a network back to the system after every pass and fetches
    them anew for the next, page by page, which can take as long as the network. Other C libraries
    are left as they are. See mallopt(3).
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is not None and hasattr(library, "mallopt"):
        library.mallopt(_TRIM_THRESHOLD, _KEPT)
        library.mallopt(_MMAP_THRESHOLD, _MAPPED)

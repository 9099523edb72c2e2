"""Sha256 of files, a part in memory at a time."""

from __future__ import annotations

import hashlib
from pathlib import Path


def digest_of(content: Path | bytes) -> bytes:
    """Sha256 of a file, or of bytes.

    >>> digest_of(b"abc").hex()[:8]
    'ba7816bf'
    """
    if isinstance(content, bytes):
        return hashlib.sha256(content).digest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()

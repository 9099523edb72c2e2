"""A headless Chromium, driven through a pipe: pages are opened, keys pressed, downloads kept."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FOUND = next((path for name in NAMES if (path := shutil.which(name))), None)
needs_chromium = pytest.mark.skipif(FOUND is None, reason="no Chromium is installed")
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--remote-debugging-pipe", "--window-size=1200,900",
)  # fmt: skip
_PLUMBING = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); "
    "os.execv(sys.argv[3], sys.argv[3:])"
)
"""The browser reads what it is asked from file 3 and answers into file 4."""
_PATIENCE = 60


class Page:
    """One page of a browser, by the DevTools protocol."""

    def __init__(self, to: int, back: int, downloads: Path) -> None:
        self._to, self._back, self._rest, self._count = to, back, b"", 0
        self.downloads = downloads
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self._ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        self._ask("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))

    _session: dict[str, str] = {}  # noqa: RUF012 - none before a page is attached

    def open(self, path: Path) -> None:
        """Open a file and wait until it is there."""
        self._ask("Page.navigate", url=path.resolve().as_uri())
        self.wait("document.readyState === 'complete' && location.protocol === 'file:'")

    def run(self, script: str) -> object:
        """Return the value of an expression in the page."""
        found = self._ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, condition: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + _PATIENCE
        while not self.run(condition):
            assert time.monotonic() < end, condition
            time.sleep(0.02)

    def press(self, key: str) -> None:
        """Press a key, as a user would."""
        code = 13 if key == "Enter" else ord(key.upper())
        text = "\r" if key == "Enter" else key
        told = {"key": key, "windowsVirtualKeyCode": code}
        self._ask("Input.dispatchKeyEvent", type="keyDown", text=text, **told)
        self._ask("Input.dispatchKeyEvent", type="keyUp", **told)

    def write(self, text: str) -> None:
        """Write into what has the focus."""
        self._ask("Input.insertText", text=text)

    def downloaded(self, name: str) -> str:
        """Wait for a download to be whole; return what it holds."""
        end = time.monotonic() + _PATIENCE
        while not (self.downloads / name).is_file() or list(self.downloads.glob("*.crdownload")):
            assert time.monotonic() < end, sorted(self.downloads.iterdir())
            time.sleep(0.02)
        return (self.downloads / name).read_text(encoding="utf-8")

    def _ask(self, method: str, **parameters: object) -> dict:
        self._count += 1
        asked = {"id": self._count, "method": method, "params": parameters, **self._session}
        os.write(self._to, json.dumps(asked).encode() + b"\0")
        while (answer := self._next()).get("id") != self._count:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self) -> dict:
        while b"\0" not in self._rest:
            read = os.read(self._back, 1 << 16)
            assert read, "the browser ended"
            self._rest += read
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)


@contextlib.contextmanager
def chromium(downloads: Path):
    """Yield an empty page of a browser that keeps nothing afterwards."""
    assert FOUND
    ours, theirs = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [sys.executable, "-c", _PLUMBING, str(ours[0]), str(theirs[1]), FOUND, *_FLAGS]
        command.append(f"--user-data-dir={profile}")
        process = subprocess.Popen(
            command, pass_fds=(ours[0], theirs[1]), stderr=subprocess.DEVNULL
        )
        os.close(ours[0])
        os.close(theirs[1])
        try:
            yield Page(ours[1], theirs[0], downloads)
        finally:
            process.terminate()
            process.wait(timeout=_PATIENCE)
            os.close(ours[1])
            os.close(theirs[0])

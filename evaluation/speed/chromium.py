"""A headless Chromium, driven over its DevTools protocol: to look at a page as a reader does.

It is told what to do through a pipe, so no port is opened and no package needed.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CODES = {"ArrowLeft": 37, "ArrowRight": 39, "Enter": 13}
"""Codes of keys that are no letters."""
PATIENCE = 60.0
"""Seconds to wait for anything: much longer than it takes, since machines are shared."""
_THERE = "document.readyState === 'complete' && location.protocol === 'file:'"
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--remote-debugging-pipe",
)  # fmt: skip
_PLUMBING = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); "
    "os.execv(sys.argv[3], sys.argv[3:])"
)
"""The browser reads what it is asked from file 3 and answers into file 4."""


def find_chromium() -> str | None:
    """Return the path of an installed Chromium; None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Tab:
    """One page of a browser.

    Args:
        to: descriptor of the pipe to the browser.
        back: of the one back.

    Attributes:
        events: what the browser told unasked, in order: requests, messages, errors.
    """

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back, self._rest, self._count = to, back, b"", 0
        self._session: dict[str, str] = {}
        self.events: list[dict] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: object) -> dict:
        """Send a command of the DevTools protocol; return its result.

        Raises:
            RuntimeError: the browser refuses it, or ended.
            TimeoutError: it does not answer.
        """
        self._count += 1
        number = self._count
        asked = {"id": number, "method": method, "params": parameters, **self._session}
        os.write(self._to, json.dumps(asked).encode() + b"\0")
        while (told := self._next()).get("id") != number:
            self.events.append(told)
        if "error" in told:
            raise RuntimeError(f"{method}: {told['error']['message']}")
        return told["result"]

    def _next(self) -> dict:
        """Return the next message."""
        while b"\0" not in self._rest:
            if not select.select([self._back], [], [], PATIENCE)[0]:
                raise TimeoutError(f"expected an answer within {PATIENCE:.0f} s")
            read = os.read(self._back, 1 << 16)
            if not read:
                raise RuntimeError("expected an answer, got the end of the browser")
            self._rest += read
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def open(self, path: Path, ready: str = _THERE) -> None:
        """Open a file and wait until an expression of it is true: by default, that it is there."""
        self.ask("Page.navigate", url=path.resolve().as_uri())
        self.wait(ready)

    def run(self, expression: str) -> object:
        """Return what an expression is in the page, as JSON.

        Raises:
            RuntimeError: it throws.
        """
        told = self.ask(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in told:
            raise RuntimeError(f"{expression}: {told['exceptionDetails']}")
        return told["result"].get("value")

    def wait(self, expression: str) -> None:
        """Wait until an expression is true in the page.

        Raises:
            TimeoutError: it never is.
        """
        end = time.monotonic() + PATIENCE
        while not self.run(f"Boolean({expression})"):
            if time.monotonic() > end:
                raise TimeoutError(f"expected within {PATIENCE:.0f} s: {expression}")
            time.sleep(0.02)

    def press(self, key: str, *, down: bool = True, up: bool = True) -> None:
        """Press a key and let it go, or one of the two."""
        text = "\r" if key == "Enter" else key if len(key) == 1 else ""
        code = CODES.get(key) or ord(key.upper())
        told = {"key": key, "windowsVirtualKeyCode": code}
        if down:
            self.ask("Input.dispatchKeyEvent", type="keyDown", text=text, **told)
        if up:
            self.ask("Input.dispatchKeyEvent", type="keyUp", **told)

    def write(self, text: str) -> None:
        """Write into what has the focus."""
        self.ask("Input.insertText", text=text)

    def mouse(self, kind: str, x: float, y: float) -> None:
        """Move the mouse, or press or release its left button: mouseMoved, mousePressed, ..."""
        held = {"button": "left", "buttons": 1, "clickCount": 1}
        self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, **held)

    def click(self, selector: str) -> None:
        """Click the middle of an element."""
        x, y = self.middle(selector)
        self.mouse("mousePressed", x, y)
        self.mouse("mouseReleased", x, y)

    def middle(self, selector: str) -> tuple[float, float]:
        """Bring an element into sight and return where its middle is."""
        found = self.run(
            f"(() => {{ const it = document.querySelector({json.dumps(selector)});"
            "it.scrollIntoView({ block: 'center' }); const box = it.getBoundingClientRect();"
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        assert isinstance(found, list)
        return float(found[0]), float(found[1])

    def size(self, width: int, height: int) -> None:
        """Give the page a window of a size in pixels."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )


@contextmanager
def chromium(program: str) -> Iterator[Tab]:
    """Start a browser with an empty profile, and end it.

    Args:
        program: its path, as `find_chromium` returns it.
    """
    ours, theirs = os.pipe(), os.pipe()
    # The browser may still write into its profile when it is told to end.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        ends = (ours[0], theirs[1])
        command = [sys.executable, "-c", _PLUMBING, *map(str, ends), program, *_FLAGS]
        browser = subprocess.Popen(  # noqa: S603
            [*command, f"--user-data-dir={profile}"],
            pass_fds=ends,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in ends:
            os.close(end)
        try:
            yield Tab(ours[1], theirs[0])
        finally:
            browser.terminate()
            browser.wait(PATIENCE)
            for end in (ours[1], theirs[0]):
                os.close(end)

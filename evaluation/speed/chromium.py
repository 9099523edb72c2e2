"""A headless Chromium, driven over its DevTools protocol: to look at a page as a reader does."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome")
CODES = {"ArrowLeft": 37, "ArrowRight": 39}
"""Codes of keys that are no letters."""
PATIENCE = 60.0
"""Seconds to wait for anything: much longer than it takes, since machines are shared."""
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)


def find_chromium() -> str | None:
    """Return the path of an installed Chromium; None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Tab:
    """One page of a browser.

    Attributes:
        events: what the browser told unasked, in order: requests, messages, errors.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._count = 0
        self.events: list[dict] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: object) -> dict:
        """Send a command of the DevTools protocol; return its result.

        Raises:
            RuntimeError: the browser refuses it.
        """
        self._count += 1
        number = self._count
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            told = json.loads(self._socket.recv(timeout=PATIENCE))
            if told.get("id") != number:
                self.events.append(told)
            elif "error" in told:
                raise RuntimeError(f"{method}: {told['error']['message']}")
            else:
                return told["result"]

    def open(self, path: Path, ready: str) -> None:
        """Open a file and wait until an expression of it is true."""
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
        _until(lambda: self.run(f"Boolean({expression})"), expression)

    def press(self, key: str, *, down: bool = True, up: bool = True) -> None:
        """Press a key and let it go, or one of the two."""
        text = {"text": key} if len(key) == 1 else {}
        code = {"windowsVirtualKeyCode": CODES.get(key) or ord(key.upper())}
        if down:
            self.ask("Input.dispatchKeyEvent", type="keyDown", key=key, **text, **code)
        if up:
            self.ask("Input.dispatchKeyEvent", type="keyUp", key=key, **code)

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

    def screenshot(self, path: Path) -> None:
        """Save what is in the window as PNG."""
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot")["data"]))


@contextmanager
def chromium(program: str) -> Iterator[Tab]:
    """Start a browser with an empty profile, and end it.

    Args:
        program: its path, as `find_chromium` returns it.
    """
    # The browser may still write into its profile when it is told to end.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = subprocess.Popen(  # noqa: S603
            [program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with connect(_address(Path(profile)), max_size=None, proxy=None) as socket:
                yield Tab(socket)
        finally:
            browser.terminate()
            browser.wait(PATIENCE)


def _address(profile: Path) -> str:
    """Return the address of the browser's first page, once it says so in its profile."""
    port = profile / "DevToolsActivePort"
    _until(lambda: port.is_file() and port.read_text().count("\n"), "a browser that listens")
    address = f"http://127.0.0.1:{port.read_text().splitlines()[0]}/json/list"
    # Whatever proxy the environment names, the browser is on this machine.
    with build_opener(ProxyHandler({})).open(address, timeout=PATIENCE) as answer:
        pages = json.load(answer)
    return next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")


def _until(test: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not test():
        if time.monotonic() > end:
            raise TimeoutError(f"expected within {PATIENCE:.0f} s: {what}")
        time.sleep(0.02)

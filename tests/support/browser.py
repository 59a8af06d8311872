"""Headless Chromium over a pipe: DevTools messages, each ended by a zero byte, on descriptors 3 and 4. No driver, no download."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WHY_NOT = "Chromium is not installed: apt-get install chromium"
PATIENCE_SECONDS = 60.0

# Chromium reads on 3 and writes on 4: our pipes are put there, over higher numbers, so that none hides the other.
_START = """
import fcntl, os, sys
high = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
for number, place in zip(high, (3, 4)):
    os.dup2(number, place)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Refused(AssertionError):
    """Chromium refused a call, as it does while a page gives way to the next."""


@dataclass
class Tab:
    """One tab: what it asked of the network, and what its console said."""

    _send: int
    _receive: int
    _session: str = ""
    _number: int = 0
    _rest: bytes = b""
    requests: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)
    _loaded: bool = False

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise Refused(answer["error"])
                result: dict[str, Any] = answer["result"]
                return result

    def attach(self) -> None:
        """Open a blank tab and listen to it."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def open(self, url: str, *, width: int = 1280, height: int = 900, scripts: bool = True, dark: bool = False) -> None:
        """Load a page and wait until all of it is there."""
        self.requests.clear()
        self.console.clear()
        self._loaded = False
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", media="screen", features=scheme)
        self.call("Page.navigate", url=url)
        while not self._loaded:
            self._next()

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression, as JSON carries it."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def press(self, key: str, *, modifiers: int = 0) -> None:
        """Press a key, such as Tab or Enter."""
        codes = {"Tab": 9, "Enter": 13, "ArrowRight": 39}
        about = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key], "modifiers": modifiers}
        text = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **about, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def wait_until(self, expression: str) -> None:
        """Wait for a condition on the page."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            with suppress(Refused):  # the page that was asked went away while it answered
                if self.evaluate(expression):
                    return
            assert time.monotonic() < end, f"never true: {expression}"

    def picture(self, *, whole: bool = True) -> bytes:
        """Return the page as PNG, the whole of it or what the window shows."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(found["data"])

    def print_to_pdf(self) -> bytes:
        """Return the page as it is printed."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=False, landscape=True)["data"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._receive], [], [], PATIENCE_SECONDS)
            assert ready, "Chromium does not answer"
            piece = os.read(self._receive, 1 << 16)
            assert piece, "Chromium ended"
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, event: str, about: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.requests.append(about["request"]["url"])
        elif event == "Log.entryAdded":
            self.console.append(f"{about['entry']['level']}: {about['entry']['text']}")
        elif event == "Runtime.consoleAPICalled":
            self.console.append(f"{about['type']}: {about['args']}")
        elif event == "Page.loadEventFired":
            self._loaded = True


@contextmanager
def chromium() -> Iterator[Tab]:
    """Start Chromium with a profile of its own; it ends with the block."""
    assert PROGRAM, WHY_NOT
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
        quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
        place = [f"--user-data-dir={profile}", "--remote-debugging-pipe", "--force-color-profile=srgb"]
        ours = [str(theirs_in), str(theirs_out)]
        command = [sys.executable, "-I", "-S", "-c", _START, *ours, PROGRAM, *options, *quiet, *place]
        with subprocess.Popen(command, pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL) as process:
            os.close(theirs_in)
            os.close(theirs_out)
            try:
                tab = Tab(ours_out, ours_in)
                tab.attach()
                yield tab
            finally:
                os.close(ours_out)
                os.close(ours_in)
                process.terminate()
                process.wait(20)

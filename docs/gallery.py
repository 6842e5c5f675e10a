"""Pictures of a report page at several widths, taken by a Chromium that reaches no network.

    python docs/gallery.py report.html docs/pictures/report [WIDTH...]

Writes `<prefix>_<width>.png` of the whole page at 360, 800 and 1,600 pixels, or at the widths given; ends
with 1 if the page asked a network, wrote to the console, or is wider than its window. Needs chromium (or
google-chrome) in the PATH.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

WIDTHS = (360, 800, 1600)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_ANSWER_S = 60
_BROWSERS = 2  # started one after the other until one answers
_SHOWN = 5  # complaints
_TALLEST = 16_000  # pixels of a picture
_DRAWN = """(async () => {
  const figures = [...document.querySelectorAll('figure')];
  // A browser on a busy machine may show no frame for a long time: no step waits for one alone.
  const shown = () => new Promise((done) => { requestAnimationFrame(done); setTimeout(done, 200); });
  for (const figure of figures) { figure.scrollIntoView(); await shown(); }
  for (let turn = 0; turn < 200 && figures.some((figure) => !figure.querySelector('svg, canvas')); turn++)
    await new Promise((done) => setTimeout(done, 50));
  scrollTo(0, 0);
  return figures.filter((figure) => !figure.querySelector('svg, canvas')).length;
})()"""


@dataclass(frozen=True)
class Look:
    """What a browser saw of a page.

    Attributes:
        picture: The whole page, PNG.
        console: What was written to the console, and exceptions.
        requests: Addresses that were asked for, beside the page itself and what it carries.
        undrawn: Charts that were not drawn.
        overflow: Pixels by which the page is wider than its window.
    """

    picture: bytes
    console: tuple[str, ...]
    requests: tuple[str, ...]
    undrawn: int
    overflow: int

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong with the page."""
        return not (self.console or self.requests or self.undrawn or self.overflow)


def find_browser() -> str | None:
    """The browser in the PATH, if there is one."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


class _Tab:
    """A tab, spoken to by the browser's debugging protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self.events: list[dict[str, Any]] = []

    async def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method and wait for its answer; events that come before it are kept."""
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            message = await asyncio.wait_for(self._socket.receive_json(), _ANSWER_S)
            if message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                answer: dict[str, Any] = message["result"]
                return answer
            self.events.append(message)

    async def value(self, script: str) -> Any:
        """What a script gives."""
        answer = await self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        return answer["result"].get("value")


@contextlib.asynccontextmanager
async def _tab(browser: str) -> AsyncIterator[_Tab]:
    with tempfile.TemporaryDirectory(prefix="gallery-", ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
            f"--user-data-dir={profile}", "--host-resolver-rules=MAP * ~NOTFOUND", "--hide-scrollbars",
            "--no-first-run", "--disable-dev-shm-usage", "--disable-renderer-backgrounding",
            "--disable-backgrounding-occluded-windows", "about:blank",
            stderr=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            port_file = Path(profile) / "DevToolsActivePort"
            async with asyncio.timeout(_ANSWER_S):
                while not (port_file.exists() and len(lines := port_file.read_text().splitlines()) == 2):
                    await asyncio.sleep(0.05)
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{lines[0]}/json/list") as answer:
                    address = next(tab for tab in await answer.json() if tab["type"] == "page")
                url = address["webSocketDebuggerUrl"]
                async with session.ws_connect(url, max_msg_size=0) as socket:
                    yield _Tab(socket)
        finally:
            process.terminate()
            await process.wait()


async def look(page: Path, widths: tuple[int, ...] = WIDTHS, browser: str | None = None) -> dict[int, Look]:
    """Open a page at each width and take a picture of all of it.

    Args:
        page: The HTML file.
        widths: Widths of the window, pixels.
        browser: The browser's path; None for the one in the PATH.

    Raises:
        TimeoutError: Two browsers, one after the other, gave no answer within a minute.
    """
    found = browser or find_browser()
    if found is None:
        raise FileNotFoundError(f"no browser in the PATH: one of {', '.join(BROWSERS)}")
    for _ in range(_BROWSERS - 1):
        with contextlib.suppress(TimeoutError):
            return await _looks(found, page, widths)
    return await _looks(found, page, widths)


async def _looks(browser: str, page: Path, widths: tuple[int, ...]) -> dict[int, Look]:
    async with _tab(browser) as tab:
        for domain in ("Page", "Runtime", "Log", "Network"):
            await tab.ask(f"{domain}.enable")
        await tab.ask("Page.bringToFront")
        return {width: await _look(tab, page, width) for width in widths}


async def _look(tab: _Tab, page: Path, width: int) -> Look:
    tab.events.clear()
    size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 500}
    await tab.ask("Emulation.setDeviceMetricsOverride", **size)
    await tab.ask("Page.navigate", url=page.resolve().as_uri())
    while not any(event.get("method") == "Page.loadEventFired" for event in tab.events):
        await tab.value("1")
        await asyncio.sleep(0.05)
    undrawn = await tab.value(_DRAWN)
    overflow = await tab.value(f"document.documentElement.scrollWidth - {width}")
    height = min(_TALLEST, await tab.value("document.documentElement.scrollHeight"))
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    shot = await tab.ask("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
    return Look(
        picture=base64.b64decode(shot["data"]),
        console=tuple(_complaints(tab.events)),
        requests=tuple(_requests(tab.events, page)),
        undrawn=int(undrawn),
        overflow=max(0, int(overflow)),
    )


def _complaints(events: list[dict[str, Any]]) -> list[str]:
    names = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
    return [str(event["params"])[:400] for event in events if event.get("method") in names][:_SHOWN]


def _requests(events: list[dict[str, Any]], page: Path) -> list[str]:
    urls = [e["params"]["request"]["url"] for e in events if e.get("method") == "Network.requestWillBeSent"]
    return [url for url in urls if url != page.resolve().as_uri() and not url.startswith(("data:", "blob:"))]


def main() -> int:
    """Take the pictures that the command line asks for."""
    page, prefix = Path(sys.argv[1]), Path(sys.argv[2])
    widths = tuple(map(int, sys.argv[3:])) or WIDTHS
    prefix.parent.mkdir(parents=True, exist_ok=True)
    looks = asyncio.run(look(page, widths))
    for width, seen in looks.items():
        path = prefix.with_name(f"{prefix.name}_{width}.png")
        path.write_bytes(seen.picture)
        sys.stdout.write(f"{path}: {'good' if seen.is_good else 'NOT GOOD'}\n")
        for line in (*seen.console, *seen.requests):
            sys.stdout.write(f"  {line}\n")
        if seen.undrawn or seen.overflow:
            sys.stdout.write(f"  {seen.undrawn} charts not drawn; {seen.overflow} pixels too wide\n")
    return 0 if all(seen.is_good for seen in looks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Crowd a session's web page: browsers that look, senders that dawdle, and messages of a megabyte. What is kept of its pace?"""

import asyncio
import http.cookiejar
import itertools
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

from live import Camera, Clock, make_rig
from torture_artefacts import ROOT, surroundings
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from captures import SessionConfig, run_session
from captures.session.recorder import KeepRule
from captures.viewers.controls import Command, SessionStatus
from captures.web.server import WebPage
from physpatch import load_victim

KEPT = 0.9  # of the frames a second of an undisturbed session
_MEGABYTE = "x" * 2**20
_DAWDLE_S = 0.2  # between the bytes of a slow sender
_WAIT_S = 20.0
CONNECT_S = 2.0  # for all sockets


class Stop(Clock):
    """A viewer that ends the session in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._end = time.monotonic() + seconds

    def poll(self, _status: SessionStatus) -> list[Command]:
        """Ask for the end once the time is over."""
        return [Command("stop")] if time.monotonic() > self._end else []

    @property
    def fps(self) -> float:
        """Return the frames a second, without the time in which sockets connect."""
        at = [moment for moment in self.at if moment > self.at[0] + CONNECT_S]
        return (len(at) - 1) / (at[-1] - at[0])


def run_page(seconds: float, sockets: int) -> dict[str, Any]:
    """Film without and with ``sockets`` sockets on the page, each for ``seconds``; return what was measured.

    Once browsers connect first, and take the seats; once those who send megabytes do.
    """
    with tempfile.TemporaryDirectory(prefix="physpatch-torture-") as work:
        rig = make_rig(Path(work))
        pictures = [frame.image for frame in rig]
        config = SessionConfig(
            load_victim("efficientnet_lite0", device="cpu"),
            layouts=rig.layouts,
            intrinsics=rig.intrinsics,
            keep=KeepRule("none"),
        )
        alone, _ = _film(pictures, config, Path(work) / "alone", seconds, 0)
        crowds = {
            first: _film(pictures, config, Path(work) / first, seconds, sockets, first) for first in ("look", "shout")
        }
    lost = sum(fps / alone < KEPT for fps, _ in crowds.values())
    return {
        "seconds": seconds,
        "sockets": sockets,
        "fps_alone": round(alone, 2),
        "wanted": KEPT,
        "first": {
            first: {"fps": round(fps, 2), "kept": round(fps / alone, 3), "clients": json.loads(clients)}
            for first, (fps, clients) in crowds.items()
        },
        "tried": len(crowds),
        "survived": len(crowds) - lost,
        "lost": lost,
    }


def _film(
    pictures: list[Any], config: SessionConfig, out: Path, seconds: float, sockets: int, first: str = ""
) -> tuple[float, str]:
    with WebPage(say=lambda _: None) as page, Camera(pictures) as camera:
        command = [sys.executable, __file__, page.url, str(sockets), str(seconds + 1), first]
        environment = surroundings() | {"PYTHONPATH": f"{ROOT}:{Path(__file__).parent}"}
        crowd = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) if sockets else None
        if crowd is not None and crowd.stdout is not None:
            crowd.stdout.readline()  # it has loaded what it needs
        watch = Stop(seconds)
        run_session(camera, config, out, viewers=[watch, page])
        clients = ""
        if crowd is not None:
            clients = crowd.communicate(timeout=_WAIT_S + seconds)[0].strip()
    return watch.fps, clients


async def _crowd(url: str, sockets: int, seconds: float, first: str) -> dict[str, int]:
    """Be the crowd, of which those of one kind come first; count what was seen and sent."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar := http.cookiejar.CookieJar()))
    await asyncio.to_thread(lambda: opener.open(url, timeout=_WAIT_S).read())
    origin = url.split("/?")[0]
    headers = {"Cookie": "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar)}
    counts = {"pictures": 0, "megabytes": 0, "bytes": 0, "reconnected": 0}
    kinds = itertools.islice(itertools.cycle((_look, _look, _shout, _dawdle)), sockets)
    tasks = []
    eager = {"look": _look, "shout": _shout}[first]
    for kind in sorted(kinds, key=lambda kind: kind is not eager):
        tasks.append(asyncio.create_task(_again(kind, origin, headers, counts)))
        await asyncio.sleep(CONNECT_S / sockets)
    await asyncio.sleep(seconds - CONNECT_S)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return counts


async def _again(kind: Any, origin: str, headers: dict[str, str], counts: dict[str, int]) -> None:
    while True:
        with suppress(WebSocketException, OSError):
            await kind(origin, headers, counts)
        counts["reconnected"] += 1
        await asyncio.sleep(0.1)


async def _look(origin: str, headers: dict[str, str], counts: dict[str, int]) -> None:
    """Show a picture and ask for the next, as a browser does."""
    async with _connected(origin, headers) as socket:
        await socket.send("ready")
        async for message in socket:
            if isinstance(message, bytes):
                counts["pictures"] += 1
                await socket.send("ready")


async def _shout(origin: str, headers: dict[str, str], counts: dict[str, int]) -> None:
    """Send a megabyte a message, until that is refused once too often."""
    async with _connected(origin, headers) as socket:
        while True:
            await socket.send(_MEGABYTE)
            counts["megabytes"] += 1
            await socket.recv()


async def _dawdle(origin: str, headers: dict[str, str], counts: dict[str, int]) -> None:
    """Ask for the page with one byte at a time, and never end."""
    host, port = origin.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    try:
        request = f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\nCookie: {headers['Cookie']}\r\nX: "
        for byte in itertools.chain(request.encode(), itertools.repeat(ord("x"))):
            writer.write(bytes([byte]))
            await writer.drain()
            counts["bytes"] += 1
            await asyncio.sleep(_DAWDLE_S)
    finally:
        writer.close()


def _connected(origin: str, headers: dict[str, str]) -> connect:
    address = f"{origin.replace('http', 'ws', 1)}/ws/view"
    return connect(address, origin=origin, additional_headers=headers, max_size=None, compression=None)  # type: ignore[arg-type]


if __name__ == "__main__":
    print("ready", flush=True)  # noqa: T201
    print(json.dumps(asyncio.run(_crowd(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]))))  # noqa: T201

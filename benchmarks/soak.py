"""A long session from a looped stream: does memory grow, does the delay, are disconnects survived? Prints one JSON line.

python benchmarks/soak.py [--minutes 10] [--disconnects 20]

A motion-JPEG server on this machine sends a film over and over at 30 frames a second, and hangs up so many times,
evenly over the run. Growth is of the last minute beside the second: medians of the resident set, and of the time from
capture to answer.
"""

import argparse
import json
import os
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
from live import make_rig
from numpy.typing import NDArray
from one_line import run_main

from captures import SessionConfig, open_source, run_session
from captures.inference.analyser import Analysis
from captures.results.session_record import SessionRecord
from captures.session.recorder import KeepRule
from captures.sources.opencv import rgb
from captures.storage import read_events, read_rows
from captures.viewers.controls import Command, SessionStatus
from physpatch import load_victim

FPS = 30.0
_LEAST_MINUTES = 3  # so that the second minute is not the last


class Watch:
    """A viewer that ends the session in time and notes memory and delay."""

    def __init__(self, seconds: float) -> None:
        self._begun, self._seconds = time.monotonic(), seconds
        self.memory: list[tuple[float, float]] = []
        self.delays: list[tuple[float, float]] = []

    def show(self, _analysis: Analysis, _picture: NDArray[np.uint8], status: SessionStatus) -> None:
        now = time.monotonic() - self._begun
        if status.delay_s is not None:
            self.delays.append((now, status.delay_s))
        if not self.memory or now - self.memory[-1][0] > 1:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.memory.append((now, pages * os.sysconf("SC_PAGE_SIZE") / 2**20))

    def poll(self, _status: SessionStatus) -> list[Command]:
        return [Command("stop")] if time.monotonic() - self._begun > self._seconds else []


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--disconnects", type=int, default=20)
    options = parser.parse_args()
    if options.minutes < _LEAST_MINUTES:
        parser.error(
            f"--minutes {options.minutes:g}; expected {_LEAST_MINUTES} or more, as the last minute is compared with the second"
        )
    seconds = 60 * options.minutes
    victim = load_victim("efficientnet_lite0")
    with tempfile.TemporaryDirectory() as work:
        rig = make_rig(Path(work))
        frames = [cv2.imencode(".jpg", rgb(frame.image))[1].tobytes() for frame in rig]
        watch, out = Watch(seconds), Path(work) / "session"
        pause_s = seconds / (options.disconnects + 1) if options.disconnects else float("inf")
        with serve(frames, pause_s) as url, open_source(url) as source:
            plan = SessionConfig(victim, layouts=rig.layouts, intrinsics=rig.intrinsics, keep=KeepRule("none"))
            run_session(source, plan, out, viewers=[watch])
        record = SessionRecord.of(out)
        with closing(sqlite3.connect(out / "session.db")) as database:
            whole = database.execute("PRAGMA integrity_check").fetchone()[0]
        rows, events = read_rows(out), read_events(out)
    spans = {"second minute": (60, 120), "last minute": (seconds - 60, seconds)}
    memory = {name: _median(watch.memory, *span) for name, span in spans.items()}
    delay = {name: _median(watch.delays, *span) for name, span in spans.items()}
    numbers = {
        "minutes": options.minutes,
        "frames": len(rows),
        "captured": record.captured,
        "dropped": record.dropped,
        "disconnects": sum(event.kind == "lost" for event in events),
        "survived": sum(event.kind == "back" for event in events),
        "gap_seconds": record.gap_seconds,
        "memory_mib": {name: round(value, 1) for name, value in memory.items()},
        "memory_growth": round(memory["last minute"] / memory["second minute"] - 1, 4),
        "delay_ms": {name: round(1000 * value, 1) for name, value in delay.items()},
        "delay_growth": round(delay["last minute"] / delay["second minute"] - 1, 4),
        "integrity": whole,
    }
    print(json.dumps(numbers))  # noqa: T201


def _median(values: list[tuple[float, float]], begin: float, end: float) -> float:
    return statistics.median(value for time_s, value in values if begin <= time_s <= end)


@contextmanager
def serve(frames: list[bytes], connection_s: float) -> Iterator[str]:
    """Serve a looped motion-JPEG stream; each connection is hung up on after so many seconds."""

    class Camera(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            begun, number = time.monotonic(), 0
            while time.monotonic() - begun < connection_s:
                frame = frames[number % len(frames)]
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(frame)}\r\n\r\n"
                try:
                    self.wfile.write(head.encode() + frame + b"\r\n")
                except OSError:
                    return
                number += 1
                time.sleep(max(0.0, begun + number / FPS - time.monotonic()))

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/film.mjpg"
        server.shutdown()


if __name__ == "__main__":
    run_main(main)

"""Downloads of weights that fail within seconds instead of hanging."""

import http.client
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

_PROBE_SECONDS = 4.0
_STALL_SECONDS = 10.0


def reachable(url: str, seconds: float = _PROBE_SECONDS) -> bool:
    """Tell whether ``url`` answers within ``seconds``.

    The probe runs in a daemon thread, because a name look-up on a cut-off network can block longer than any socket
    timeout.
    """
    answered = threading.Event()

    def probe() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "physpatch"})
            urllib.request.urlopen(request, timeout=seconds).close()
        except (OSError, ValueError, http.client.HTTPException):  # OSError includes refusals by the server
            return
        answered.set()

    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(seconds)
    return answered.is_set()


@contextmanager
def stall_limit(seconds: float = _STALL_SECONDS) -> Iterator[None]:
    """Limit to ``seconds`` how long a socket opened inside the block waits for data."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)

"""The server of the web page: in its own thread, and only for this machine unless requested otherwise."""

import asyncio
import io
import logging
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import segno
import uvicorn
from numpy.typing import NDArray
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from calibration.common.errors import InputError, UnavailableError
from captures.viewers.controls import Command, SessionStatus
from captures.web.app import make_app
from captures.web.auth import Authenticator
from captures.web.certificate import lan_addresses, write_certificate
from captures.web.hub import Hub
from captures.web.phone import MOST_BYTES, PhoneSource

if TYPE_CHECKING:
    from captures.inference.analyser import Analysis

_LOOPBACK = "127.0.0.1"
_START_S = 10.0
_FAREWELL_S = 0.5  # for browsers to receive the end of the session
_SAID_REFUSALS, _THEN_EVERY = 5, 1000
_MOST_CONNECTIONS = 256  # at once, with those that have sent nothing yet
_FIRST_REQUEST_S = 20.0  # for a connection to say what it wants
_USUAL_PORTS = {"http": 80, "https": 443}
_MOST_AT_ONCE = 64  # connections that are taken from the system in one go


class _LimitedProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """HTTP with a limit of connections, so that they leave files for the session, which ends if it can open none."""

    _refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:
        if len(self.connections) >= _most_connections():
            self._refused = True
            transport.abort()
            return
        super().connection_made(transport)
        self.loop.call_later(_FIRST_REQUEST_S, self._end_if_silent)

    def _end_if_silent(self) -> None:
        if self.scope is None:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._refused:
            super().connection_lost(exc)


def _most_connections() -> int:
    """Return how many connections may be open at once: a quarter of the files that the process may open, at most 256."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return _MOST_CONNECTIONS
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _MOST_CONNECTIONS if files == resource.RLIM_INFINITY else max(1, min(_MOST_CONNECTIONS, files // 4))


class WebPage(AbstractContextManager["WebPage"]):
    """A viewer that serves a web page. ``phone`` is the source of frames that a phone sends to it."""

    def __init__(self, *, port: int = 0, lan: bool = False, say: Callable[[str], None] = print) -> None:
        """Start the server.

        Args:
            port: 0 selects any free port.
            lan: also serve the local network, over TLS, and create a one-time link for a phone.
            say: receives the links, and messages about refused requests.

        Raises:
            InputError: if the port is in use.
            UnavailableError: if the server does not start.
        """
        self._say, self._refusals = say, 0
        self.phone = PhoneSource()
        self._hub, self._authenticator = Hub(), Authenticator()
        with ExitStack() as stack:  # which frees everything where the server does not start
            listening = stack.enter_context(_listen("0.0.0.0" if lan else _LOOPBACK, port))
            self.port = listening.getsockname()[1]
            self._outside = lan_addresses() if lan else []
            self._scheme = "https" if lan else "http"
            names = [_LOOPBACK, "localhost", *self._outside, *([socket.gethostname()] if lan else [])]
            options: dict[str, str] = {}
            if lan:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="physpatch-tls-")))
                certificate, key, fingerprint = write_certificate(folder, names)
                options = {"ssl_certfile": str(certificate), "ssl_keyfile": str(key)}
            app = make_app(
                self._hub,
                self._authenticator,
                self.phone,
                scheme=self._scheme,
                hosts=_hosts(names, self.port, self._scheme),
                phone_url=self.new_phone_url,
                refused=self._refused,
            )
            config = uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="websockets-sansio",
                ws_max_size=MOST_BYTES + 1000,
                server_header=False,
                timeout_graceful_shutdown=1,
                http=_LimitedProtocol,
                backlog=_MOST_AT_ONCE,
                **options,  # type: ignore[arg-type]
            )
            logging.getLogger("uvicorn.error").addFilter(_is_no_refusal)
            self._server = uvicorn.Server(config)
            self._thread = threading.Thread(target=self._serve, args=(listening,), daemon=True, name="web page")
            self._thread.start()
            stack.callback(self._stop)
            deadline = time.monotonic() + _START_S
            while not self._server.started:
                if time.monotonic() > deadline or not self._thread.is_alive():
                    raise UnavailableError("the server of the web page does not start; try another --port")
                time.sleep(0.01)
            self._stack = stack.pop_all()
        say(f"session page: {self.url}")
        if lan:
            self._say_phone_link(fingerprint)

    @property
    def url(self) -> str:
        """Return the link for a browser on this machine."""
        return f"{self._scheme}://{_LOOPBACK}:{self.port}/?key={self._authenticator.page_key}"

    def new_phone_url(self) -> str | None:
        """Create a link that admits one phone, once; return None if only this machine is served."""
        if self._scheme == "http":
            return None
        host = next(iter(self._outside), _LOOPBACK)
        return f"{self._scheme}://{host}:{self.port}/?key={self._authenticator.new_link_key()}"

    def show(self, analysis: "Analysis", picture: NDArray[np.uint8], status: SessionStatus) -> None:
        self._hub.show(analysis, picture, status)

    def guide(self, picture: NDArray[np.uint8], kept: int, words: str) -> bool:
        """Show a frame of a calibration, (H, W, 3) RGB uint8, how many were used, and an instruction.

        Returns:
            False once the user has ended it.
        """
        return self._hub.guide(picture, kept, words)

    def poll(self, status: SessionStatus) -> list[Command]:
        return self._hub.poll(status)

    def __exit__(self, *exception: object) -> None:
        self._hub.end()
        time.sleep(_FAREWELL_S)
        self._stack.close()

    def _stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(_START_S)

    def _serve(self, listening: socket.socket) -> None:
        async def serve() -> None:
            self._hub.loop = asyncio.get_running_loop()
            await self._server.serve(sockets=[listening])

        asyncio.run(serve())

    def _refused(self, words: str) -> None:
        self._refusals += 1
        if self._refusals <= _SAID_REFUSALS or self._refusals % _THEN_EVERY == 0:
            count = f" ({self._refusals} so far)" if self._refusals > _SAID_REFUSALS else ""
            self._say(f"web page refused {words}{count}")

    def _say_phone_link(self, fingerprint: str) -> None:
        url = self.new_phone_url()
        assert url is not None  # the network is served
        if sys.stderr.isatty():
            picture = io.StringIO()
            segno.make(url, error="l").terminal(out=picture, compact=True)
            self._say(picture.getvalue())
        self._say(f"phone, once: {url}")
        self._say(
            f"the phone's browser will warn about an unknown certificate; its SHA-256 must be {fingerprint[:23]}..."
        )
        if not self._outside:
            self._say("this machine is not connected to a network, so a phone cannot reach it")


def _hosts(names: Iterable[str], port: int, scheme: str) -> set[str]:
    """Return how browsers call these hosts: in lower case, and without the port that the scheme has anyway."""
    lower = {name.lower() for name in names}
    return {f"{name}:{port}" for name in lower} | (lower if port == _USUAL_PORTS[scheme] else set())


def _is_no_refusal(record: logging.LogRecord) -> bool:
    """Drop the server's line about each WebSocket that was refused before it began: :meth:`WebPage._refused` counts them."""
    return "without completing handshake" not in record.getMessage()


def _listen(host: str, port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise InputError(f"port {port} cannot be used ({error.strerror}); use another --port, or 0 for any") from error
    return listening

"""Routes and their guards: requests without a valid cookie, or from another page, are refused."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from importlib.resources import files

import segno
from fastapi import FastAPI, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse

from calibration.common.errors import PhyspatchError
from captures.viewers.controls import Command
from captures.web.auth import Authenticator, Role
from captures.web.hub import Hub
from captures.web.phone import MOST_BYTES, PhoneSource, decode_jpeg

_STATIC = {
    "page.js": "text/javascript",
    "phone.js": "text/javascript",
    "view.js": "text/javascript",
    "style.css": "text/css",
}
_MOST_TEXT = 2000
_LARGEST_TEXT = 2**16  # beyond it, a message is no mistake, and each takes time from the session's frames
_MOST_MISTAKES = 20  # malformed messages after which a connection is closed
MOST_SOCKETS = 64  # at once: every further browser would take time from the session's own frames
_CROWDED, _CROWD_PAUSE_S = 503, 1.0
_BAD_REQUEST, _REPLACED, _TOO_LARGE = 4400, 4409, 4413  # private WebSocket close codes: 4000 + the HTTP status

Refused = Callable[[str], None]


class _TooLarge(Exception):
    """A client sent what no page or phone sends."""


def make_app(
    hub: Hub,
    authenticator: Authenticator,
    phone: PhoneSource,
    *,
    scheme: str,
    hosts: set[str],
    phone_url: Callable[[], str | None],
    refused: Refused,
) -> FastAPI:
    """Build the web application.

    Args:
        hub: of the session.
        authenticator: checks keys and cookies.
        phone: receives the frames that a phone sends.
        scheme: ``http`` or ``https``.
        hosts: the accepted host names in lower case, with port, or without the scheme's own, which protects against DNS
            rebinding.
        phone_url: creates a new one-time link; returns None if phones cannot connect.
        refused: called with a message about each refused request, for the log.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    port = next(host for host in sorted(hosts) if ":" in host).rpartition(":")[2]
    cookie_name = f"physpatch_{port}"  # cookies do not distinguish ports
    pages = {name: files("captures.web").joinpath("static", name).read_bytes() for name in (*_STATIC, *_PAGES.values())}

    def role_of(connection: Request | WebSocket) -> Role | None:
        return authenticator.role(connection.cookies.get(cookie_name))

    def who(connection: Request | WebSocket) -> str:
        return f"{connection.client.host if connection.client else 'unknown client'} at {connection.url.path[:80]!r}"

    @app.middleware("http")
    async def guard(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        response: Response
        host = request.headers.get("host", "").lower()
        if host not in hosts:
            response = PlainTextResponse("this page is not served under this host name", 403)
        else:
            response = await go_on(request)
        if 400 <= response.status_code < 500:
            refused(f"{who(request)}: {response.status_code}")
        socket = f" {'wss' if scheme == 'https' else 'ws'}://{host}" if host in hosts else ""
        response.headers.update(
            {
                "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
                f"img-src 'self' blob: data:; media-src blob:; connect-src 'self'{socket}; frame-ancestors 'none'; "
                "base-uri 'none'; form-action 'none'",
                "X-Content-Type-Options": "nosniff",
                "Referrer-Policy": "no-referrer",
                "Cache-Control": "no-store",
            }
        )
        return response

    @app.get("/")
    async def page(request: Request, key: str | None = None) -> Response:
        if key is not None:
            admitted = authenticator.admit(key[:_MOST_TEXT])
            if admitted is None:
                return PlainTextResponse("this link was already used, or belongs to another session", 401)
            response = RedirectResponse("/", 303)  # removes the key from the address bar
            response.set_cookie(cookie_name, admitted[0], httponly=True, samesite="lax", secure=scheme == "https")
            return response
        role = role_of(request)
        if role is None:
            return PlainTextResponse("open the link shown in the terminal", 401)
        return Response(pages[_PAGES[role]], media_type="text/html")

    @app.get("/static/{name}")
    async def static(name: str) -> Response:
        if name not in _STATIC:
            return PlainTextResponse("no such file", 404)
        return Response(pages[name], media_type=_STATIC[name])

    @app.get("/phone-link")
    async def phone_link(request: Request) -> Response:
        if role_of(request) != "page":
            return PlainTextResponse("open the link shown in the terminal", 401)
        url = phone_url()
        if url is None:
            return PlainTextResponse("start the session with --lan to connect a phone", 404)
        return JSONResponse({"url": url, "picture": segno.make(url, error="m").svg_data_uri(scale=4, border=2)})

    connected = 0

    @asynccontextmanager
    async def greeted(websocket: WebSocket, *roles: Role) -> AsyncIterator[bool]:
        """Accept a WebSocket with one of ``roles``, unless too many are open; refuse any other, and yield False."""
        nonlocal connected
        host, origin = (websocket.headers.get(name, "").lower() for name in ("host", "origin"))
        status, words = 0, ""
        if host not in hosts or origin != f"{scheme}://{host}":
            status, words = 403, "request from another page"
        elif role_of(websocket) not in roles:
            status, words = 401, "no cookie"
        elif connected >= MOST_SOCKETS and "page" in roles:  # a phone's camera always has room
            status, words = _CROWDED, f"{connected} pages are open already; close some"
        if status:
            refused(f"{who(websocket)}: {status}, {words}")
            if status == _CROWDED:
                await asyncio.sleep(_CROWD_PAUSE_S)  # so that a crowd which asks again at once asks less often
            await websocket.send_denial_response(PlainTextResponse(words, status))
            yield False
            return
        connected += 1
        large = None
        try:
            await websocket.accept()
            yield True
        except _TooLarge as error:
            large = error
        finally:
            connected -= 1
        if large is not None:
            refused(f"{who(websocket)}: 413, {large}")
            await asyncio.sleep(_CROWD_PAUSE_S)  # nothing is read from it meanwhile, and its room is free for others
            with suppress(WebSocketDisconnect, RuntimeError):  # it may have left
                await websocket.close(_TOO_LARGE, str(large))

    async def correct(websocket: WebSocket, mistakes: int, words: str) -> int:
        """Reject a malformed message; return the new count. Too many close the connection."""
        refused(f"{who(websocket)}: 400, {words}")
        if mistakes + 1 >= _MOST_MISTAKES:
            await websocket.close(_BAD_REQUEST, "too many malformed messages")
            raise WebSocketDisconnect(_BAD_REQUEST)
        await websocket.send_text(json.dumps({"error": 400, "detail": words}))
        return mistakes + 1

    @app.websocket("/ws/view")
    async def view(websocket: WebSocket) -> None:
        async with greeted(websocket, "page", "phone") as accepted:
            if accepted:
                await serve_view(websocket)

    async def serve_view(websocket: WebSocket) -> None:
        ready = asyncio.Event()
        sender = asyncio.create_task(_send_views(websocket, hub, ready))
        mistakes = 0
        try:
            while True:
                message = await websocket.receive()
                if message["type"] == "websocket.disconnect":
                    break
                text = message.get("text")
                if max(len(text or ""), len(message.get("bytes") or b"")) > _LARGEST_TEXT:
                    raise _TooLarge("the message is too large")
                try:
                    if text is None or len(text) > _MOST_TEXT:
                        raise ValueError("expected a short text")
                    if text == "ready":
                        ready.set()
                    else:
                        hub.ask(Command.from_json(json.loads(text)))
                except (ValueError, RecursionError, PhyspatchError) as error:
                    mistakes = await correct(websocket, mistakes, str(error)[:200])
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            sender.cancel()

    @app.websocket("/ws/camera")
    async def camera(websocket: WebSocket) -> None:
        async with greeted(websocket, "phone") as accepted:
            if accepted:
                await serve_camera(websocket)

    filming: WebSocket | None = None

    async def serve_camera(websocket: WebSocket) -> None:
        """Take the frames of a phone, in place of another one: the frames of two would alternate."""
        nonlocal filming
        mistakes = 0
        phone.connect()
        before, filming = filming, websocket
        try:
            if before is not None:
                with suppress(WebSocketDisconnect, RuntimeError):  # it may be leaving
                    await before.close(_REPLACED, "another phone films now")
            while True:
                message = await websocket.receive()
                if message["type"] == "websocket.disconnect" or filming is not websocket:
                    break
                data = message.get("bytes")
                try:
                    if data is None:
                        raise ValueError("expected a JPEG")
                    if len(data) > MOST_BYTES:
                        raise _TooLarge("the frame is too large")
                    phone.put(await asyncio.to_thread(decode_jpeg, data))
                    await websocket.send_text('{"ok": true}')
                except (ValueError, PhyspatchError) as error:
                    mistakes = await correct(websocket, mistakes, str(error)[:200])
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            if filming is websocket:
                filming = None
            phone.connected -= 1
            if phone.connected == 0:
                phone.lose("the phone is disconnected: open its page again")

    return app


_PAGES: dict[Role, str] = {"page": "page.html", "phone": "phone.html"}


async def _send_views(websocket: WebSocket, hub: Hub, ready: asyncio.Event) -> None:
    """Send state and picture if there are newer ones and the browser has shown the last, so slow browsers do not lag."""
    version = -1
    try:
        while True:
            await ready.wait()
            version = await hub.newer_than(version)
            ready.clear()
            state, picture = hub.newest()
            await websocket.send_text(state)
            if picture is not None:
                await websocket.send_bytes(picture)
    except (WebSocketDisconnect, RuntimeError):
        return

"""The web page and the phone: in a real browser where there is one, and against everybody who has no business there."""

import json
import random
import socket
import ssl
import struct
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL.JpegImagePlugin import JpegImageFile
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright
from support import CHROMIUM
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from calibration.common.errors import InputError
from captures.protocol.plan import Protocol
from captures.protocol.pose_map import PoseMap
from captures.results.aggregation import EVERYWHERE, Tally
from captures.session.live_session import SessionConfig, run_session
from captures.sources.frame import Frame
from captures.sources.held_sheet import RigPose
from captures.sources.opening import FileSource
from captures.sources.virtual_rig import VirtualRig
from captures.storage import read_events, read_rows
from captures.viewers.controls import SessionStatus
from captures.web import server
from captures.web.app import MOST_SOCKETS
from captures.web.certificate import lan_addresses, write_certificate
from captures.web.hub import Hub
from captures.web.phone import MOST_BYTES, PhoneSource, decode_jpeg
from captures.web.server import WebPage, _hosts

WAIT_MS = 20_000


class Looped(FileSource):
    """Pictures over and over, ten a second, until closed."""

    fps = 10.0

    def __init__(self, pictures: list[np.ndarray]) -> None:
        self._pictures, self._closed = pictures, threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        number = 0
        while not self._closed.wait(0.1):
            picture = self._pictures[number % len(self._pictures)]
            number += 1
            self.captured = number
            yield Frame(picture, (number - 1) / self.fps, number)

    def close(self) -> None:
        self._closed.set()


@pytest.fixture(scope="module")
def wall(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("wall") / "wall.png"
    cv2.imwrite(str(path), np.full((480, 640, 3), 120, np.uint8))
    return path


@pytest.fixture(scope="module")
def rig(shared_sheet_pdf: Path, wall: Path) -> VirtualRig:
    return VirtualRig(shared_sheet_pdf, [(wall, None)])


@pytest.fixture(scope="module")
def pictures(rig: VirtualRig, wall: Path) -> list[np.ndarray]:
    """The patch sheet, held still, facing the camera at 0.4 m, and turned by 20 degrees."""
    behind, rng = rig.background(wall), np.random.default_rng(0)
    poses = [RigPose(0.4, 0, 0, 0, 0, 0), RigPose(0.4, 0.01, 0, 20, 0, 0)]
    return [rig.render(0, pose, behind, rng) for pose in poses for _ in range(5)]


@pytest.fixture
def plan(tiny_victim, rig: VirtualRig) -> SessionConfig:
    target = {"index": 2, "name": "blue thing"}
    return SessionConfig(classifier=tiny_victim, layouts=rig.layouts, intrinsics=rig.intrinsics, target=target)


class Running:
    """A session in a thread, with its page."""

    def __init__(self, page: WebPage, said: list[str], out: Path, thread: threading.Thread) -> None:
        self.page, self.said, self.out, self._thread = page, said, out, thread

    @property
    def origin(self) -> str:
        return self.page.url.split("/?")[0]

    def wait_rows(self, count: int) -> None:
        deadline = time.monotonic() + 20
        while not (self.out / "session.db").exists() or len(read_rows(self.out)) < count:
            assert time.monotonic() < deadline, f"no {count} rows; said {self.said}"
            time.sleep(0.05)

    def end(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()
        self.page.__exit__()


@pytest.fixture
def running(plan: SessionConfig, pictures: list[np.ndarray], tmp_path: Path) -> Iterator[Callable[..., Running]]:
    opened: list[tuple[WebPage, threading.Thread, FileSource | PhoneSource]] = []

    def start(*, lan: bool = False, phone: bool = False, **changes) -> Running:
        said: list[str] = []
        page = WebPage(lan=lan, say=said.append)
        source = page.phone if phone else Looped(pictures)
        out = tmp_path / "session"
        session = threading.Thread(
            target=run_session, args=(source, replace(plan, **changes), out), kwargs={"viewers": [page]}, daemon=True
        )
        session.start()
        opened.append((page, session, source))
        return Running(page, said, out, session)

    yield start
    for page, session, source in opened:
        source.close()
        session.join(20)
        page.__exit__()


def get(url: str, **headers: str) -> tuple[int, bytes]:
    """Status and body, redirects not followed, certificates not checked."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    unchecked = ssl._create_unverified_context()
    opener = urllib.request.build_opener(Stay, urllib.request.HTTPSHandler(context=unchecked))
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, (error.headers.get("Set-Cookie") or "").encode() + error.read()


def cookie_for(url: str) -> str:
    """The cookie that a link's key is exchanged for."""
    status, body = get(url)
    assert status == 303
    return body.decode().split(";")[0]


def socket_to(running: Running, path: str, cookie: str = "", origin: str | None = "own") -> ClientConnection:
    secure = running.origin.startswith("https")
    return connect(
        running.origin.replace("http", "ws", 1) + path,
        origin=running.origin if origin == "own" else origin,  # type: ignore[arg-type]
        additional_headers={"Cookie": cookie} if cookie else {},
        ssl=ssl._create_unverified_context() if secure else None,
        max_size=None,
        max_queue=None,  # read whether or not the test does: else the answer that closes is never seen
    )


# --- in a browser --------------------------------------------------------------------------------------------------------


@pytest.fixture
def browser(tmp_path: Path, pictures: list[np.ndarray]) -> Iterator[Browser]:
    """Chromium whose camera films the sheet."""
    if CHROMIUM is None:
        pytest.skip("no chromium here: install Debian's chromium to test the page in a browser")
    film = tmp_path / "camera.mjpeg"
    with av.open(str(film), "w", format="mjpeg") as file:
        stream = file.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuvj420p"
        for picture in pictures:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode(None))
    camera = [
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={film}",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-quic", *camera])
        yield browser
        browser.close()


def open_page(browser: Browser, url: str) -> tuple[BrowserContext, list[str]]:
    """A window of its own at the link, and everything that goes wrong in it."""
    context = browser.new_context(ignore_https_errors=True, permissions=["camera"])
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: wrong.append(request.url) if "127.0.0.1" not in request.url else None)
    page.goto(url)
    return context, wrong


def test_two_browsers_watch_and_steer_one_session(running, browser: Browser) -> None:
    session = running()
    (one, wrong_one), (other, wrong_other) = (open_page(browser, session.page.url) for _ in range(2))
    first, second = one.pages[0], other.pages[0]
    assert "key=" not in first.url
    for page in (first, second):
        page.wait_for_selector("#picture:visible", timeout=WAIT_MS)
        page.wait_for_selector("tr.patch .bar b", state="attached", timeout=WAIT_MS)
        page.wait_for_selector("#map td small", timeout=WAIT_MS)
    assert first.text_content("#success") == "“blue thing” came first"
    assert first.locator("#top5 tr").count() == 4
    assert "0.40 m, yaw" in (first.text_content("#answer") or "")
    tab, frame = first.query_selector("#tabs button"), first.text_content("#numbers")
    expect(first.locator("#numbers")).not_to_have_text(frame or "", timeout=WAIT_MS)  # a later picture
    assert tab is not None and tab.evaluate("tab => tab.isConnected")  # a press or the focus on it is not lost
    findings = Axe().run(first).response["violations"]
    assert [(finding["id"], finding["nodes"][0]["html"]) for finding in findings] == []
    opaque = "() => document.getElementById('picture').getContext('2d').getImageData(320, 240, 1, 1).data[3]"
    assert first.evaluate(opaque) == 255
    second.click("#toggle")
    first.wait_for_selector("#state.paused", timeout=WAIT_MS)
    time.sleep(0.5)
    before = len(read_rows(session.out))
    time.sleep(0.5)
    assert len(read_rows(session.out)) == before
    first.click("#toggle")
    first.click("text=Mark")
    first.click("text=Follow the sheet")
    first.locator("#region", has_text="around the sheet").wait_for()
    box = first.locator("#screen").bounding_box()
    assert box is not None
    first.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.25 * box["height"])
    first.mouse.down()
    first.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.4 * box["height"])
    first.mouse.up()
    first.locator("#region", has_text="the square 1").wait_for()
    second.on("dialog", lambda dialog: dialog.accept())
    second.click("#stop")
    session.end()
    first.wait_for_selector("#state.ended", timeout=WAIT_MS)
    assert first.locator(".buttons button:not([disabled])").count() == 0
    kinds = [event.kind for event in read_events(session.out)]
    assert [k for k in kinds if k in ("pause", "resume", "mark", "stop")] == ["pause", "resume", "mark", "stop"]
    assert json.loads((session.out / "session.json").read_text())["status"] == "stopped by the person"
    left, _, side, _ = json.loads(read_rows(session.out)[-1].region or "")
    assert 150 < left < 170 and 150 < side < 170
    assert wrong_one == wrong_other == []


def test_a_plan_is_followed_on_the_page(running, browser: Browser) -> None:
    protocol = Protocol(("patch",), (0.4,), (0, 20), lights=("day", "lamp"), seconds=0.3, yaw_tolerance_deg=8)
    session = running(protocol=protocol)
    context, wrong = open_page(browser, session.page.url)
    page = context.pages[0]
    page.wait_for_selector("#confirm:visible", timeout=WAIT_MS)
    assert "change the light to" in (page.text_content("#hint") or "")
    page.click("#confirm")
    page.locator("#step", has_text="All steps are done.").wait_for(timeout=WAIT_MS)
    expect(page.locator("#map small", has_text="2 of 2")).to_have_count(2, timeout=WAIT_MS)
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("#stop")
    session.end()
    record = json.loads((session.out / "session.json").read_text())
    assert record["steps_done"] == [1, 2, 3, 4] and wrong == []
    filed = [row for row in read_rows(session.out) if row.step is not None]
    assert {row.light for row in filed} == {"day", "lamp"} and {row.clip for row in filed} == {1, 2, 3, 4}
    assert all(abs((row.yaw_deg or 0) - (0 if abs(row.yaw_deg or 0) < 10 else 20)) < 8 for row in filed)


def test_the_page_ends_with_the_totals_of_all_frames_and_shows_commands_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("captures.web.hub.full_state", lambda status: {"rates": status.frames})
    monkeypatch.setattr("captures.web.hub.frame_state", lambda analysis: {})
    shown, picture = Hub(), np.zeros((8, 8, 3), np.uint8)
    status = SessionStatus(Tally(None), PoseMap(EVERYWHERE), None, "center")
    for frames in (1, 2, 3):  # within a third of a second
        status.frames = frames
        shown.show(None, picture, status)  # type: ignore[arg-type]
    status.recording = False
    shown.poll(status)
    assert json.loads(shown.newest()[0])["recording"] is False
    shown.end()
    assert json.loads(shown.newest()[0])["rates"] == 3


def test_a_phone_that_sends_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("captures.web.phone._STALLED_S", 0.05)
    with PhoneSource() as phone:
        phone.connect()
        phone.put(np.zeros((8, 8, 3), np.uint8))
        assert next(iter(phone)).number == 1 and phone.status() == ""
        time.sleep(0.1)
        assert "bring its page to the front" in phone.status()
        phone.put(np.zeros((8, 8, 3), np.uint8))
        assert phone.status() == "" and [event.kind for event in phone.take_events()] == ["lost", "back"]


def test_a_machine_without_ipv6_serves_its_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel without it refuses its sockets, and so --lan ended with an error."""
    made = socket.socket

    def without_ipv6(family: int = socket.AF_INET, *more: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return made(family, *more)

    monkeypatch.setattr(socket, "socket", without_ipv6)
    assert all(":" not in address for address in lan_addresses())


def test_a_host_whose_name_is_not_ascii_has_a_certificate(tmp_path: Path) -> None:
    certificate, _, _ = write_certificate(tmp_path, ["127.0.0.1", "Büro-PC"])
    assert certificate.read_bytes().startswith(b"-----BEGIN CERTIFICATE")


def test_the_page_of_a_calibration_says_what_to_do(browser: Browser) -> None:
    with WebPage(say=lambda _: None) as served:
        served.guide(np.zeros((48, 64, 3), np.uint8), 3, "hold the board nearer")
        context, errors = open_page(browser, served.url)
        page = context.pages[0]
        page.locator("#instruction", has_text="hold the board nearer").wait_for(timeout=WAIT_MS)
        assert page.text_content("#numbers") == "3 used"
        for hidden in ("#toggle", "#success-so-far", "#plan", "[data-do=mark]"):
            expect(page.locator(hidden)).to_be_hidden()
        expect(page.locator("#stop")).to_be_visible()
        assert errors == []
        context.close()


def test_while_a_session_gets_ready_its_page_says_nothing_that_it_does_not_know(browser: Browser) -> None:
    with WebPage(say=lambda _: None) as served:
        context, errors = open_page(browser, served.url)
        page = context.pages[0]
        expect(page.locator("#state, .state, header").first).to_contain_text("getting ready", timeout=WAIT_MS)
        expect(page.locator("#sees")).to_be_hidden()
        assert errors == []
        context.close()


def test_on_a_phone_the_next_step_comes_before_the_buttons(running, browser: Browser) -> None:
    protocol = Protocol(("patch",), (0.4,), (0, 20), seconds=60)
    session = running(protocol=protocol)
    context, wrong = open_page(browser, session.page.url)
    page = context.pages[0]
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_selector("#plan:visible", timeout=WAIT_MS)
    picture, plan, controls = (page.locator(name).bounding_box() for name in ("#screen", "#plan", "#controls"))
    assert picture and plan and controls
    assert picture["y"] < plan["y"] < controls["y"] and plan["y"] + plan["height"] < 844
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert "undefined" not in page.inner_text("body")
    colours = {page.evaluate(f"getComputedStyle(document.querySelector('{b}')).color") for b in ("#stop", "#phone")}
    assert len(colours) == 2 and wrong == []


def test_a_phone_is_guided_through_a_calibration(browser: Browser) -> None:
    said: list[str] = []
    page, seen = WebPage(lan=True, say=said.append), []

    def film() -> None:
        for frame in page.phone:
            seen.append(frame)
            if not page.guide(frame.image, len(seen), "hold the board nearer"):
                return

    with page:
        filming = threading.Thread(target=film, daemon=True)
        filming.start()
        link = next(line.split(": ", 1)[1] for line in said if line.startswith("phone, once"))
        context, wrong = open_page(browser, f"https://127.0.0.1:{page.port}/?{link.split('?')[1]}")
        phone = context.pages[0]
        phone.locator("#instruction", has_text="hold the board nearer").wait_for(timeout=WAIT_MS)
        phone.wait_for_selector("#picture:visible", timeout=WAIT_MS)
        assert phone.is_hidden("#toggle") and phone.is_hidden("#mark") and phone.is_visible("#turn")
        phone.click("#done")
        filming.join(20)
        assert not filming.is_alive() and seen and wrong == []


def test_a_phone_films_a_session(running, browser: Browser) -> None:
    session = running(lan=True, phone=True)
    link = next(line.split(": ", 1)[1] for line in session.said if line.startswith("phone, once"))
    port = session.page.port
    context, wrong = open_page(browser, f"https://127.0.0.1:{port}/?{link.split('?')[1]}")
    phone = context.pages[0]
    phone.wait_for_selector("#picture:visible", timeout=WAIT_MS)  # the overlay comes back
    session.wait_rows(15)
    phone.click("#mark")
    watcher, _ = open_page(browser, session.page.url)
    watcher.pages[0].wait_for_selector("#picture:visible", timeout=WAIT_MS)
    context.close()  # the phone goes away ...
    watcher.pages[0].wait_for_selector("#state.trouble", timeout=WAIT_MS)
    watcher.pages[0].click("#phone")  # ... and another comes by a new link
    again = watcher.pages[0].wait_for_selector("#link a", timeout=WAIT_MS).get_attribute("href")
    seen = len(read_rows(session.out))
    context, wrong_again = open_page(browser, f"https://127.0.0.1:{port}/?{again.split('?')[1]}")
    session.wait_rows(seen + 5)
    watcher.pages[0].on("dialog", lambda dialog: dialog.accept())
    watcher.pages[0].click("#stop")
    session.end()
    rows = read_rows(session.out)
    assert all(row.condition == "patch" and row.delay_s is not None for row in rows)
    assert np.median([row.distance_m for row in rows if row.distance_m]) == pytest.approx(0.4, abs=0.01)
    kinds = [event.kind for event in read_events(session.out)]
    assert kinds == ["mark", "lost", "back", "stop"]
    record = json.loads((session.out / "session.json").read_text())
    assert record["gaps"] == 1 and record["frames"] == len(rows) and wrong == wrong_again == []


# --- everybody else ------------------------------------------------------------------------------------------------------


def test_no_key_wrong_key_used_key(running) -> None:
    session = running(lan=True)
    origin = session.origin
    assert get(origin + "/")[0] == 401
    assert get(origin + "/?key=guessed")[0] == 401
    assert get(origin + "/phone-link")[0] == 401
    link = session.page.new_phone_url()
    newer = session.page.new_phone_url()
    assert link and newer
    assert get(origin + "/?" + link.split("?")[1])[0] == 401  # a newer one was made
    cookie = cookie_for(origin + "/?" + newer.split("?")[1])
    assert get(origin + "/?" + newer.split("?")[1])[0] == 401  # used
    assert b"physpatch camera" in get(origin + "/", Cookie=cookie)[1]
    assert get(origin + "/phone-link", Cookie=cookie)[0] == 401  # a phone lets nobody else in
    assert b"physpatch session" in get(origin + "/", Cookie=cookie_for(session.page.url))[1]
    assert any("refused 127.0.0.1 at '/': 401" in line for line in session.said)
    session.wait_rows(3)


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py",
        "/static/..%2fserver.py",
        "/static/%2e%2e/%2e%2e/session.py",
        "//etc/passwd",
        "/static/page.html",
        "/static/page.js%00.css",
        "/session.db",
        "/" + "x" * 5000,
    ],
)
def test_path_tricks(running, path: str) -> None:
    session = running()
    status, body = get(session.origin + path, Cookie=cookie_for(session.page.url))
    assert status == 404 and b"import" not in body and b"root:" not in body
    session.wait_rows(2)


def test_foreign_names_and_origins(running) -> None:
    session = running()
    cookie = cookie_for(session.page.url)
    assert get(session.origin + "/", Cookie=cookie, Host="rebound.example:80")[0] == 403
    port = session.page.port
    assert get(session.origin + "/", Cookie=cookie, Host=f"LocalHost:{port}")[0] == 200
    assert _hosts(["127.0.0.1", "MyLaptop"], 443, "https") == {"127.0.0.1", "127.0.0.1:443", "mylaptop", "mylaptop:443"}
    assert _hosts(["127.0.0.1"], 443, "http") == {"127.0.0.1:443"}
    for origin in ("https://evil.example", "null", f"https://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}", None):
        for path in ("/ws/view", "/ws/camera"):
            with pytest.raises(InvalidStatus) as refusal:
                socket_to(session, path, cookie, origin=origin)
            assert refusal.value.response.status_code == 403
    for path, jar in (("/ws/view", ""), ("/ws/view", "physpatch=guessed"), ("/ws/camera", cookie)):
        with pytest.raises(InvalidStatus) as refusal:
            socket_to(session, path, jar)
        assert refusal.value.response.status_code == 401
    with socket_to(session, "/ws/view", cookie) as socket:
        socket.send("ready")
        assert "frames" in json.loads(socket.recv(10))
    session.wait_rows(3)


def test_only_this_machine_is_served_unless_asked(running) -> None:
    session = running()
    assert session.origin.startswith("http://127.0.0.1:") and session.page.new_phone_url() is None
    listening = session.page._server.servers[0].sockets[0].getsockname()[0]
    assert listening == "127.0.0.1"
    session.wait_rows(1)


def test_malformed_frames_end_in_4xx_and_the_session_goes_on(running) -> None:
    session = running(lan=True, phone=True)
    link = session.page.new_phone_url()
    assert link
    cookie = cookie_for(session.origin + "/?" + link.split("?")[1])
    _, good = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))
    _, bomb = cv2.imencode(".jpg", np.zeros((4100, 4100, 3), np.uint8))
    with socket_to(session, "/ws/camera", cookie) as socket:
        wide = good.tobytes().replace(b"\x00\x30\x00\x40", b"\xfd\xe8\xfd\xe8", 1)  # 65,000 pixels a side in its header
        for bad in (b"", b"no jpeg", good.tobytes()[:200], bomb.tobytes(), wide, "text", b"\xff\xd8\xff" + bytes(5000)):
            socket.send(bad)
            answer = json.loads(socket.recv(10))
            assert answer["error"] == 400, bad[:10]
        socket.send(good.tobytes())
        assert json.loads(socket.recv(10)) == {"ok": True}
        socket.send(bytes(MOST_BYTES + 1))
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(10)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 4413
    with socket_to(session, "/ws/camera", cookie) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            socket.send(bytes(2 * MOST_BYTES))  # refused by its announced length
            socket.recv(10)
        assert closed.value.rcvd is None or closed.value.rcvd.code == 1009
    with socket_to(session, "/ws/camera", cookie) as socket:
        socket.send(good.tobytes())
        assert json.loads(socket.recv(10)) == {"ok": True}
    session.wait_rows(1)


def test_a_second_phone_takes_the_place_of_the_first(running) -> None:
    """The frames of both came in turn, as of one camera."""
    session = running(lan=True, phone=True)
    _, picture = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))
    with ExitStack() as stack:
        phones = []
        for _ in range(2):
            link = session.page.new_phone_url()
            assert link
            cookie = cookie_for(session.origin + "/?" + link.split("?")[1])
            phones.append(stack.enter_context(socket_to(session, "/ws/camera", cookie)))
            phones[-1].send(picture.tobytes())
            assert json.loads(phones[-1].recv(10)) == {"ok": True}
        with pytest.raises(ConnectionClosed) as closed:
            phones[0].recv(10)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 4409
        phones[1].send(picture.tobytes())
        assert json.loads(phones[1].recv(10)) == {"ok": True}
        deadline = time.monotonic() + 10
        while session.page.phone.connected != 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_ten_thousand_malformed_messages_crash_nothing(running) -> None:
    session = running()
    cookie, chance = cookie_for(session.page.url), random.Random(0)
    makers: list[Callable[[], str | bytes]] = [
        lambda: chance.randbytes(chance.randrange(200)),
        lambda: "".join(chr(chance.randrange(32, 0x2FFF)) for _ in range(chance.randrange(60))),
        lambda: json.dumps(chance.choice([None, [], {}, 3, "x", {"do": 1}, {"do": "fly"}, {"do": "stop", "now": 1}])),
        lambda: json.dumps(
            {"do": "region", "value": chance.choice(["0,0,0", "9" * 300, "sheet:nan", "-1,-1,5", "a,b,c"])}
        ),
        lambda: json.dumps({"do": "condition", "value": str(chance.random())}),
        lambda: "[" * chance.randrange(1, 1900),
        lambda: "x" * 5000,
    ]
    sent = 0
    while sent < 10_000:
        with socket_to(session, "/ws/view", cookie) as socket:
            try:
                for _ in range(100):
                    socket.send(chance.choice(makers)())
                    sent += 1
            except ConnectionClosed as closed:
                assert closed.rcvd is not None and closed.rcvd.code == 4400
    before = len(read_rows(session.out))
    session.wait_rows(before + 5)
    assert get(session.origin + "/", Cookie=cookie)[0] == 200
    assert len(session.said) < 100  # the log is not flooded


def test_there_are_not_more_pages_than_a_session_can_serve(running, caplog) -> None:
    session = running()
    cookie = cookie_for(session.page.url)
    with ExitStack() as stack:
        for _ in range(MOST_SOCKETS):
            stack.enter_context(socket_to(session, "/ws/view", cookie))
        with pytest.raises(InvalidStatus) as refused:
            socket_to(session, "/ws/view", cookie)
        assert refused.value.response.status_code == 503 and b"close some" in refused.value.response.body
    until = time.monotonic() + 20
    while True:  # what was closed makes room, once the server has noticed
        try:
            with socket_to(session, "/ws/view", cookie):
                break
        except InvalidStatus:
            assert time.monotonic() < until
            time.sleep(0.1)
    session.wait_rows(len(read_rows(session.out)) + 2)
    assert caplog.text == ""


@pytest.mark.parametrize("message", ["x" * 2**20, bytes(2**20)])
def test_who_sends_megabytes_leaves_the_room_to_others(running, message: str | bytes, caplog) -> None:
    """All seats are taken by senders of a megabyte; each is sent away at its first, while a browser finds room at once."""
    session = running()
    cookie = cookie_for(session.page.url)
    with ExitStack() as stack:
        senders = [stack.enter_context(socket_to(session, "/ws/view", cookie)) for _ in range(MOST_SOCKETS)]
        for sender in senders:
            sender.send(message)
        until = time.monotonic() + 20
        while True:
            try:
                browser = stack.enter_context(socket_to(session, "/ws/view", cookie))
                break
            except InvalidStatus:
                assert time.monotonic() < until
        browser.send("ready")
        assert json.loads(browser.recv(20))["frames"] >= 0
        senders.pop().close()  # it does not wait to be told
        for sender in senders:
            with pytest.raises(ConnectionClosed) as closed:
                sender.recv(20)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 4413
    assert "413, the message is too large" in session.said[1]
    session.wait_rows(len(read_rows(session.out)) + 2)
    assert caplog.text == ""


def test_no_text_of_a_browser_ends_a_session(running) -> None:
    """A lone surrogate cannot be stored, a terminal's escape sequence must not be."""
    session = running()
    with socket_to(session, "/ws/view", cookie_for(session.page.url)) as socket:
        socket.send(r'{"do": "light", "value": "\ud800"}')
        socket.send(r'{"do": "mark", "value": "\u001b[2J\u0000 lamp"}')
        socket.send(r'{"do": "light", "value": "\ud83d\udca1 Lampe"}')
        time.sleep(0.5)
    session.wait_rows(len(read_rows(session.out)) + 5)
    assert [event.words for event in read_events(session.out)] == ["\ufffd", " [2J  lamp", "\U0001f4a1 Lampe"]
    assert read_rows(session.out)[-1].light == "\U0001f4a1 Lampe"


def test_a_frame_is_looked_at_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    _, packed = cv2.imencode(".jpg", np.full((48, 64, 3), (10, 20, 200), np.uint8))
    assert decode_jpeg(packed.tobytes()).shape == (48, 64, 3)
    header = packed.tobytes().index(b"\xff\xc0") + 5  # height and width, of 16 bits each
    vast = bytearray(packed.tobytes())
    vast[header : header + 4] = struct.pack(">HH", 65_000, 65_000)
    monkeypatch.setattr(JpegImageFile, "load", lambda self: pytest.fail("it was decoded"))
    with pytest.raises(InputError, match="the frame cannot be used"):
        decode_jpeg(bytes(vast))


def test_silent_connections_leave_files_to_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand of them took all files that the process may open, and the session ended."""
    monkeypatch.setattr(server, "_MOST_CONNECTIONS", 8)
    monkeypatch.setattr(server, "_FIRST_REQUEST_S", 1.0)
    with WebPage(say=lambda _: None) as page, ExitStack() as stack:
        silent = [stack.enter_context(socket.create_connection(("127.0.0.1", page.port), 5)) for _ in range(30)]
        ends = []
        for connection in silent[8:]:
            with suppress(ConnectionResetError):
                ends.append(connection.recv(1))
        assert not any(ends)  # refused at once
        assert [connection.recv(1) for connection in silent[:8]] == [b""] * 8  # they said nothing
        with pytest.raises(urllib.error.HTTPError, match="401"):  # others are answered
            urllib.request.urlopen(f"http://127.0.0.1:{page.port}/", timeout=5)

"""Sources: files in full, live ones never behind, failures in words and in time."""

import json
import os
import re
import threading
import time
from collections.abc import Sequence
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from support import write_huge_png

from calibration.common.errors import InputError, UnavailableError
from calibration.common.text import without_password
from captures.session.live_session import SessionConfig, run_session
from captures.sources import cameras, opencv
from captures.sources.cameras import CameraSource
from captures.sources.frame import UNREADABLE
from captures.sources.opening import StagedScenes, StillsSource, VideoSource, open_source
from captures.sources.takes import TakesSource
from captures.storage import read_events, read_rows
from captures.viewers.controls import Command


def write_stills(folder: Path, count: int = 3) -> Path:
    folder.mkdir(exist_ok=True)
    for i in range(count):
        cv2.imwrite(str(folder / f"{i:03d}.png"), np.full((48, 64, 3), (10 * i, 0, 200), np.uint8))
    return folder


def write_video(path: Path, frames: int = 12) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 20, (64, 48))
    for i in range(frames):
        writer.write(np.full((48, 64, 3), (0, 0, 20 * i), np.uint8))
    writer.release()
    return path


def write_lively_video(path: Path, frames: int, codec: str = "mp4v") -> Path:
    """A texture that moves, so that each frame takes about the same room in the file."""
    texture = cv2.resize(np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8), (240, 160))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 20, (240, 160))
    for i in range(frames):
        writer.write(np.roll(texture, 4 * i, axis=1))
    writer.release()
    return path


class FakeCapture:
    """Sixty pictures a second, numbered by their brightness; ends or stalls after ``count``."""

    def __init__(self, count: int = 200, *, stall: bool = False, opened: bool = True, length: int = -1) -> None:
        self.number, self.count, self.stall, self.opened = 0, count, stall, opened
        self.released, self.length = threading.Event(), length

    def isOpened(self) -> bool:
        return self.opened

    def get(self, name: int) -> float:
        return float(self.length) if name == cv2.CAP_PROP_FRAME_COUNT else 0.0

    def read(self):
        time.sleep(1 / 60)
        if self.number >= self.count:
            if self.stall:
                self.released.wait(20)
            return False, None
        self.number += 1
        return True, np.full((4, 4, 3), self.number % 256, np.uint8)

    def release(self) -> None:
        self.released.set()


def test_stills_come_once_each_in_order_as_rgb(tmp_path: Path) -> None:
    with open_source(str(write_stills(tmp_path / "stills"))) as source:
        assert isinstance(source, StillsSource)
        frames = list(source)
    assert [f.clip for f in frames] == [0, 1, 2]
    assert frames[2].image[0, 0].tolist() == [200, 0, 20]
    with open_source(str(tmp_path / "stills/001.png")) as source:
        assert len(list(source)) == 1


def test_stills_of_which_none_can_be_read_are_refused_however_soon_events_are_taken(tmp_path: Path) -> None:
    for name in ("1.png", "2.png"):
        (tmp_path / name).write_bytes(b"no picture")

    class Taken(StillsSource):
        captured = property(lambda self: 0, lambda self, number: self.take_events())  # by the session, meanwhile

    with pytest.raises(InputError, match=r"1\.png"):
        list(Taken(sorted(tmp_path.glob("*.png")), tmp_path))


def test_a_streams_password_is_in_no_name() -> None:
    assert without_password("rtsp://user:p@ss@cam.example:554/1?a=@") == "rtsp://***@cam.example:554/1?a=@"
    assert without_password("http://cam/1") == "http://cam/1" and without_password("me@home.mp4") == "me@home.mp4"
    assert without_password("rtsp://10.0.0.5:554/user=admin&password=tl") == "rtsp://10.0.0.5:554/user=***&password=***"
    assert (
        without_password("http://cam/video.cgi?user=a&pwd=secret&size=2")
        == "http://cam/video.cgi?user=***&pwd=***&size=2"
    )
    assert without_password("rtsp://admin:pa/ss@10.0.0.5/s") == "rtsp://***@10.0.0.5/s"
    assert without_password("rtsp://10.0.0.5?usr=a&auth_token=x") == "rtsp://10.0.0.5?usr=***&auth_token=***"
    assert without_password("http://[::1]:8080/a@b") == "http://[::1]:8080/a@b"


def test_a_video_is_read_in_full(tmp_path: Path) -> None:
    with open_source(str(write_video(tmp_path / "clip.mp4"))) as source:
        assert isinstance(source, VideoSource) and source.fps == pytest.approx(20)
        frames = list(source)
    assert len(frames) == 12
    assert [f.time_s for f in frames] == pytest.approx(np.arange(12) / 20)
    assert frames[11].image[..., 0].mean() > 180 > frames[11].image[..., 2].mean()  # red is first


def test_a_folder_of_videos_is_a_clip_each_and_names_tell_the_sheet(tmp_path: Path) -> None:
    takes = tmp_path / "takes"
    takes.mkdir()
    for name in ("grey-2.mp4", "patch-1.mp4", "walk.mp4"):
        write_video(takes / name)
    (takes / "broken.mp4").write_bytes(b"no video")
    with open_source(str(takes)) as source:
        assert isinstance(source, TakesSource) and not isinstance(source, StagedScenes)
        assert source.files == ["broken.mp4", "grey-2.mp4", "patch-1.mp4", "walk.mp4"] and source.fps == pytest.approx(
            20
        )
        frames = list(source)
        (event,) = source.take_events()
    assert event.kind == "unreadable" and "broken.mp4" in event.words
    assert [frame.number for frame in frames] == list(range(1, 37)) and source.captured == 36
    assert [frame.clip for frame in frames] == [1] * 12 + [2] * 12 + [3] * 12
    assert [frame.condition for frame in frames[::12]] == ["grey", "patch", None]
    times = np.diff([frame.time_s for frame in frames])
    assert (times > 0).all() and np.flatnonzero(times > 1).tolist() == [11, 23]


def test_takes_that_were_filmed_stay_first_and_must_be_there(tmp_path: Path) -> None:
    for name in ("2.mp4", "1.mp4"):
        write_video(tmp_path / name)
    with open_source(str(tmp_path)) as source:
        assert isinstance(source, TakesSource)
        assert source.behind(["2.mp4"]).files == ["2.mp4", "1.mp4"]
        with pytest.raises(InputError, match=r"3\.mp4 was filmed before and is gone"):
            source.behind(["3.mp4"])
        seen = 0
        for _ in source:
            seen += 1
            source.close()
        assert seen == 1
    (tmp_path / "none").mkdir()
    (tmp_path / "none/1.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match=r"1\.mp4 cannot be decoded as a video"):
        open_source(str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("notes.txt", b"hello", "is not a video"),
        ("broken.mp4", b"not a video", "cannot be decoded as a video"),
        ("missing.mp4", None, "no source .*expected the index"),
    ],
)
def test_unusable_files_are_refused(tmp_path: Path, name: str, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words):
        open_source(str(tmp_path / name))


def test_empty_and_broken_stills(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="contains no pictures"):
        open_source(str(tmp_path))
    (tmp_path / "a.jpg").write_bytes(b"no")
    with pytest.raises(InputError, match=r"broken image .*a\.jpg .*remove or replace it"):
        list(open_source(str(tmp_path)))


def test_damaged_stills_are_left_out_and_noted(tmp_path: Path) -> None:
    """A cut-off JPEG, an empty file and one that is too large: each is an event, and the others are shown."""
    stills = write_stills(tmp_path / "stills")
    whole = (stills / "000.png").read_bytes()
    (stills / "0.png").write_bytes(b"")
    (stills / "2.png").write_bytes(whole[: len(whole) // 2])
    cv2.imwrite(str(stills / "3.jpg"), np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8))
    jpeg = (stills / "3.jpg").read_bytes()
    (stills / "3.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    write_huge_png(stills / "4.png", 20_000)
    with open_source(str(stills)) as source:
        frames = list(source)
        events = source.take_events()
    assert [frame.number for frame in frames] == [2, 3, 4] and source.captured == 7
    assert [event.kind for event in events] == [UNREADABLE] * 4
    assert ["0.png" in events[0].words, "2.png" in events[1].words, "3.jpg" in events[2].words] == [True] * 3
    assert "at most 120 megapixels" in events[3].words


def test_a_still_may_have_any_name(tmp_path: Path) -> None:
    """A name that is not UTF-8 made OpenCV crash."""
    stills = write_stills(tmp_path / "stills")
    odd = (stills / "001.png").rename(stills / os.fsdecode(b"\xff.png"))
    with open_source(str(stills)) as source:
        assert len(list(source)) == 3
    with pytest.raises(InputError, match="OpenCV opens no video with such a name; rename it"):
        open_source(str(odd.rename(odd.with_suffix(".mp4"))))


def test_a_video_with_noise_in_its_middle_loses_only_that(tmp_path: Path) -> None:
    video = write_lively_video(tmp_path / "clip.mp4", 30)
    data = bytearray(video.read_bytes())
    third = len(data) // 3
    data[third : 2 * third] = np.random.default_rng(0).bytes(third)
    video.write_bytes(data)
    with open_source(str(video)) as source:
        frames = list(source)
        events = source.take_events()
    assert 6 < len(frames) < 30 and source.captured == 30
    numbers = [frame.number for frame in frames]
    assert numbers[:3] == [1, 2, 3] and numbers[-1] == 30
    assert [frame.time_s for frame in frames] == pytest.approx([(number - 1) / 20 for number in numbers])
    kinds = [event.kind for event in events]
    assert kinds == ["lost", "back"] * (len(kinds) // 2) and kinds
    assert "of clip.mp4: missing or damaged" in events[0].words
    lost = sum(back.time_s - gone.time_s for gone, back in zip(events[::2], events[1::2], strict=True))
    assert lost == pytest.approx((30 - len(frames)) / 20)


def test_a_video_that_ends_too_early_says_so(tmp_path: Path) -> None:
    video = write_lively_video(tmp_path / "clip.avi", 40, "MJPG")
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    with open_source(str(video)) as source:
        frames = list(source)
        event, end = source.take_events()
    assert end.kind == "back" and end.time_s == 2 and end.words == "the file's end"
    assert len(frames) < 30 and source.captured == 40
    assert event.words == f"frames {len(frames) + 1} to 40 of clip.avi: missing or damaged" and event.kind == "lost"


def write_film(path: Path, moments: Sequence[int], **options: str) -> Path:
    """A film whose frames come at ``moments``, in milliseconds; each fifth begins a fragment or group."""
    with av.open(str(path), "w", options=options) as file:
        stream = file.add_stream("mpeg4", rate=20)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 64, 48, "yuv420p", 5
        stream.options = {"sc_threshold": "1000000000"}  # keyframes only where a group begins
        stream.codec_context.time_base = Fraction(1, 1000)
        picture = np.zeros((48, 64, 3), np.uint8)
        for moment in moments:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = moment, Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def test_fragments_lost_with_their_headers_are_counted(tmp_path: Path) -> None:
    """Nothing fails to decode then: only the times tell that frames are missing."""
    film = write_film(tmp_path / "clip.mp4", range(0, 1500, 50), movflags="frag_keyframe+empty_moov+default_base_moof")
    data = film.read_bytes()
    starts = [match.start() for match in re.finditer(b"moof", data)]
    for start in starts[2:4]:
        data = data[:start] + b"free" + data[start + 4 :]
    film.write_bytes(data)
    with open_source(str(film)) as source:
        numbers = {frame.number: frame.time_s for frame in source}
        events = source.take_events()
    assert list(numbers) == [*range(1, 11), *range(21, 31)] and source.captured == 30
    assert list(numbers.values()) == pytest.approx([(number - 1) / 20 for number in numbers])
    assert [(event.kind, round(event.time_s, 3)) for event in events] == [("lost", 0.5), ("back", 1.0)]
    assert events[0].words == "frames 11 to 20 of clip.mp4: missing or damaged"


def test_a_variable_frame_rate_is_no_loss(tmp_path: Path) -> None:
    """Phones film slower in the dark."""
    moments = [0, 50, 100, 150, 250, 350, 500, 650, 700, 750]
    with open_source(str(write_film(tmp_path / "clip.mp4", moments))) as source:
        frames = list(source)
        assert source.take_events() == []
    assert [frame.number for frame in frames] == list(range(1, 11))
    assert [frame.time_s for frame in frames] == pytest.approx([moment / 1000 for moment in moments])


def test_a_time_lapse_is_no_loss(tmp_path: Path) -> None:
    with open_source(str(write_film(tmp_path / "clip.mp4", [2000 * i for i in range(8)]))) as source:
        frames = list(source)
        assert source.take_events() == [] and source.fps == pytest.approx(0.5, rel=0.2)
    assert [frame.number for frame in frames] == list(range(1, 9)) and source.captured == 8


def test_a_number_of_frames_that_is_damaged_does_not_hang(tmp_path: Path) -> None:
    """Two thousand million frames were read, one by one."""
    video = write_lively_video(tmp_path / "clip.avi", 12, "MJPG")
    data = video.read_bytes()
    for name, offset in ((b"avih", 8 + 16), (b"strh", 8 + 32)):
        at = data.index(name) + offset
        assert int.from_bytes(data[at : at + 4], "little") == 12
        data = data[:at] + (2**31 - 1).to_bytes(4, "little") + data[at + 4 :]
    video.write_bytes(data)
    started = time.monotonic()
    with open_source(str(video)) as source:
        assert len(list(source)) == 12 and source.take_events() == []
    assert time.monotonic() - started < 5


def test_a_missing_camera_is_said_within_five_seconds(capfd) -> None:
    started = time.monotonic()
    with pytest.raises(UnavailableError, match="camera 97 does not open; check that it is connected"):
        open_source("97")
    assert time.monotonic() - started < 5
    assert capfd.readouterr().err == ""  # OpenCV's own warnings are kept off the terminal


def test_a_dead_stream_is_said_within_five_seconds() -> None:
    started = time.monotonic()
    with pytest.raises(UnavailableError, match=r"stream http://127.0.0.1:9/video does not open"):
        open_source("http://127.0.0.1:9/video")
    assert time.monotonic() - started < 5


def test_an_http_stream_is_played() -> None:
    """A motion-JPEG stream over loopback, as many network cameras send."""

    class Camera(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for i in range(250):
                _, packed = cv2.imencode(".jpg", np.full((48, 64, 3), (0, 0, i), np.uint8))
                try:
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(packed)}\r\n\r\n"
                    self.wfile.write(head.encode() + packed.tobytes() + b"\r\n")
                except OSError:
                    return
                time.sleep(0.02)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with open_source(f"http://127.0.0.1:{server.server_address[1]}/video.mjpg") as source:
            assert isinstance(source, CameraSource)
            frames = [frame for frame, _ in zip(source, range(5), strict=False)]
        server.shutdown()
    assert all(frame.image.shape == (48, 64, 3) for frame in frames)
    brightness = [float(frame.image[..., 0].mean()) for frame in frames]
    assert brightness == sorted(brightness) and brightness[-1] > brightness[0]


def test_twenty_disconnects_are_survived_and_told(tiny_victim, tmp_path: Path, monkeypatch) -> None:
    """A camera on the network that hangs up after every tenth frame."""
    monkeypatch.setattr(cameras, "_FIRST_WAIT_S", 0.02)

    class Camera(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for _ in range(10):
                _, packed = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(packed)}\r\n\r\n"
                self.wfile.write(head.encode() + packed.tobytes() + b"\r\n")
                time.sleep(0.02)

        def log_message(self, *_: object) -> None: ...

    class Counting:
        back = 0

        def show(self, *_: object) -> None: ...

        def poll(self, _standing) -> list[Command]:
            self.back = len([e for e in read_events(tmp_path / "session") if e.kind == "back"])
            return [Command("stop")] if self.back >= 20 else []

    with ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with open_source(f"http://127.0.0.1:{server.server_address[1]}/video.mjpg") as source:
            run_session(source, SessionConfig(tiny_victim, grad_cam=False), tmp_path / "session", viewers=[Counting()])
        server.shutdown()
    events = [event.kind for event in read_events(tmp_path / "session")]
    assert events[:40] == ["lost", "back"] * 20
    record = json.loads((tmp_path / "session/session.json").read_text())
    rows = read_rows(tmp_path / "session")
    assert record["gaps"] >= 20 and record["gap_seconds"] > 0.2 and record["frames"] == len(rows) >= 40
    assert record["captured"] - record["dropped"] - record["frames"] in (0, 1, 2, 3)  # under way at the end
    times = [row.time_s for row in rows]
    assert times == sorted(times) and all(row.delay_s is not None and row.delay_s < 5 for row in rows)


def test_a_driver_that_blocks_is_given_up(monkeypatch) -> None:
    monkeypatch.setattr(opencv, "OPEN_SECONDS", 0.2)
    waiting = threading.Event()
    with pytest.raises(UnavailableError, match="does not open"):
        CameraSource(lambda: waiting.wait(5), "camera")  # type: ignore[arg-type]
    waiting.set()


def test_a_slow_consumer_gets_the_newest_frame_and_drops_are_counted() -> None:
    capture = FakeCapture()
    with CameraSource(lambda: capture, "camera") as source:
        numbers = []
        for frame in source:
            numbers.append((int(frame.image[0, 0, 0]), capture.number))
            time.sleep(0.1)
            if len(numbers) == 6:
                break
        assert all(produced - shown <= 1 for shown, produced in numbers)  # never behind
        assert source.dropped >= 15
    assert capture.released.is_set()


def test_a_file_behind_a_url_ends_where_it_ends() -> None:
    with CameraSource(lambda: FakeCapture(5, length=5), "stream") as source:
        assert 1 <= len(list(source)) <= 5
    assert source.take_events() == []


def test_a_lost_camera_is_opened_again_and_the_gap_is_told(monkeypatch) -> None:
    monkeypatch.setattr(cameras, "_FIRST_WAIT_S", 0.05)
    opened = 0

    def plug_in() -> FakeCapture:
        nonlocal opened
        opened += 1
        return FakeCapture(5, opened=opened != 2)  # the second time it is still away

    with CameraSource(plug_in, "camera 0") as source:  # type: ignore[arg-type]
        frames = [frame for frame, _ in zip(source, range(12), strict=False)]
    assert opened >= 4
    events = source.take_events()
    assert [event.kind for event in events[:4]] == ["lost", "back", "lost", "back"]
    assert events[0].words == "camera 0 no longer sends frames; trying again"
    assert 0.1 < events[1].time_s - events[0].time_s < 1  # it was tried twice
    assert [f.time_s for f in frames] == sorted(f.time_s for f in frames)
    assert [f.number for f in frames] == sorted({f.number for f in frames})


def test_a_stalled_camera_is_given_up_after_a_while(monkeypatch) -> None:
    monkeypatch.setattr(cameras, "_STALL_SECONDS", 0.3)
    captures = [FakeCapture(2, stall=True)]

    def plug_in() -> FakeCapture:
        return captures.pop() if captures else FakeCapture(opened=False)

    stalled = captures[0]
    words = r"camera 0 does not open and did not recover within 0\.5 s; earlier frames are kept"
    with pytest.raises(UnavailableError, match=words), CameraSource(plug_in, "camera 0", 0.5) as source:
        list(source)
    (lost,) = source.take_events()
    assert lost.kind == "lost" and lost.time_s < 0.2  # since its last frame, not since that was noticed
    stalled.released.set()


def test_a_source_can_be_ended_while_nothing_comes() -> None:
    with CameraSource(lambda: FakeCapture(1, stall=True), "camera 0") as source:
        threading.Timer(0.2, source.close).start()
        assert len(list(source)) <= 1


def test_an_exception_in_the_loop_frees_the_camera() -> None:
    capture = FakeCapture()
    with pytest.raises(RuntimeError, match="planted"), CameraSource(lambda: capture, "camera") as source:
        for _ in source:
            raise RuntimeError("planted")
    assert capture.released.is_set()

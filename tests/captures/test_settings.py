"""What is asked of a camera, and what drivers make of it."""

import json
from types import SimpleNamespace

import cv2
import pytest
from support import frame_row

from calibration.common.errors import InputError
from captures.results.alike import unlike_settings
from captures.sources import cameras
from captures.sources.camera_settings import CameraSettings, read_back
from captures.sources.cameras import CameraSource, find_camera
from captures.sources.opening import open_source
from captures.storage import FrameRow


class Driver:
    """A camera with a driver's habits: three resolutions, no focus, an exposure that rounds."""

    def __init__(self, backend: str = "V4L2") -> None:
        self.backend = backend
        self.values = {
            cv2.CAP_PROP_FRAME_WIDTH: 640.0,
            cv2.CAP_PROP_FRAME_HEIGHT: 480.0,
            cv2.CAP_PROP_FPS: 30.0,
            cv2.CAP_PROP_FOURCC: float(cv2.VideoWriter.fourcc(*"YUYV")),
            cv2.CAP_PROP_EXPOSURE: 157.0,
            cv2.CAP_PROP_AUTO_EXPOSURE: 3.0,
            cv2.CAP_PROP_AUTO_WB: 1.0,
            cv2.CAP_PROP_WB_TEMPERATURE: 4600.0,
        }

    def getBackendName(self) -> str:
        return self.backend

    def get(self, name: int) -> float:
        return self.values.get(name, -1.0)

    def set(self, name: int, value: float) -> bool:
        if name == cv2.CAP_PROP_FPS:
            return False
        if name in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT) and value not in (640, 480, 1280, 720):
            return False
        if name not in self.values:
            return False
        self.values[name] = value
        return True


def test_a_driver_does_what_it_can_and_the_rest_is_told() -> None:
    driver = Driver()
    wanted = ["resolution=1280x720", "format=mjpg", "exposure=lock", "white-balance=5000", "focus=lock", "fps=60"]
    refused = CameraSettings.parse(wanted).apply(driver)  # type: ignore[arg-type]
    assert refused == ["fps 60 refused: the camera uses 30", "focus lock refused by the driver"]
    assert driver.values[cv2.CAP_PROP_FRAME_WIDTH] == 1280 and driver.values[cv2.CAP_PROP_FRAME_HEIGHT] == 720
    assert driver.values[cv2.CAP_PROP_EXPOSURE] == 157 and driver.values[cv2.CAP_PROP_AUTO_EXPOSURE] == 1
    assert driver.values[cv2.CAP_PROP_WB_TEMPERATURE] == 5000 and driver.values[cv2.CAP_PROP_AUTO_WB] == 0
    assert driver.values[cv2.CAP_PROP_FOURCC] == cv2.VideoWriter.fourcc(*"MJPG")


def test_what_is_locked_stays_where_it_was_when_the_camera_is_opened_again() -> None:
    first, again = Driver(), Driver()
    again.values[cv2.CAP_PROP_EXPOSURE] = 40.0  # what it begins with after its cable was out
    settings = CameraSettings.parse(["exposure=lock", "white-balance=auto", "focus=lock"])
    settings.apply(first)  # type: ignore[arg-type]
    locked = settings.locked(first)  # type: ignore[arg-type]
    assert locked.asked == {"exposure": "157.0", "white_balance": "auto", "focus": "lock"}
    assert locked.apply(again) == ["focus lock refused by the driver"]  # type: ignore[arg-type]
    assert again.values[cv2.CAP_PROP_EXPOSURE] == 157
    assert settings.held({"exposure": 80.0, "gain": 1.0}).asked["exposure"] == "80.0"


def test_a_resolution_that_the_camera_does_not_have() -> None:
    refused = CameraSettings.parse(["resolution=9999x7777"]).apply(Driver())  # type: ignore[arg-type]
    assert refused == ["resolution 9999x7777 refused: the camera sends 640x480"]


def test_backends_number_their_exposure_modes_otherwise() -> None:
    driver = Driver("DSHOW")
    CameraSettings.parse(["exposure=auto"]).apply(driver)  # type: ignore[arg-type]
    assert driver.values[cv2.CAP_PROP_AUTO_EXPOSURE] == 0.75


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("exposure", "expected NAME=VALUE"),
        ("zoom=3", "unknown camera setting 'zoom'"),
        ("exposur=lock", "did you mean 'exposure'"),
        ("resolution=big", "expected WIDTHxHEIGHT"),
        ("focus=near", "expected auto, lock or a number"),
        ("fps=0", "expected a number"),
    ],
)
def test_settings_that_cannot_be(pair: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        CameraSettings.parse([pair])


def test_cameras_are_found_by_their_names(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    names = {0: "Integrated Webcam", 1: "Integrated Webcam", 2: "Logitech BRIO", 4: "Logitech C920"}
    monkeypatch.setattr(cameras, "camera_names", lambda: names)
    assert find_camera("brio") == 2 and find_camera("webcam") == 0 and find_camera("kinect") is None
    with pytest.raises(InputError, match="'logitech' matches several cameras: Logitech BRIO, Logitech C920"):
        find_camera("logitech")
    opened = []
    monkeypatch.setattr(CameraSource, "camera", lambda *arguments: opened.append(arguments))
    open_source("C920", CameraSettings.parse(["fps=30"]))
    ((find, settings, name),) = opened
    assert (find(), settings.asked, name) == (4, {"fps": "30"}, "C920")
    del names[0], names[1]
    names[2], names[4] = names[4], names[2]  # the built-in one is off, and the cables changed places
    assert find() == 2
    names[5] = "Logitech C920 Pro"
    assert find_camera("logitech c920") == 2  # one's whole name is part of another's
    with pytest.raises(InputError, match="is not a camera, so fps cannot be set"):
        open_source(str(tmp_path), CameraSettings.parse(["fps=30"]))


def test_the_list_of_cameras_has_each_ones_first_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(isinstance(index, int) and isinstance(name, str) for index, name in cameras.camera_names().items())
    listed = [SimpleNamespace(index=index, name=name) for index, name in ((0, "Built-in"), (4, "C920"))]
    monkeypatch.setattr("cv2_enumerate_cameras.enumerate_cameras", lambda *_: listed)
    assert cameras.camera_names() == {0: "Built-in", 4: "C920"}


def test_what_a_driver_tells_of_a_frame_is_read_back() -> None:
    driver = Driver()
    assert read_back(driver) == {"exposure": 157.0, "white_balance": 4600.0}  # type: ignore[arg-type]
    driver.values[cv2.CAP_PROP_GAIN] = 0.0
    assert read_back(driver)["gain"] == 0.0  # type: ignore[arg-type]
    driver.backend = "DSHOW"  # OpenCV answers so there for what a driver does not have
    assert "gain" not in read_back(driver)  # type: ignore[arg-type]


def test_patch_and_controls_filmed_otherwise_are_told() -> None:
    def rows(sheet: str, clip: int, **camera: float) -> list[FrameRow]:
        words = json.dumps(camera)
        return [frame_row(10 * clip + i, sheet, clip, "red thing", camera=words) for i in range(5)]

    patch = rows("patch", 0, exposure=157, white_balance=4600, focus=30)
    assert unlike_settings([*patch, *rows("grey", 1, exposure=160, white_balance=4600)]) == []
    changed = [*patch, *rows("grey", 1, exposure=300, white_balance=4600), *rows("random", 2, exposure=157, focus=60)]
    assert unlike_settings(changed) == [
        "exposure 157 with the patch, 300 with grey",
        "focus 30 with the patch, 60 with random",
    ]
    assert unlike_settings([frame_row(1, "patch", 0, "red thing"), frame_row(2, "grey", 1, "red thing")]) == []

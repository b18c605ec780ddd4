"""What is asked of a camera, and what drivers make of it."""

import cv2
import pytest

from calibration.common.errors import InputError
from captures.sources import cameras
from captures.sources.camera_settings import CameraSettings
from captures.sources.cameras import CameraSource, find_camera
from captures.sources.opening import open_source


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
    monkeypatch.setattr(CameraSource, "camera", lambda index, settings: opened.append((index, settings.asked)))
    open_source("C920", CameraSettings.parse(["fps=30"]))
    assert opened == [(4, {"fps": "30"})]
    with pytest.raises(InputError, match="is not a camera, so fps cannot be set"):
        open_source(str(tmp_path), CameraSettings.parse(["fps=30"]))


def test_the_real_list_of_cameras_can_be_asked_for() -> None:
    assert all(isinstance(index, int) and isinstance(name, str) for index, name in cameras.camera_names().items())

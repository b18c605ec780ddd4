"""Camera settings: resolution, frame rate, format, exposure, white balance and focus."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import cv2

from calibration.common.errors import InputError, unknown_name

_READ_BACK = {  # what a driver may tell of each frame
    "exposure": cv2.CAP_PROP_EXPOSURE,
    "gain": cv2.CAP_PROP_GAIN,
    "white_balance": cv2.CAP_PROP_WB_TEMPERATURE,
    "focus": cv2.CAP_PROP_FOCUS,
}
# OpenCV's answers for what a driver does not have. Of Video for Linux a 0 is a value: no gain, or a focus at infinity.
_NOT_TOLD = {"V4L2": (-1.0,)}
_OTHERS_NOT_TOLD = (-1.0, 0.0)
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_EXTENT = re.compile(r"(\d+)x(\d+)", re.IGNORECASE)
_LOCKABLE = {  # settings with an automatic mode: property of the value, property of the mode
    "exposure": (cv2.CAP_PROP_EXPOSURE, cv2.CAP_PROP_AUTO_EXPOSURE),
    "white_balance": (cv2.CAP_PROP_WB_TEMPERATURE, cv2.CAP_PROP_AUTO_WB),
    "focus": (cv2.CAP_PROP_FOCUS, cv2.CAP_PROP_AUTOFOCUS),
}
# Video for Linux has exposure modes 1 (manual) and 3 (automatic); OpenCV's other backends use 0.25 and 0.75.
_EXPOSURE_MODES = {"V4L2": {False: 1.0, True: 3.0}}
_OTHER_EXPOSURE_MODES = {False: 0.25, True: 0.75}
_TOLERANCE = 0.02  # drivers round


@dataclass(frozen=True)
class CameraSettings:
    """Requested settings by name.

    ``resolution`` (640x480), ``fps``, ``format`` (MJPG); ``exposure``, ``white_balance`` and ``focus`` are each ``auto``,
    ``lock`` (keep the current value) or a number in the driver's units.
    """

    asked: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, pairs: Sequence[str]) -> "CameraSettings":
        """Parse ``name=value`` pairs.

        Raises:
            InputError: if a pair is malformed, its name is unknown or its value is invalid.
        """
        settings: dict[str, str] = {}
        for pair in pairs:
            name, equals, value = (part.strip() for part in pair.partition("="))
            name = name.lower().replace("-", "_")
            if not equals or not value:
                raise InputError(f"invalid camera setting {pair!r}; expected NAME=VALUE, such as exposure=lock")
            if name not in _KINDS:
                raise unknown_name("camera setting", name, _KINDS)
            words, fits, _ = _KINDS[name]
            if not fits(value):
                raise InputError(f"camera setting {name}={value}: expected {words}")
            settings[name] = value
        return cls(settings)

    def apply(self, capture: cv2.VideoCapture) -> list[str]:
        """Apply the settings to an open capture; return messages about those that the driver refused."""
        refused = [ask(capture, name, self.asked[name]) for name, (_, _, ask) in _KINDS.items() if name in self.asked]
        return [words for words in refused if words]

    def locked(self, capture: cv2.VideoCapture) -> "CameraSettings":
        """Return these settings with what is locked as the numbers that an open capture tells, where it tells them.

        A camera that is opened again, as after its cable was out, begins with values of its own.
        """
        return self.held(read_back(capture))

    def held(self, told: Mapping[str, float]) -> "CameraSettings":
        """Return these settings with what is locked as the numbers that a camera told, in the driver's units, where it did."""
        return CameraSettings(
            {n: f"{told[n]!r}" if value == "lock" and n in told else value for n, value in self.asked.items()}
        )


def read_back(capture: cv2.VideoCapture) -> dict[str, float]:
    """Return exposure, gain, white balance and focus of an open capture, in the driver's units, as far as the driver tells."""
    values = {name: float(capture.get(number)) for name, number in _READ_BACK.items()}
    not_told = _NOT_TOLD.get(capture.getBackendName(), _OTHERS_NOT_TOLD)
    return {name: value for name, value in values.items() if value not in not_told}


def _set_resolution(capture: cv2.VideoCapture, _name: str, value: str) -> str:
    width, height = (int(n) for n in value.lower().split("x"))
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
    got = round(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), round(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    return "" if got == (width, height) else f"resolution {value} refused: the camera sends {got[0]}x{got[1]}"


def _set_fps(capture: cv2.VideoCapture, _name: str, value: str) -> str:
    capture.set(cv2.CAP_PROP_FPS, float(value))
    return _differs("fps", float(value), capture.get(cv2.CAP_PROP_FPS))


def _set_format(capture: cv2.VideoCapture, _name: str, value: str) -> str:
    code = cv2.VideoWriter.fourcc(*value.upper())
    capture.set(cv2.CAP_PROP_FOURCC, code)
    got = int(capture.get(cv2.CAP_PROP_FOURCC))
    spelled = "".join(chr(got >> shift & 0xFF) for shift in (0, 8, 16, 24)).strip("\x00 ") if got > 0 else "its own"
    return "" if got == code else f"format {value} refused: the camera sends {spelled}"


def _set_lockable(capture: cv2.VideoCapture, name: str, value: str) -> str:
    number, automatic = _LOCKABLE[name]
    now = capture.get(number)
    modes = {False: 0.0, True: 1.0}
    if name == "exposure":
        modes = _EXPOSURE_MODES.get(capture.getBackendName(), _OTHER_EXPOSURE_MODES)
    switched = capture.set(automatic, modes[value == "auto"])
    if value == "auto":
        return "" if switched else f"{name} auto refused by the driver"
    target = now if value == "lock" else float(value)
    if not capture.set(number, target):
        return f"{name} {value} refused by the driver"
    return _differs(name, target, capture.get(number))


def _differs(name: str, target: float, got: float) -> str:
    close = abs(got - target) <= _TOLERANCE * max(1.0, abs(target))
    return "" if close else f"{name} {target:g} refused: the camera uses {got:g}"


def _is_number(value: str) -> bool:
    return _NUMBER.fullmatch(value) is not None


def _is_lock(value: str) -> bool:
    return value in ("auto", "lock") or _is_number(value)


_Kind = tuple[str, Callable[[str], bool], Callable[[cv2.VideoCapture, str, str], str]]
_LOCK: _Kind = ("auto, lock or a number", _is_lock, _set_lockable)
_KINDS: dict[str, _Kind] = {  # in order: the format limits the resolutions, and both limit the frame rates
    "format": ("four letters such as MJPG", lambda value: len(value) == 4 and value.isascii(), _set_format),
    "resolution": (
        "WIDTHxHEIGHT such as 1280x720",
        lambda value: _EXTENT.fullmatch(value) is not None,
        _set_resolution,
    ),
    "fps": ("a number", lambda value: _is_number(value) and float(value) > 0, _set_fps),
    "exposure": _LOCK,
    "white_balance": _LOCK,
    "focus": _LOCK,
}

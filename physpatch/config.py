"""What a run is asked to do: plain frozen dataclasses, refused when a key is unknown, saved with the run."""

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from calibration.errors import InputError
from physpatch.artifact import check_grid

Range = tuple[float, float]


@dataclass(frozen=True)
class EotConfig:
    """Ranges of the expectation over transformation (Athalye et al. 2018, section 2). Each is sampled uniformly.

    Attributes:
        rotation_deg: in-plane rotation.
        tilt_deg: yaw and pitch of the patch plane, seen through a pinhole camera (the perspective).
        scale: factor on the patch's nominal side.
        gain: factor on the light that falls on the patch, in linear light.
        gamma: exponent of the tone curve on the patch.
        temperature: colour temperature as a factor on red and its inverse on blue.
        shadow: depth of a soft-edged shadow across the patch; 0 is none, 1 is black.
        blur_px: standard deviation of the Gaussian blur, in pixels of the image.
        noise: standard deviation of the sensor noise on the patch, in sRGB units of [0, 1].
    """

    rotation_deg: Range = (-20.0, 20.0)
    tilt_deg: Range = (-20.0, 20.0)
    scale: Range = (0.85, 1.15)
    gain: Range = (0.8, 1.2)
    gamma: Range = (0.9, 1.1)
    temperature: Range = (0.92, 1.08)
    shadow: Range = (0.0, 0.4)
    blur_px: Range = (0.2, 1.0)
    noise: Range = (0.0, 0.03)

    def __post_init__(self) -> None:
        for field in fields(self):
            low, high = getattr(self, field.name)
            if not low <= high:
                raise InputError(f"EOT range {field.name} runs from {low} down to {high}")
        for name in ("scale", "gain", "gamma", "temperature"):
            if getattr(self, name)[0] <= 0:
                raise InputError(f"EOT range {name} must stay above 0")
        for name in ("shadow", "blur_px", "noise"):
            if getattr(self, name)[0] < 0:
                raise InputError(f"EOT range {name} must not be negative")

    @classmethod
    def none(cls) -> "EotConfig":
        """No transformation but the random place, as in the original project."""
        zero, one = (0.0, 0.0), (1.0, 1.0)
        return cls(zero, zero, one, one, one, one, zero, zero, zero)


@dataclass(frozen=True)
class TrainConfig:
    """A training run. The command line's defaults are these."""

    model: str = "auto"
    weights: str | None = None
    data: str = "samples"
    target: str = "auto"
    technique: str = "adam"
    learning_rate: float | None = None  # None: the technique's own
    grid: tuple[int, int] = (10, 10)
    area: float = 0.15
    steps: int = 200
    batch: int = 16
    seed: int = 0
    device: str = "auto"
    held_out: float = 0.5
    limit: int = 2000
    eot: EotConfig = EotConfig()

    def __post_init__(self) -> None:
        check_grid(self.grid)
        if not 0.001 <= self.area <= 0.9:
            raise InputError(f"area {self.area} out of range; expected the share of the image, 0.001 to 0.9")
        for name in ("steps", "batch", "limit"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.held_out < 1:
            raise InputError(f"held_out {self.held_out} out of range; expected a share between 0 and 1")
        if self.seed < 0:
            raise InputError(f"seed must not be negative, got {self.seed}")
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            raise InputError(f"learning rate must be positive, got {self.learning_rate}")

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "TrainConfig":
        """Read :meth:`to_dict`'s output back.

        Raises:
            InputError: a key this version does not know, or a value of the wrong kind.
        """
        try:
            return cls._from_plain(value)
        except (TypeError, AttributeError) as error:
            raise InputError(f"the settings of this run cannot be read ({error})") from error

    @classmethod
    def _from_plain(cls, value: dict[str, Any]) -> "TrainConfig":
        eot = value.get("eot", {})
        _refuse_unknown(cls, value)
        _refuse_unknown(EotConfig, eot)
        plain = {k: v for k, v in value.items() if k != "eot"} | {"grid": tuple(value.get("grid", (10, 10)))}
        return replace(cls(**plain), eot=EotConfig(**{k: tuple(v) for k, v in eot.items()}))


def _refuse_unknown(cls: type, value: dict[str, Any]) -> None:
    unknown = sorted(value.keys() - {field.name for field in fields(cls)})
    if unknown:
        raise InputError(
            f"unknown key {unknown[0]!r} in the {cls.__name__} of this run; was it written by a newer physpatch?"
        )

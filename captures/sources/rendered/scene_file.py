"""Scenes as data: what holds the sheet, the paper, the light, what lies behind and before it, the camera, and what moves."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from calibration.common.errors import unknown_name
from calibration.common.files import read_toml
from calibration.common.records import Record
from captures.sources.rendered import SCENES, scene_names
from captures.sources.rendered.camera.effects import Effect, camera_effects
from captures.sources.rendered.motion import Hold, Motion, WalkPast
from captures.sources.rendered.scene_part import Metres, Millimetres, Place, ScenePart

Covered = Annotated[float, Field(ge=0, le=0.25)]  # more would need a thumb that reaches across the patch and beyond
_NEAREST_PANEL_M = 0.01
ROOM_HALF_WIDTH_M = 1.4  # of its side walls
ROOM_TABLE_M, ROOM_BEHIND_M = 0.3, 0.9  # its table below the camera, its wall behind the sheet, at least
# So far from them stay who walks there and lights: to the sides of the sheet, below it and behind it.
_ASIDE_M, _BELOW_M, _BEHIND_M = (round(wall - 0.1, 6) for wall in (ROOM_HALF_WIDTH_M, ROOM_TABLE_M, ROOM_BEHIND_M))
_LOWEST_SUN = math.sin(math.radians(1))
_OF_LIGHTS = {"spectrum": ("ambient", "panel"), "at_m": ("panel", "sky"), "size_m": ("panel",), "turbidity": ("sky",)}
_OF_SHAPES = {
    "axis_deg": ("curl", "cylinder", "ripple"),
    "radius_mm": ("curl", "cylinder"),
    "amplitude_mm": ("ripple",),
    "wavelength_mm": ("ripple",),
    "length_m": ("cylinder", "ripple"),
}


def _check_use(part: ScenePart, kind: str, of: str, uses: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse a setting that has no effect on a part of this kind: something else would be rendered than what was meant."""
    for name, kinds in uses.items():
        if name in part.model_fields_set and kind not in kinds:
            raise ValueError(f"{name} has no effect on a {of} {kind!r}; omit it, or choose {' or '.join(kinds)}")


class Support(ScenePart):
    """What holds the sheet, and so how it is bent.

    Attributes:
        shape: ``flat``; ``curl``, around an axis and away from the camera at the edges, or towards it for a negative radius;
            ``cylinder``, the same on a body that is seen too, such as a mug or a pole; ``ripple``, the waves of a cloth that
            is seen around it.
        axis_deg: direction of the axis, or of the crests of the waves, on the sheet: 0 across, 90 down.
        radius_mm: of a curl or cylinder.
        amplitude_mm, wavelength_mm: of a ripple.
        length_m: of a cylinder's body, or of the cloth's sides, half of it to either side of the patch; None for one and a half
            times the sheet along a cylinder, and twice the sheet for cloth.
    """

    shape: Literal["flat", "curl", "cylinder", "ripple"] = "flat"
    axis_deg: float = 90.0
    radius_mm: float = Field(default=150.0, ge=-1e5, le=1e5)
    amplitude_mm: float = Field(default=2.0, ge=0, le=1000)
    wavelength_mm: Millimetres = 70.0
    length_m: Metres | None = None

    @model_validator(mode="after")
    def _check_shape(self) -> Self:
        _check_use(self, self.shape, "support of shape", _OF_SHAPES)
        return self

    @model_validator(mode="after")
    def _check_radius(self) -> Self:
        if self.shape == "cylinder" and self.radius_mm < 10:
            raise ValueError("a cylinder's radius must be 10 mm or more")
        if self.shape == "curl" and abs(self.radius_mm) < 10:
            raise ValueError("a curl's radius must be 10 mm or more")
        return self


class PlateOnPost(ScenePart):
    """A plate behind a flat sheet, and the post that holds it.

    Attributes:
        border_mm: how far the plate reaches beyond the sheet.
        post_mm: diameter of the post.
        height_m: of the post.
    """

    above_mm: ClassVar[float] = 20.0  # the post reaches up beyond the sheet

    border_mm: float = Field(default=5.0, ge=0, le=1000)
    post_mm: Millimetres = 60.0
    height_m: Metres = 2.5


class Sign(PlateOnPost):
    """A sign by a road."""


class Stand(PlateOnPost):
    """A stand such as a musician's: a board on a slender rod that ends behind it."""

    above_mm: ClassVar[float] = -20.0

    border_mm: float = Field(default=2.0, ge=0, le=1000)
    post_mm: Millimetres = 16.0


class Paper(ScenePart):
    """The surface of a print: a dielectric over the ink, rougher on matt paper.

    Attributes:
        index: of refraction; cellulose has 1.47 (Sultanova et al. 2009).
        roughness: alpha of the GGX distribution. With an index of 1.5, this surface has the gloss (ISO 8254-1, at 75 degrees)
            that ISO 12647-2:2004 lists for kinds of paper at 0.05: gloss-coated, 65; 0.1: matt-coated, 38; 0.3: uncoated, 6.
            Newsprint has less than 5 (ISO 12647-3), as from 0.35 on.
    """

    index: float = Field(default=1.5, ge=1.1, le=2.5)
    roughness: float = Field(default=0.4, ge=0.001, le=1)


class Light(ScenePart):
    """A light.

    Attributes:
        kind: ``ambient``, alike from everywhere; ``panel``, a shining rectangle that faces the sheet: a lamp or a window;
            ``sky``, with the sun, clear and from above, by Mitsuba's ``sunsky``, whose spectrum is its own.
        spectrum: an illuminant of colour-science: ``A``, ``D65``, ``FL2``, ``LED-B3`` and others.
        power: the light that it gives a sheet that faces it, relative to the other lights; of a sky, that of the whole sky.
        at_m: centre of a panel, from the sheet (x right, y down, z away from the camera), or the direction of the sun, which
            is above the horizon: y below 0.
        size_m: width and height of a panel.
        turbidity: of the sky: 2 is clear, 8 is hazy.
    """

    kind: Literal["ambient", "panel", "sky"]
    spectrum: str = "D65"
    power: float = Field(default=1.0, ge=0.01, le=100)
    at_m: tuple[Place, Place, Place] = (0.5, -0.8, -0.6)
    size_m: tuple[Metres, Metres] = (0.3, 0.3)
    turbidity: float = Field(default=3.0, ge=1, le=10)

    @model_validator(mode="after")
    def _check_place(self) -> Self:
        if self.kind == "panel" and math.hypot(*self.at_m) < _NEAREST_PANEL_M:
            raise ValueError("a panel's at_m must be a place at least 1 cm from the sheet")
        if self.kind == "sky" and -self.at_m[1] <= _LOWEST_SUN * math.hypot(*self.at_m):
            raise ValueError(
                "the sun must be at least a degree above the horizon: at_m with its second number, y, below 0"
            )
        return self

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        _check_use(self, self.kind, "light of kind", _OF_LIGHTS)
        return self

    @property
    def is_all_around(self) -> bool:
        """Return whether it shines from everywhere, as only one light of a scene can."""
        return self.kind != "panel"


class Occluder(ScenePart):
    """A thumb before the sheet, from the edge inwards.

    Attributes:
        covers: the share of the patch that it covers, at least and at most, seen from the front: 0.25 or less, which a thumb
            can reach.
    """

    covers: tuple[Covered, Covered] = (0.04, 0.12)

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.covers[0] > self.covers[1]:
            raise ValueError("covers should be the least and the most, in this order")
        return self


class SceneCamera(ScenePart):
    """The optics and the pixels of the camera.

    Attributes:
        sensitivities: a camera of colour-science's data sets.
        aperture_mm: diameter of the entrance pupil; 0 for a pinhole. 1.5 is a phone's, 20 that of a large lens.
        focus: whether ``sheet`` or ``background`` is in focus.
        effects: what it does beyond a plain camera: settings by the effects' names, see
            :data:`captures.sources.rendered.camera.effects.EFFECTS`.
    """

    sensitivities: str = "Nikon 5100 (NPL)"
    aperture_mm: float = Field(default=1.5, ge=0, le=200)
    focus: Literal["sheet", "background"] = "sheet"
    effects: Annotated[dict[str, SerializeAsAny[Effect]], BeforeValidator(camera_effects)] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_lens(self) -> Self:
        if "focus_hunt" in self.effects and not self.aperture_mm:
            raise ValueError("a pinhole has no focus to hunt for; give it an aperture_mm above 0")
        if "focus" in self.model_fields_set and not self.aperture_mm:
            raise ValueError(
                "focus has no effect on a pinhole, which sees all sharply; omit it, or give an aperture_mm above 0"
            )
        return self


class Scene(Record, ScenePart):
    """A scene that a rendered rig films: a TOML file.

    Attributes:
        summary: one line.
        support, sign, stand, paper, lights, occluder, camera, motion: see there.
        background: ``photograph``, one of a session's photographs, far away and lit like the sheet; or ``room``, three walls
            and a table of grey paint that catch the sheet's shadow and reflect its light.
        background_strength: how bright the photograph is beside the sheet.
    """

    what: ClassVar[str] = "scene"
    cure: ClassVar[str] = "see the scenes that `physpatch live --help` names"
    current: ClassVar[int] = 1

    summary: str = ""
    support: Support = Support()
    sign: Sign | None = None
    stand: Stand | None = None
    paper: Paper = Paper()
    lights: list[Light] = Field(min_length=1)
    occluder: Occluder | None = None
    camera: SceneCamera = SceneCamera()
    motion: Motion = Hold()
    background: Literal["photograph", "room"] = "photograph"
    background_strength: float = Field(default=0.9, gt=0, le=100)

    @model_validator(mode="after")
    def _check_background(self) -> Self:
        _check_use(self, self.background, "background", {"background_strength": ("photograph",)})
        return self

    @model_validator(mode="after")
    def _check_plate(self) -> Self:
        if self.sign is not None and self.stand is not None:
            raise ValueError("a sheet is on a sign or on a stand; omit one of them")
        if self.plate is not None and self.support.shape != "flat":
            kind = "stand" if self.sign is None else "sign"
            raise ValueError(f"a {kind}'s plate is flat, not a {self.support.shape}; omit {kind} or support")
        return self

    @model_validator(mode="after")
    def _check_walk(self) -> Self:
        ends = (self.motion.from_m, self.motion.to_m) if isinstance(self.motion, WalkPast) else ()
        if self.background == "room" and any(abs(end) > _ASIDE_M for end in ends):
            raise ValueError(
                f"a walk past in a room stays between its walls: from_m and to_m from -{_ASIDE_M:g} to {_ASIDE_M:g}"
            )
        return self

    @model_validator(mode="after")
    def _check_room(self) -> Self:
        for i, light in enumerate(self.lights if self.background == "room" else ()):
            x, y, z = light.at_m
            if light.kind == "panel" and (abs(x) > _ASIDE_M or y > _BELOW_M or z > _BEHIND_M):
                raise ValueError(
                    f"lights.{i} is in or behind a wall or the table of the room; give it an at_m with x from "
                    f"-{_ASIDE_M:g} to {_ASIDE_M:g}, y up to {_BELOW_M:g} and z up to {_BEHIND_M:g}"
                )
        return self

    @model_validator(mode="after")
    def _check_lights(self) -> Self:
        around = [f"lights.{i} ({light.kind})" for i, light in enumerate(self.lights) if light.is_all_around]
        if len(around) > 1:
            raise ValueError(
                f"{' and '.join(around)} both shine from everywhere, as only one light can; join them in one, or use panels"
            )
        if not around and all(light.at_m[2] >= 0 for light in self.lights):
            raise ValueError("all lights are behind the sheet; give one an at_m with its third number, z, below 0")
        return self

    @property
    def plate(self) -> PlateOnPost | None:
        """Return the plate and post that hold the sheet, if any do."""
        return self.stand if self.sign is None else self.sign

    @property
    def spectrum(self) -> str:
        """Return the illuminant of the strongest light; D65 under a sky."""
        strongest = max(self.lights, key=lambda light: light.power)
        return "D65" if strongest.kind == "sky" else strongest.spectrum

    @classmethod
    def read(cls, name: str) -> Self:
        """Read a scene by the name of one that is shipped, or from a TOML file.

        Raises:
            InputError: no such scene or file, invalid TOML, or an invalid value.
        """
        path = Path(name)
        if path.suffix != ".toml":
            if name not in scene_names():
                raise unknown_name("scene", name, scene_names())
            path = SCENES / f"{name}.toml"
        return cls.validated(read_toml(path, cls.cure), path)

"""A sheet in a scene, as Mitsuba describes and renders it.

Lengths are millimetres in the camera's axes: x right, y down, z forward. What a pixel records is in units of what a perfect
diffuser gives its green pixels under lights of a total power of 1.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera.intrinsics import Intrinsics
from calibration.common.pictures import pixels_inside
from calibration.sheet.layout import SheetLayout
from captures.sources.held_sheet import RigPose
from captures.sources.rendered.camera.exposure import Exposure, Rows, expose
from captures.sources.rendered.engine import denoised, engine, library_versions, make_opaque
from captures.sources.rendered.room import furnished_room
from captures.sources.rendered.scene_file import Light, Scene
from captures.sources.rendered.shapes.holders import body_mesh, plate_mesh, post_mesh
from captures.sources.rendered.shapes.in_mitsuba import mesh_shape
from captures.sources.rendered.shapes.patch_view import bent_patch_mask
from captures.sources.rendered.shapes.plain import rectangle_mesh
from captures.sources.rendered.shapes.thumb import before_paper, thumb_mesh
from captures.sources.rendered.shots import Shot, ShotCache, shot_key
from captures.sources.rendered.spectra import FIRST_NM, LAST_NM, STEP_NM, illuminant, sensitivities, white
from captures.sources.rendered.surfaces import (
    Spec,
    bent,
    cloth_area,
    cloth_mesh,
    diffuse,
    linear_rgb,
    plastic,
    sheet_mesh,
)

_PIXELS = ("red", "green", "blue")
_DARKEST, _LIGHTEST = 0.001, 0.97  # reflectances that a spectrum can have
_BOUNCES, _FIRST_HIT = 5, 2  # edges of a path
_ROULETTE = 3  # the edge from which on dim paths may end by chance: a room takes 0.83 of the time
_BEHIND_CUT_OUT = 4  # edges up to what shows through what is cut away of a bent sheet, in front and behind
_COVERAGE_SAMPLES = 16
_PAPER_BACK = 0.8
_BODY_GREY = 0.25
_PLATE_GREY = 0.4  # zinc
_CLOTH = (0.09, 0.14, 0.25)  # linear sRGB
_SKIN = (0.45, 0.26, 0.19)  # linear sRGB
_SKIN_INDEX, _SKIN_ROUGHNESS = 1.4, 0.4
_NEAREST_MM = 10.0  # what is nearer to the camera is not seen
_SKY_METER = 64  # samples for the strength of a sky
_BEHIND = 20  # times as far away as the sheet is a background
_FARTHEST_FOCUS_MM = 1e5


class SheetScene:
    """One sheet in a scene. The scene is built once, when something is to be rendered; poses change between shots."""

    def __init__(
        self,
        sheet: NDArray[np.float32],
        layout: SheetLayout,
        scene: Scene,
        lens: Intrinsics,
        pose: RigPose,
        *,
        samples: int,
        denoise: bool = True,
        occluded: float = 0.0,
        occluder_deg: float = 0.0,
        phase: float = 0.0,
        cache: ShotCache | None = None,
    ) -> None:
        """Arrange the scene.

        Args:
            sheet: reflected light times coverage, and coverage, (H, W, 4), see ``printed_sheets``.
            layout: of the sheet.
            scene: what surrounds it.
            lens: intrinsics without distortion, centred in the frame; the scene's aperture makes it a thin lens.
            pose: in which the scene is arranged: the lights and the room.
            samples: a pixel.
            denoise: whether the noise that they leave is removed.
            occluded: the share of the patch that an occluder covers.
            occluder_deg: the direction from which it comes, 0 from the right, 90 from below.
            phase: of a ripple, in radians.
            cache: where shots are kept; None renders each one.

        Raises:
            UnavailableError: Mitsuba or colour-science is not installed.
        """
        self._mi = engine()
        self._layout, self._scene, self._lens, self._phase = layout, scene, lens, phase
        self._samples, self._denoise = _in_strata(samples), denoise
        self._sheet, self._pose, self._cache = sheet, pose, cache
        self._sensors: dict[Rows | None, _Sensors] = {}
        self._placed: RigPose | None = None
        self._meshes = {"sheet": sheet_mesh(layout, scene.support, phase)}  # what moves with the sheet
        if scene.support.shape == "cylinder":
            self._meshes["body"] = body_mesh(layout, scene.support)
        if scene.support.shape == "ripple":
            self._meshes["cloth"] = cloth_mesh(layout, scene.support, phase)
        if scene.plate is not None:
            self._meshes |= {"plate": plate_mesh(layout, scene.plate), "post": post_mesh(layout, scene.plate)}
        if occluded:
            self._meshes["thumb"] = before_paper(thumb_mesh(layout, occluded, occluder_deg), self._meshes["sheet"])
        variant = self._mi.variant(), library_versions()
        rendered = scene.model_copy(update={"camera": scene.camera.model_copy(update={"effects": {}})})
        arrangement = layout, rendered, lens, pose, self._samples, denoise, occluded, occluder_deg, phase
        self._key = "" if cache is None else shot_key(sheet, arrangement, variant)

    def shoot(
        self, pose: RigPose, seed: int, *, before: RigPose | None = None, exposure: Exposure | None = None
    ) -> Shot:
        """Show the sheet in a pose.

        Args:
            pose: of the sheet.
            seed: of the noise that the number of samples leaves.
            before: the sheet's pose a frame earlier, from which it moves on evenly; None for a still one.
            exposure: of the frame; None for all at once, in focus.
        """
        moment: tuple[object, ...] = (pose, seed)
        render: Callable[[], Shot] = partial(self._render, pose, seed)
        if exposure is not None:
            moment = (pose, seed, before, exposure)
            render = partial(expose, self._render, exposure, before or pose, pose, self._lens.height, seed)
        if self._denoise:
            render = partial(_denoised, render)
        if self._cache is None:
            return render()
        return self._cache.shot(shot_key(self._key, *moment), render)

    def _render(
        self, pose: RigPose, seed: int, *, rows: Rows | None = None, share: float = 1.0, refocus_dpt: float = 0.0
    ) -> Shot:
        """Render some rows, or all, with a share of the samples and the lens focused nearer than the scene says."""
        self._move(self._pose if self._scene.motion.moves_camera else pose)
        if rows not in self._sensors:
            self._sensors[rows] = self._make_sensors(rows)
        sensors = self._sensors[rows]
        self._aim(sensors, pose, refocus_dpt)
        light = self._record(self._lit, sensors.light, _BOUNCES, _in_strata(self._samples * share), seed)
        if self._scene.background == "room":
            coverage = np.ones(light.shape[:2], np.float32)
        else:
            samples = math.ceil(_COVERAGE_SAMPLES * share)
            depth = _FIRST_HIT if self._sheet[..., 3].all() else _BEHIND_CUT_OUT
            coverage = self._record(self._shapes, sensors.coverage, depth, samples, seed)[..., 3].clip(0, 1)
        return Shot(light / np.float32(STEP_NM), coverage).rounded()

    def _record(self, scene: Any, sensor: Any, depth: int, samples: int, seed: int) -> NDArray[np.float32]:
        picture = self._mi.render(scene, sensor=sensor, integrator=_paths(depth), spp=samples, seed=seed)
        return np.array(picture, dtype=np.float32)

    def patch_mask(
        self, pose: RigPose, *, before: RigPose | None = None, exposure: Exposure | None = None
    ) -> NDArray[np.bool_]:
        """Find the pixels that show the patch, (H, W), for at least half of their exposure, those under an occluder left out.

        For arguments see :meth:`shoot`.
        """
        if exposure is None:
            return self._patch_mask_at(pose)

        def masked(
            pose: RigPose, seed: int, *, rows: Rows | None = None, share: float = 1.0, refocus_dpt: float = 0.0
        ) -> Shot:
            mask = self._patch_mask_at(pose, rows).astype(np.float32)
            return Shot(mask[..., None], mask)

        return expose(masked, exposure, before or pose, pose, self._lens.height, 0).coverage >= 0.5

    def _patch_mask_at(self, pose: RigPose, rows: Rows | None = None) -> NDArray[np.bool_]:
        layout, support = self._layout, self._scene.support
        lens = self._lens
        if rows is not None:
            lens = replace(lens, cy=lens.cy - rows[0], height=rows[1] - rows[0])
        size_wh = lens.width, lens.height
        corners = _seen(bent(layout.patch.corners_mm, layout, support), pose, lens)
        if support.shape == "flat" and pose.rotation[:, 2] @ pose.shift_mm <= 0:
            mask = np.zeros(size_wh[::-1], bool)  # it shows its back
        elif support.shape == "flat" and layout.cut_shape != "circle" and len(corners) == len(layout.patch.corners_mm):
            mask = pixels_inside(corners, size_wh[::-1])
        else:
            points = partial(bent, layout=layout, support=support, phase=self._phase)
            waves = cloth_area(layout, support) if support.shape == "ripple" else layout.cut
            mask = bent_patch_mask(
                layout,
                waves,
                lambda at_mm: pose.placed(points(at_mm)),
                partial(_projected, lens=lens),
                size_wh,
                _NEAREST_MM,
            )
        if "thumb" in self._meshes:
            thumb = _seen(self._meshes["thumb"].points, pose, lens).astype(np.float32)
            if len(thumb):
                mask &= ~pixels_inside(cv2.convexHull(thumb)[:, 0], mask.shape)
        return mask

    # The scene in Mitsuba.

    @cached_property
    def _lit(self) -> Any:
        surfaces: dict[str, Spec] = {
            "sheet": self._paper(),
            "body": {"type": "twosided", "inner": diffuse(_BODY_GREY)},
            "cloth": {"type": "twosided", "inner": {"type": "diffuse", "reflectance": linear_rgb(_CLOTH)}},
            "plate": {"type": "twosided", "inner": diffuse(_PLATE_GREY)},
            "post": {"type": "twosided", "inner": diffuse(_PLATE_GREY)},
            "thumb": {"type": "twosided", "inner": _skin()},
        }
        objects = self._lights(self._pose) | self._placed_meshes(surfaces)
        if self._scene.background == "room":
            lowest_mm = float(self._pose.placed(self._meshes["sheet"].points)[:, 1].max())
            objects |= furnished_room(self._mi, float(self._pose.shift_mm[2]), lowest_mm)
        return self._mi.load_dict({"type": "scene", **objects})

    @cached_property
    def _shapes(self) -> Any:
        """Load the same shapes in no light, as only where they lie is looked at: under a sky that takes three times as long."""
        surfaces = dict.fromkeys(self._meshes, diffuse(_PAPER_BACK)) | {"sheet": self._cut_out(diffuse(_PAPER_BACK))}
        return self._mi.load_dict({"type": "scene", **self._placed_meshes(surfaces)})

    def _placed_meshes(self, surfaces: Mapping[str, Spec]) -> dict[str, Any]:
        return {name: mesh_shape(name, mesh, surfaces[name]) for name, mesh in self._meshes.items()}

    # What is seen.

    def _paper(self) -> Spec:
        """Describe the print under its dielectric surface, cut out where its coverage is 0."""
        sheet, cover = self._sheet, self._sheet[..., 3:]
        reflectance = np.divide(sheet[..., :3], cover, out=np.full_like(sheet[..., :3], _DARKEST), where=cover > 0)
        paper = self._scene.paper
        front = plastic(self._texture(reflectance.clip(_DARKEST, _LIGHTEST)), paper.index, paper.roughness)
        return self._cut_out({"type": "twosided", "front": front, "back": diffuse(_PAPER_BACK)})

    def _cut_out(self, surface: Spec) -> Spec:
        cover = self._sheet[..., 3:]
        if cover.all():
            return surface
        return {"type": "mask", "opacity": self._texture(cover, raw=True), "nested": surface}

    def _texture(self, picture: NDArray[np.float32], *, raw: bool = False) -> Spec:
        return {
            "type": "bitmap",
            "bitmap": self._mi.Bitmap(np.ascontiguousarray(picture)),
            "raw": raw,
            "filter_type": "bilinear",
            "wrap_mode": "clamp",
        }

    def _move(self, pose: RigPose) -> None:
        if pose == self._placed:  # what sees it moves: nothing has to be traced anew
            return
        self._placed = pose
        for scene in (self._lit,) if self._scene.background == "room" else (self._lit, self._shapes):
            parameters = self._mi.traverse(scene)
            for name, mesh in self._meshes.items():
                parameters[f"{name}.vertex_positions"] = pose.placed(mesh.points).astype(np.float32).ravel()
            parameters.update()

    # What lights it. The stronger a light, the more of the samples look at it.

    def _lights(self, pose: RigPose) -> dict[str, Any]:
        at = pose.shift_mm
        return {f"light_{i}": self._light(light, at) for i, light in enumerate(self._scene.lights)}

    def _light(self, light: Light, sheet_at: NDArray[np.float64]) -> Any:
        if light.kind == "sky":
            return _sky(light, _sky_factor(light, self._scene.camera.sensitivities))
        power, camera = illuminant(light.spectrum), self._scene.camera.sensitivities
        # The radiance of a perfect diffuser that this light faces.
        diffused = light.power / float(white(camera, light.spectrum)[1])
        if light.kind == "ambient":
            return {"type": "constant", "radiance": _spectrum(power * diffused), "sampling_weight": light.power}
        offset = 1000 * np.array(light.at_m)
        width, height = (1000 * side for side in light.size_m)
        radiance = math.pi * diffused * float(offset @ offset) / (width * height)
        transform = self._mi.ScalarTransform4f
        facing = transform().look_at((sheet_at + offset).tolist(), sheet_at.tolist(), _upright(-offset))
        panel = rectangle_mesh(np.array(facing.scale([width / 2, height / 2, 1]).matrix))
        emitter = {"type": "area", "radiance": _spectrum(power * radiance), "sampling_weight": light.power}
        return mesh_shape("panel", panel, diffuse(0), emitter=emitter)

    # What sees it.

    def _make_sensors(self, rows: Rows | None) -> "_Sensors":
        covering: Spec = {"type": "hdrfilm", "pixel_format": "rgba", "component_format": "float32"}
        light, coverage = (
            self._mi.load_dict(self._optics(film, rows))
            for film in (_pixels(self._scene.camera.sensitivities), covering)
        )
        sensors = _Sensors(light, coverage, rows or (0, self._lens.height))
        self._count_from_corner(sensors)
        return sensors

    def _count_from_corner(self, sensors: "_Sensors") -> None:
        """Let the films of some rows count from their own corner, once the sensors have read where it lies.

        A film's offset is a constant in what Mitsuba compiles, which would take seconds for each band of rows.
        """
        for sensor in (sensors.light, sensors.coverage) if sensors.rows[0] else ():
            film = self._mi.traverse(sensor.film())
            film["crop_offset"] = [0, 0]
            film.update()

    def _optics(self, film: Spec, rows: Rows | None) -> Spec:
        lens, camera = self._lens, self._scene.camera
        top, bottom = rows or (0, lens.height)
        sees: Spec = {
            "type": "thinlens" if camera.aperture_mm else "perspective",
            "fov": math.degrees(2 * math.atan(lens.width / (2 * lens.fx))),
            "fov_axis": "x",
            "near_clip": _NEAREST_MM,
            "far_clip": 1e6,
            "to_world": self._mi.ScalarTransform4f(self._camera_to_world(self._pose)),
            # It stratifies wavelengths too, which are most of the noise.
            "sampler": {"type": "multijitter", "sample_count": self._samples},
            "film": {
                **film,
                "width": lens.width,
                "height": lens.height,
                "crop_offset_y": top,
                "crop_width": lens.width,
                "crop_height": bottom - top,
                "rfilter": {"type": "box"},
            },
        }
        if camera.aperture_mm:
            sees |= {"aperture_radius": camera.aperture_mm / 2, "focus_distance": self._focus_mm(self._pose)}
        return sees

    def _aim(self, sensors: "_Sensors", pose: RigPose, refocus_dpt: float) -> None:
        """Bring the camera to where the sheet has a pose, if it is what moves, and focus."""
        mi, moves_camera = self._mi, self._scene.motion.moves_camera
        changed: dict[str, Any] = {}
        if moves_camera:
            changed["to_world"] = mi.Transform4f(self._camera_to_world(pose))
        if self._scene.camera.aperture_mm and (moves_camera or refocus_dpt != sensors.refocused_dpt):
            focus_mm = self._focus_mm(pose if moves_camera else self._pose)
            nearness = max(1 / focus_mm + refocus_dpt / 1000, 1 / _FARTHEST_FOCUS_MM)
            changed["focus_distance"] = mi.Float(1 / nearness)
            sensors.refocused_dpt = refocus_dpt
        if not changed:
            return
        make_opaque(changed)
        for sensor in (sensors.light, sensors.coverage):
            parameters = mi.traverse(sensor)
            for name, value in changed.items():
                parameters[name] = value
            parameters["film.crop_offset"] = [0, sensors.rows[0]]  # which the sensor reads again
            parameters.update()
        self._count_from_corner(sensors)

    def _focus_mm(self, pose: RigPose) -> float:
        return float(pose.shift_mm[2]) * (1 if self._scene.camera.focus == "sheet" else _BEHIND)

    def _camera_to_world(self, pose: RigPose) -> NDArray[np.float64]:
        """Return the transform (4, 4) of a camera before which the sheet has a pose; Mitsuba's x and y point left and up."""
        at_mm, turned = self._pose.camera_at(pose)
        transform = np.eye(4)
        transform[:3, :3], transform[:3, 3] = turned * (-1, -1, 1), at_mm
        return transform


@dataclass(eq=False)
class _Sensors:
    """What sees the light of some rows, and what sees how far the sheet and its like cover their pixels."""

    light: Any
    coverage: Any
    rows: Rows
    refocused_dpt: float = 0.0


@cache
def _paths(depth: int) -> Any:
    """Load an integrator that follows paths of up to this many edges."""
    ends = _ROULETTE if depth == _BOUNCES else depth  # what lies behind a cut is found for certain
    return engine().load_dict({"type": "path", "max_depth": depth, "rr_depth": ends, "hide_emitters": True})


def _denoised(render: Callable[[], Shot]) -> Shot:
    """Render a shot whose light is denoised when all its instants are gathered: where shapes end is hardly noisy."""
    shot = render()
    return replace(shot, light=denoised(shot.light)).rounded()


def _seen(points: NDArray[np.floating], pose: RigPose, lens: Intrinsics) -> NDArray[np.floating]:
    """Project points (N, 3) of the sheet's axes to pixels (N, 2), those behind the camera left out."""
    placed = pose.placed(points)
    return _projected(placed[placed[:, 2] > _NEAREST_MM], lens)


def _projected(placed: NDArray[np.floating], lens: Intrinsics) -> NDArray[np.floating]:
    """Project points (N, 3) of the camera's axes, before it, to pixels (N, 2)."""
    across, down = placed[:, :2].T / placed[:, 2]
    return np.stack([lens.fx * across + lens.cx, lens.fy * down + lens.cy], axis=1)


def _in_strata(samples: float) -> int:
    """Round up to as many samples as the sampler's rows and columns in a pixel have, which are as many or one more."""
    rows = math.isqrt(math.ceil(samples))
    return rows * math.ceil(samples / rows)


def _spectrum(values: NDArray[np.float64]) -> Spec:
    return {
        "type": "regular",
        "wavelength_min": float(FIRST_NM),
        "wavelength_max": float(LAST_NM),
        "values": ",".join(f"{value:.8g}" for value in values),
    }


def _pixels(camera: str) -> Spec:
    curves = sensitivities(camera).T
    # Mitsuba keeps the channels in the order of their names.
    named = {f"{i}_{name}": _spectrum(curve) for i, (name, curve) in enumerate(zip(_PIXELS, curves, strict=True))}
    return {"type": "specfilm", "component_format": "float32", **named}


def _sky(light: Light, factor: float) -> Spec:
    """Describe a sky whose zenith is up in the picture."""
    return {
        "type": "sunsky",
        "turbidity": light.turbidity,
        "sun_direction": list(light.at_m),
        "sampling_weight": light.power,
        "sun_scale": factor,
        "sky_scale": factor,
        "to_world": engine().ScalarTransform4f().rotate([1, 0, 0], 90),  # the plugin's z is up, ours is -y
    }


@cache
def _sky_factor(light: Light, camera: str) -> float:
    """Meter what makes this sky give its power to a camera's green pixels, by a diffuser that faces the camera."""
    mi = engine()
    transform = mi.ScalarTransform4f
    facing = transform().translate([0, 0, 1]).rotate([0, 1, 0], 180)
    sheet = {"type": "rectangle", "to_world": facing, "bsdf": diffuse(1.0)}
    scene = mi.load_dict({"type": "scene", "sheet": sheet, "sky": _sky(light, 1.0)})
    sensor = mi.load_dict(
        {
            "type": "orthographic",
            "to_world": transform().look_at([0, 0, 0], [0, 0, 1], [0, -1, 0]),
            "film": {**_pixels(camera), "width": 8, "height": 8},
        }
    )
    integrator = mi.load_dict({"type": "path", "max_depth": 2})
    metered = np.array(mi.render(scene, sensor=sensor, integrator=integrator, spp=_SKY_METER, seed=0))
    return light.power / float(metered[..., 1].mean() / STEP_NM)


def _skin() -> Spec:
    return plastic(linear_rgb(_SKIN), _SKIN_INDEX, _SKIN_ROUGHNESS)


def _upright(direction: NDArray[np.float64]) -> list[float]:
    """Return some direction that is not parallel to this one."""
    return [0.0, 0.0, 1.0] if abs(direction[1]) > 0.9 * np.linalg.norm(direction) else [0.0, 1.0, 0.0]

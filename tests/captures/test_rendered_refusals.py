"""What the rendered rig refuses, in one line and before anything is rendered or written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import CommandResult, vivid_patch

from calibration.common.errors import InputError, UnavailableError
from captures.sources.rendered import scene_names
from captures.sources.rendered.rendered_rig import RenderedRig
from captures.sources.rendered.scene_file import Scene
from captures.sources.virtual_rig import VirtualRig
from captures.workflows.virtual_session import discarded_on_failure

LIT = '[[lights]]\nkind = "ambient"\n'


def read(folder: Path, text: str) -> Scene:
    path = folder / "scene.toml"
    path.write_text(text)
    return Scene.read(str(path))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"background_strength = nan\n{LIT}", "background_strength should be a finite number, got nan"),
        (f"{LIT}power = inf", r"lights\.0\.power should be a finite number, got inf"),
        (f'{LIT}[[lights]]\nkind = "panel"\nat_m = [0, nan, -1]', r"lights\.1\.at_m\.1 should be a finite number"),
        (f"[support]\naxis_deg = nan\n{LIT}", r"support\.axis_deg should be a finite number"),
        (f"[paper]\nroughness = nan\n{LIT}", r"paper\.roughness should be a finite number"),
        (f"[occluder]\ncovers = [0, nan]\n{LIT}", r"occluder\.covers\.1 should be a finite number"),
        (f"[camera]\naperture_mm = inf\n{LIT}", r"camera\.aperture_mm should be a finite number"),
        (f"[camera.effects.sharpen]\namount = inf\n{LIT}", r"camera\.effects\.sharpen\.amount should be a finite"),
        (f'[motion]\nkind = "walk_past"\nfrom_m = -inf\n{LIT}', r"motion\.walk_past\.from_m should be a finite number"),
    ],
)
def test_numbers_are_finite(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f'bakground = "room"\n{LIT}', "the file: unknown key 'bakground'; did you mean 'background'"),
        (f"{LIT}powr = 2", r"lights\.0: unknown key 'powr'; did you mean 'power'"),
        (f"[support]\nradius = 90\n{LIT}", r"support: unknown key 'radius'; did you mean 'radius_mm'"),
        (f"[paper]\nruoghness = 0.1\n{LIT}", r"paper: unknown key 'ruoghness'; did you mean 'roughness'"),
        (f"[occluder]\ncover = [0, 0.1]\n{LIT}", r"occluder: unknown key 'cover'; did you mean 'covers'"),
        (
            f"[camera]\niso = 100\n{LIT}",
            r"camera: unknown key 'iso'; known: sensitivities, aperture_mm, focus, effects",
        ),
        (f'[motion]\nkind = "pan"\nspeed = 3\n{LIT}', r"motion\.pan: unknown key 'speed'; did you mean 'speed_deg_s'"),
        (
            f"[camera.effects.tone]\ncurv = 0.1\n{LIT}",
            r"camera\.effects\.tone: unknown key 'curv'; did you mean 'curve'",
        ),
    ],
)
def test_keys_are_known(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        read(tmp_path, text)


@pytest.mark.parametrize("name", scene_names())
def test_shipped_scenes_are_read_and_read_again(name: str) -> None:
    scene = Scene.read(name)
    assert Scene.model_validate(scene.to_dict()) == scene


PANEL = '[[lights]]\nkind = "panel"\n'
SKY = '[[lights]]\nkind = "sky"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{PANEL}size_m = [0, 0.3]", r"lights\.0\.size_m\.0 should be greater than or equal to 0\.01, got 0"),
        (f"{PANEL}size_m = [0.3, -1]", r"lights\.0\.size_m\.1 should be greater"),
        (f"{PANEL}size_m = [0.3, 1e300]", r"lights\.0\.size_m\.1 should be less than or equal to 1000"),
        (f"{PANEL}at_m = [0, 0, 0]", r"lights\.0: a panel's at_m must be a place at least 1 cm from the sheet"),
        (f"{PANEL}at_m = [1e300, 0, -1]", r"lights\.0\.at_m\.0 should be less than or equal to 1000"),
        (f"{PANEL}at_m = [0.5, -0.5, 0.5]", "the file: all lights are behind the sheet; give one an at_m with"),
        (f"{SKY}at_m = [0, 0.2, -1]", r"lights\.0: the sun must be at least a degree above the horizon"),
        (f"{SKY}at_m = [0, 0, 0]", r"lights\.0: the sun must"),
        (f"{SKY}{LIT}", r"the file: lights\.0 \(sky\) and lights\.1 \(ambient\) both shine from everywhere"),
        (f"{LIT}{LIT}", r"the file: lights\.0 \(ambient\) and lights\.1 \(ambient\) both"),
        (f"{LIT}power = 1e300", r"lights\.0\.power should be less than or equal to 100"),
        (f'{SKY}spectrum = "A"', r"lights\.0: spectrum has no effect on a light of kind 'sky'; omit it"),
        (f"{LIT}size_m = [1, 1]", r"lights\.0: size_m has no effect on a light of kind 'ambient'"),
        (f"{PANEL}turbidity = 4", r"lights\.0: turbidity has no effect on a light of kind 'panel'"),
        (
            f"[support]\nradius_mm = 90\n{LIT}",
            r"support: radius_mm has no effect on a support of shape 'flat'; omit it, or",
        ),
        (
            f'[support]\nshape = "curl"\nlength_m = 4\n{LIT}',
            "length_m has no effect on .* 'curl'; .* choose cylinder or ripple",
        ),
        (f"background_strength = 1e300\n{LIT}", "background_strength should be less than or equal to 100"),
        (
            f'background = "room"\nbackground_strength = 2\n{LIT}',
            "background_strength has no effect on a background 'room'; omit it, or choose photograph",
        ),
        (
            f'background = "room"\n{PANEL}at_m = [-3, 0, -3]',
            r"lights\.0 is in or behind a wall or the table of the room; give it an at_m with x from -1\.3 to 1\.3, y up to",
        ),
        (
            f'background = "room"\n{PANEL}at_m = [0, 0.6, -0.5]',
            r"lights\.0 is in or behind .* y up to 0\.2 and z up to",
        ),
        (f'{LIT}[camera]\naperture_mm = 0\nfocus = "background"', "camera: focus has no effect on a pinhole"),
        (f"[camera]\naperture_mm = 1e300\n{LIT}", r"camera\.aperture_mm should be less"),
        (
            f"[occluder]\ncovers = [0.1, 0.05]\n{LIT}",
            "occluder: covers should be the least and the most, in this order",
        ),
        (
            f"[occluder]\ncovers = [0.1, 0.26]\n{LIT}",
            r"occluder\.covers\.1 should be less than or equal to 0\.25, got 0\.26",
        ),
        (f'[support]\nshape = "cylinder"\nradius_mm = 0\n{LIT}', "support: a cylinder's radius must be 10 mm or more"),
        (f'[support]\nshape = "cylinder"\nradius_mm = 1e300\n{LIT}', r"support\.radius_mm should be less"),
        (
            f'[sign]\n[support]\nshape = "ripple"\n{LIT}',
            "the file: a sign's plate is flat, not a ripple; omit sign or support",
        ),
        (
            f'[stand]\n[support]\nshape = "curl"\n{LIT}',
            "the file: a stand's plate is flat, not a curl; omit stand or support",
        ),
        (f"[sign]\n[stand]\n{LIT}", "the file: a sheet is on a sign or on a stand; omit one of them"),
        (f'[support]\nshape = "ripple"\nwavelength_mm = 0\n{LIT}', r"support\.wavelength_mm should be greater"),
        (f"[camera.effects.motion_blur]\nexposure_s = 1e300\n{LIT}", r"motion_blur\.exposure_s should be less"),
        (f"[camera.effects.rolling_shutter]\nbands = 1000000\n{LIT}", r"rolling_shutter\.bands should be less"),
        (f'[motion]\nkind = "approach"\nfrom_m = 1e300\n{LIT}', r"motion\.approach\.from_m should be less"),
        (f'[motion]\nkind = "walk_past"\nspeed_m_s = 1e-9\n{LIT}', r"motion\.walk_past\.speed_m_s should be greater"),
    ],
)
def test_numbers_that_cannot_be_rendered(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words) as refused:
        read(tmp_path, text)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"samples": 0}, "samples of a rig should be 1 or more, got 0"),
        ({"samples": 10**9}, r"1000000000 samples a pixel are too many for frames of 640x480; expected at most 6990"),
        ({"clips": 0}, "clips of a rig should be 1 or more, got 0"),
        ({"clips": -1}, "clips of a rig should be 1 or more, got -1"),
        ({"frames_per_clip": 0}, "frames per clip of a rig should be 1 or more, got 0"),
        ({"frame_wh": (0, 480)}, "width of a rig should be 1 or more, got 0"),
        ({"frame_wh": (640, -1)}, "height of a rig should be 1 or more, got -1"),
        ({"frame_wh": (10**6, 10**6)}, "expected at most 120 megapixels"),
        ({"seed": -1}, "seed of a rig should be 0 or more, got -1"),
    ],
)
def test_what_cannot_be_filmed(asked: dict[str, Any], words: str, shared_sheet_pdf: Path, tmp_path: Path) -> None:
    behind = [(tmp_path / "not read.png", None)]
    with pytest.raises(InputError, match=words):
        RenderedRig(shared_sheet_pdf, Scene.read("stand"), behind, **asked)
    if "samples" not in asked:
        with pytest.raises(InputError, match=words):
            VirtualRig(shared_sheet_pdf, behind, **asked)


def test_cloth_is_not_much_larger_than_the_sheet(shared_sheet_pdf: Path, tmp_path: Path) -> None:
    cloth = Scene(lights=[{"kind": "ambient"}], support={"shape": "ripple", "length_m": 40})
    with pytest.raises(InputError, match=r"cloth of 40 m has too many waves .* give it a length_m of 1\.1 or less"):
        RenderedRig(shared_sheet_pdf, cloth, [(tmp_path / "not read.png", None)])


def test_a_frame_is_not_exposed_for_longer_than_its_motion_is_known(shared_sheet_pdf: Path, tmp_path: Path) -> None:
    passing = Scene.read("walk_past")
    camera = passing.camera.to_dict() | {"effects": {"motion_blur": {"exposure_s": 0.05}, "rolling_shutter": {}}}
    slow = passing.changed(camera=camera)
    behind = [(tmp_path / "not read.png", None)]
    with pytest.raises(
        InputError, match=r"frames are 0\.00837 s apart, .* expose each for 0\.07 s; expected at most 0\.0167 s"
    ):
        RenderedRig(shared_sheet_pdf, slow, behind, frames_per_clip=240)
    assert RenderedRig(shared_sheet_pdf, slow, behind, frames_per_clip=30)


@pytest.mark.parametrize("shape", ["cylinder", "curl"])
def test_a_sheet_is_not_wider_than_what_it_goes_around(shape: str, shared_sheet_pdf: Path) -> None:
    def rig(radius_mm: float) -> RenderedRig:
        scene = Scene(lights=[{"kind": "ambient"}], background="room", support={"shape": shape, "radius_mm": radius_mm})
        return RenderedRig(shared_sheet_pdf, scene, [])

    with pytest.raises(InputError, match=rf"mm wide around the axis of the scene's {shape}, which is 94 mm") as refused:
        rig(15)
    enough = int(str(refused.value).partition("radius_mm of ")[2].split()[0])
    assert 15 < enough < 30 and rig(enough)


@pytest.fixture
def film(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., CommandResult]
) -> Callable[..., CommandResult]:
    """Film a patch that was never printed, as far as a model would be loaded."""
    vivid_patch().save(tmp_path / "run")
    monkeypatch.chdir(tmp_path)

    def loaded(*_: object, **__: object) -> None:
        raise InputError("a model is loaded")

    monkeypatch.setattr("captures.workflows.session_start.session_models", loaded)
    return lambda scene, *more: command("live", "run", "--source", "rendered", "--headless", "--scene", scene, *more)


def test_what_is_missing_is_told_before_a_model_is_loaded(
    film: Callable[..., CommandResult], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    film("stand").assert_refused("a model is loaded")
    (tmp_path / "light.toml").write_text(f'{LIT}spectrum = "LED-B9"')
    film("light.toml").assert_refused("unknown illuminant 'LED-B9'; did you mean 'LED-B")
    (tmp_path / "camera.toml").write_text(f'[camera]\nsensitivities = "Nikon 51"\n{LIT}')
    film("camera.toml").assert_refused("unknown camera 'Nikon 51'; did you mean 'Nikon 5100 (NPL)'")

    def not_installed() -> None:
        raise UnavailableError("rendered scenes need Mitsuba")

    monkeypatch.setattr("captures.sources.rendered.camera.effects.mosaic._demosaicing", not_installed)
    film("phone").assert_refused("rendered scenes need Mitsuba")
    monkeypatch.setattr("captures.sources.rendered.engine.engine", not_installed)
    film("stand").assert_refused("rendered scenes need Mitsuba")
    assert not (tmp_path / "sessions").exists()


def test_a_room_needs_no_photographs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., CommandResult], tiny_victim: Any
) -> None:
    """As far as the rig is built: of what the run held out, only a scene before photographs takes some."""
    vivid_patch().save(tmp_path / "run")
    monkeypatch.chdir(tmp_path)

    def held_out(*_: object) -> None:
        raise InputError("the photographs are missing")

    def built(*_: object, **__: object) -> None:
        raise InputError("the rig is built")

    monkeypatch.setattr("captures.workflows.session_start.session_models", lambda *_, **__: (tiny_victim, None))
    monkeypatch.setattr("captures.workflows.session_start.held_out_files", held_out)
    monkeypatch.setattr("captures.workflows.session_start.rendered_rig", built)
    rendered = ("live", "run", "--source", "rendered", "--headless", "--out", "session", "--scene")
    command(*rendered, "room").assert_refused("the rig is built")
    command(*rendered, "stand").assert_refused("the photographs are missing")
    assert not (tmp_path / "session").exists()


def test_a_rig_that_cannot_be_built_leaves_no_session(tmp_path: Path) -> None:
    for made in ("new", "old"):
        session = tmp_path / made
        if made == "old":
            session.mkdir()
            (session / "notes.txt").touch()
        with pytest.raises(InputError, match="too large"), discarded_on_failure(session):
            session.mkdir(exist_ok=True)
            (session / "sheet.pdf").touch()
            raise InputError("the sheet is too large")
    assert not (tmp_path / "new").exists() and (tmp_path / "old/notes.txt").exists()

"""What the rendered rig refuses, in one line and before anything is rendered or written."""

from pathlib import Path

import pytest

from calibration.common.errors import InputError
from captures.sources.rendered import scene_names
from captures.sources.rendered.scene_file import Scene

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

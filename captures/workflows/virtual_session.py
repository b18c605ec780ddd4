"""Set up the virtual or the rendered rig, and print a sheet for it if there is none."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict, Unpack

import platformdirs

from calibration.common.errors import InputError
from calibration.common.units import parse_length_mm
from calibration.sheet.paper_sizes import PATCH_SIZE, SIGN_SIZE
from captures.results.session_record import RigRecord
from captures.sources.opening import Rig
from captures.sources.rendered.scene_file import Scene
from captures.sources.virtual_rig import VirtualRig
from physpatch.commands.workflows import PrintRun
from physpatch.records.config import TrainConfig
from physpatch.records.patch_file import CONTROLS, Patch
from physpatch.records.run_paths import sheet_of


class Extent(TypedDict, total=False):
    """How much a rig shows, where it is not the rig's own."""

    clips: int
    frames_per_clip: int


def print_for_rig(
    patch: Patch | None,
    config: TrainConfig | None,
    session: Path,
    print_run: PrintRun,
    say: Callable[[str], None],
) -> Path:
    """Print the run's patch with all controls into the session's folder; return the PDF.

    Raises:
        InputError: if there is no patch, or it does not fit its sign.
    """
    patch = require_patch(patch)
    settings, sheet = config or TrainConfig(), sheet_of(session)
    size = PATCH_SIZE if settings.object.drawn_sign is None else SIGN_SIZE
    beside = settings.object.drawn_sign is not None and not all(0 <= share <= 1 for share in settings.object.at)
    paper = "a3" if beside else "a4"  # a plate beside the sign needs more room
    print_run(patch, settings, parse_length_mm(size), sheet, paper=paper, controls=CONTROLS)
    say(f"no printed sheet yet: the rig shows {sheet}, {size} with all controls")
    return sheet


@contextmanager
def discarded_on_failure(session: Path) -> Iterator[None]:
    """Remove a session's folder that the block made, with the sheet that was printed there, if the block fails."""
    existed = session.exists()
    try:
        yield
    except BaseException:
        if not existed:
            shutil.rmtree(session, ignore_errors=True)
        raise


def require_renderable(scene: Scene) -> None:
    """Check that this machine can render a scene and has its lights, camera and effects, before anything takes long.

    Raises:
        InputError: no illuminant or camera of a name.
        UnavailableError: Mitsuba, colour-science or what an effect needs is not installed.
    """
    from captures.sources.rendered.engine import engine
    from captures.sources.rendered.spectra import illuminant, sensitivities

    for light in scene.lights:
        illuminant(light.spectrum)
    sensitivities(scene.camera.sensitivities)
    for effect in scene.camera.effects.values():
        effect.require_libraries()
    engine()


def rig_record(rig: Rig) -> RigRecord:
    """Create the record of a rig for ``session.json``."""
    return RigRecord(seed=rig.seed, clips=rig.clips, frames_per_clip=rig.frames_per_clip)


def require_patch(patch: Patch | None) -> Patch:
    """Return the patch.

    Raises:
        InputError: if there is none, so that a rig has nothing to show.
    """
    if patch is None:
        raise InputError("a rig needs a patch to show; train one with `physpatch train --eot`, or pass a run")
    return patch


def virtual_rig(
    sheet: Path, photographs: Sequence[tuple[Path, str | None]], seed: int, **extent: Unpack[Extent]
) -> VirtualRig:
    """Build a rig that shows a PDF's sheets in front of photographs, which take turns as backgrounds of the clips.

    Args:
        sheet, photographs, seed: see the rig.
        extent: how much it shows.
    """
    return VirtualRig(sheet, photographs, seed=seed, **extent)


def rendered_rig(
    sheet: Path, photographs: Sequence[tuple[Path, str | None]], seed: int, scene: Scene, **extent: Unpack[Extent]
) -> Rig:
    """Build a rig that shows a PDF's sheets in a rendered scene; what it renders is kept in the user's cache folder.

    For arguments see :func:`virtual_rig`.

    Raises:
        UnavailableError: if Mitsuba or colour-science is not installed.
    """
    from captures.sources.rendered.rendered_rig import RenderedRig
    from captures.sources.rendered.shots import ShotCache

    cache = ShotCache(platformdirs.user_cache_path("physpatch") / "shots")
    return RenderedRig(sheet, scene, photographs, seed=seed, cache=cache, **extent)

"""The session of the demo: the virtual rig, rehearsing what a camera would film."""

from collections.abc import Sequence
from pathlib import Path

from calibration.sheet.layout import SheetLayout
from captures.session.live_session import SessionPlan
from captures.session.session_setup import session_notes
from captures.sources.virtual_rig import VirtualRig
from captures.workflows.virtual_session import virtual_rig
from physpatch.records.config import TrainConfig
from physpatch.records.patch_file import Patch
from physpatch.training.run import held_out_files
from physpatch.victims.registry import load_victim


def demo_session(
    run: Path,
    config: TrainConfig,
    sheet: Path,
    layouts: Sequence[SheetLayout],
    session: Path,
    *,
    clips: int,
    seed: int,
) -> tuple[VirtualRig, SessionPlan]:
    """Put a run's printed sheets before photographs that it held out.

    Args:
        run: its folder, trained with ``config``.
        config: of the run.
        sheet: the PDF.
        layouts: what it shows.
        session: the folder that the session will be in.
        clips: places and backgrounds to hold every sheet at.
        seed: of these.

    Returns:
        What films, and what the frames are looked at with.
    """
    classifier = load_victim(config.victim.model)
    rig = virtual_rig(sheet, held_out_files(run, config, classifier), seed, clips)
    notes = session_notes(session, run, sheet, virtual=True)
    target = Patch.load(run).target
    return rig, SessionPlan(classifier, layouts=layouts, intrinsics=rig.intrinsics, target=target, notes=notes)

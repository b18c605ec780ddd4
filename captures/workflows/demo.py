"""The session of the demo, with the virtual rig in place of a camera."""

from collections.abc import Sequence
from pathlib import Path

from calibration.sheet.layout import SheetLayout
from captures.session.live_session import SessionConfig
from captures.session.session_setup import session_notes
from captures.sources.virtual_rig import VirtualRig
from captures.workflows.virtual_session import rig_record, virtual_rig
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
) -> tuple[VirtualRig, SessionConfig]:
    """Prepare a session that shows a run's printed sheets in front of its held-out photographs.

    Args:
        run: folder of the run.
        config: of the run.
        sheet: the PDF.
        layouts: of its sheets.
        session: the future folder of the session.
        clips: number of poses; the photographs take turns as backgrounds.
        seed: for poses and backgrounds.

    Returns:
        The virtual rig, and the settings of the session.
    """
    classifier = load_victim(config.victim.model)
    rig = virtual_rig(sheet, held_out_files(run, config, classifier), seed, clips=clips)
    notes = session_notes(session, run, sheet, virtual=True, rig=rig_record(rig))
    target = Patch.load(run).target
    return rig, SessionConfig(classifier, layouts=layouts, intrinsics=rig.intrinsics, target=target, notes=notes)

"""Write the report of a run or a session."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from calibration.colour.rig_profile import RigProfile
from calibration.common.errors import InputError, PhyspatchError
from calibration.common.files import require_writable_file, write_text
from captures.gap.decomposition import Gap, measure_gap
from captures.report.blocks import Document, Heading, Text
from captures.report.card import model_card
from captures.report.compare import comparison
from captures.report.first_screen import first_screen, run_screen
from captures.report.html import write_html
from captures.report.pdf import write_pdf
from captures.report.run_part import run_blocks
from captures.report.session_part import damage_blocks, session_blocks
from captures.report.wording import folder_name, moment_words
from captures.results.recorded_session import RecordedSession, require_kind
from captures.results.result_record import RESULT_FILE, result_of, result_of_session
from captures.results.sequences import export_sequences
from captures.storage import export_csv, export_parquet
from physpatch.records.patch_file import Patch
from physpatch.records.run_record import RunRecord
from physpatch.victims.registry import load_victim

_TITLE = "Does the patch still work?"


@dataclass(frozen=True)
class ReplayOptions:
    """Options for the replay of a session.

    Attributes:
        profile: rig profile with measured colours; None measures them on the session's sheets.
        device: for the models.
        trust: whether files of weights may run code.
    """

    profile: Path | None = None
    device: str = "auto"
    trust: bool = False


def write_report(
    folder: Path,
    out: Path | None = None,
    *,
    pdf: Path | None = None,
    card: bool = False,
    replay: ReplayOptions | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Write the report of a run or a session; that of a session includes its run, if the run still exists.

    Args:
        folder: of the run or the session; a session's ``frames.csv``, ``frames.parquet`` and ``sequences.csv`` are written
            there too.
        out: the HTML file; default ``report.html`` in the folder.
        pdf: file for the same report as PDF; None for no PDF.
        card: whether to write ``card.md``, a section for a model card, beside it. ``result.json`` is always written, unless a
            file is damaged.
        replay: options for replaying a session to find where the effect is lost; None for no replay.
        progress: called with the number of replayed frames and their total.
        say: receives the result of each replay in a sentence, and the reasons why a model could not be replayed.

    Returns:
        The HTML file.

    Raises:
        InputError: if the folder is neither a run nor a session, or the report cannot be written. Damaged files are named in
            the report, which uses the rest.
    """
    path, kind = out or folder / "report.html", require_kind(folder)
    for file in filter(None, (path, pdf)):
        require_writable_file(file)
    session, damaged = RecordedSession.salvaged(folder) if kind == "session" else (None, [])
    if session is None:
        document = Document(
            _TITLE, f"physpatch report of the run {folder_name(folder)}", run_blocks(folder), [*run_screen(folder)]
        )
    else:
        document = _of_session(session, damaged, path, replay, progress, say)
    write_html(document, path)
    if pdf is not None:
        write_pdf(document, pdf)
    try:
        result = result_of(folder) if session is None or damaged else result_of_session(session)
    except InputError as error:  # programs that read it cannot see what the report says of damaged files
        named = any(str(error) in words for words in damaged)
        say(f"not written: {RESULT_FILE}: {'it needs what is not whole' if named else error}")
        return path
    result.save(path.with_name(RESULT_FILE))
    if card:
        write_text(path.with_name("card.md"), model_card(result))
    return path


def write_comparison(folders: Sequence[Path], out: Path, *, pdf: Path | None = None) -> Path:
    """Write a comparison of runs, or of sessions, as HTML and optionally as PDF; return the HTML file.

    Raises:
        InputError: if there are fewer than two folders, or runs are mixed with sessions.
    """
    document = comparison(folders)
    write_html(document, out)
    if pdf is not None:
        write_pdf(document, pdf)
    return out


def _of_session(
    session: RecordedSession,
    damaged: Sequence[str],
    path: Path,
    replay: ReplayOptions | None,
    progress: Callable[[int, int], None],
    say: Callable[[str], None],
) -> Document:
    for words in damaged:
        say(f"not whole: {words}")
    _export(session, say)
    gaps, troubles = _gaps(session, replay, progress, say) if replay else ([], [])
    for gap in gaps:
        say(f"{gap.model}: {gap.sentence}")
    for trouble in troubles:
        say(f"not replayed: {trouble}")
    blocks = list(session_blocks(session, gaps, troubles, path))
    if session.run is not None:
        try:
            blocks += run_blocks(session.run)
        except InputError as error:
            blocks += [Heading("The patch"), Text(f"Not shown: {error}.")]
    begun = moment_words(session.record.begun) or "at an unknown time"
    subtitle = f"physpatch report of the session {folder_name(session.folder)}, begun {begun}"
    return Document(
        _TITLE, subtitle, blocks, [*first_screen(session, gaps, whole=not damaged), *damage_blocks(damaged)]
    )


def _export(session: RecordedSession, say: Callable[[str], None]) -> None:
    """Write rows and sequences beside the database, where that is possible: a report does not need them."""
    for export in (export_csv, export_parquet, partial(export_sequences, session.sequences)):
        try:
            export(session.folder)
        except OSError as error:
            say(f"not written, and not needed for the report: {error.filename} ({error.strerror})")
        except InputError:  # a damaged database, which was named already
            continue


def _gaps(
    session: RecordedSession,
    options: ReplayOptions,
    progress: Callable[[int, int], None],
    say: Callable[[str], None],
) -> tuple[list[Gap], list[str]]:
    """Replay all models that are available unchanged, and give the reasons for the others."""
    if session.run is None or not (session.run / "patch.json").is_file():
        return [], ["the run that trained the patch was moved or deleted, so its training settings are unknown"]
    profile = RigProfile.load(options.profile) if options.profile else None
    try:
        patch, run = Patch.load(session.run), RunRecord.of(session.run)
        config = run.train_config
    except InputError as error:
        return [], [str(error)]
    gaps, troubles = [], []
    for noted in session.record.models:
        if noted.defence:
            continue  # the gap is the camera's, not the defence's
        try:
            own = run.weights is not None and noted.name == run.weights.model
            victim = load_victim(
                config.victim.model if own else noted.loaded_as or noted.name,
                **(noted.loaded_with or (config.victim.model_options if own else {})),
                device=options.device,
                trust=options.trust,
                say=say,
            )
            if victim.weights.sha256 != noted.sha256:
                raise InputError("its weights differ from those of the session")
            if noted.threshold is not None:
                victim = replace(victim, threshold=noted.threshold)
            digital = run.results if own else run.measured.get(victim.name)
            gaps.append(
                measure_gap(session, victim, patch, config, profile=profile, digital=digital, progress=progress)
            )
        except PhyspatchError as error:
            troubles.append(f"{noted.name}: {error}")
    return gaps, troubles

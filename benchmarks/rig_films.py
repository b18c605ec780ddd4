"""The model of a run, what it may be measured on, and what a killed bench need not film again; shared by several benches."""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kept_results import kept_result

from calibration.common.errors import InputError
from calibration.common.files import file_sha256, read_json, write_json
from physpatch import TrainConfig, load_victim
from physpatch.data.photographs import UNLABELLED, Photo, Photographs, files_of, photos_for
from physpatch.data.splits import refuse_overlap
from physpatch.records.run_record import RUN_FILE
from physpatch.victims.protocol import Victim


def victim_of(config: TrainConfig) -> Victim:
    """Load the model that a run was trained on, with the weights, labels and threshold of its training."""
    return load_victim(config.victim.model, **config.victim.model_options, trust=config.victim.trust_weights)


def labelled_photos(victim: Victim, data: str, runs: Sequence[Path]) -> list[Photo]:
    """List the photographs of ``data`` whose class the model has.

    Raises:
        InputError: there are none, or one of ``runs`` was trained on some of them.
    """
    photos = [photo for photo in photos_for(victim, data) if photo.label != UNLABELLED]
    if not photos:
        raise InputError(
            f"{data} has no photograph with a label of {victim.name}, without which no answer can be judged"
        )
    for run in runs:
        record = read_json(run / RUN_FILE) if (run / RUN_FILE).is_file() else {}
        learned = (record.get("data") or {}).get("learned_from") or ()
        refuse_overlap(files_of(photos), learned, f"the run {run.name}", "give --data that it has not seen")
    return photos


def require_apart(training: Photographs, held: Photographs) -> None:
    """Check that no photograph is both trained and judged on.

    Raises:
        InputError: some are.
    """
    if shared := training.content_ids & held.content_ids:
        raise InputError(f"{len(shared)} photographs of --held are among those of --data; give others to judge on")


def contents(behind: Iterable[tuple[Path, str | None]]) -> list[str]:
    """List what the photographs behind a sheet hold, as SHA-256: another one may have the name of an earlier one."""
    return [file_sha256(path) for path, _ in behind]


def make_once(out: Path, settings: Mapping[str, Any], make: Callable[[], object]) -> None:
    """Make a folder, unless it was made under these settings; what is unfinished there or of other settings is removed."""
    finished = out.with_name(f"{out.name}.settings.json")  # written last
    if kept_result(finished, settings) is None:
        finished.unlink(missing_ok=True)
        shutil.rmtree(out, ignore_errors=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        make()
        write_json(finished, {"settings": dict(settings)})

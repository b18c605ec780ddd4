"""The model of a run, and what a killed bench need not make again: whole sessions of a rig; shared by several benches."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kept_results import kept_result

from calibration.common.files import write_json
from captures.results.recorded_session import RecordedSession
from captures.session.live_session import film_rig
from captures.sources.opening import Rig
from physpatch import TrainConfig, load_victim
from physpatch.victims.protocol import Victim


def victim_of(config: TrainConfig) -> Victim:
    """The model that a run was trained on, with the weights, labels and threshold of its training."""
    return load_victim(config.victim.model, **config.victim.model_options, trust=config.victim.trust_weights)


def make_once(out: Path, settings: Mapping[str, Any], make: Callable[[], object]) -> None:
    """Make a folder, unless it was made under these settings; what is unfinished there or of other settings is removed."""
    finished = out.with_name(f"{out.name}.settings.json")  # written last
    if kept_result(finished, settings) is None:
        finished.unlink(missing_ok=True)
        shutil.rmtree(out, ignore_errors=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        make()
        write_json(finished, {"settings": dict(settings)})


def film_whole(rig: Rig, victim: Victim, target: dict[str, Any] | None, out: Path, **options: Any) -> RecordedSession:
    """Film all that a rig shows; for options see :func:`captures.session.live_session.film_rig`.

    Raises:
        KeyboardInterrupt: it was interrupted, which a session takes for its end.
    """
    session = RecordedSession.open(film_rig(rig, victim, target, out, **options))
    if session.record.status != "ended":
        raise KeyboardInterrupt
    return session

"""The model of a run, and what a killed bench need not film again; shared by several benches."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kept_results import kept_result

from calibration.common.files import write_json
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

"""Evaluation of a run's patch on other photographs, on other models and behind defences."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from calibration.colour.colour_map import Print
from physpatch.data.photographs import Photographs
from physpatch.defences import EVERY, defence_for, defended, named_defences, require_defences
from physpatch.defences.certification import certified_accuracy
from physpatch.evaluation.classification import Evaluation, defence_effect
from physpatch.records.config import TrainConfig
from physpatch.records.eot_config import EotConfig
from physpatch.records.evaluation_record import EvaluationRecord
from physpatch.records.imported_run import require_imported, save_results
from physpatch.records.patch_file import Patch
from physpatch.records.run_config import load_run_config
from physpatch.records.run_logs import open_logs
from physpatch.records.run_logs.values import flat_settings, result_values
from physpatch.records.run_paths import folder_of
from physpatch.training.run import held_out_photographs, measure_patch, poses_for, same_data, weights_record
from physpatch.victims.protocol import Victim
from physpatch.victims.registry import load_victim, named_apart

Progress = Callable[[str, int, int], None]


def evaluate_run(
    folder: Path,
    *,
    data: str | None = None,
    columns: str | None = None,
    models: Sequence[str] = (),
    weights: str | None = None,
    labels: str | None = None,
    threshold: float | None = None,
    cam_layer: str | None = None,
    trust: bool = False,
    eot: EotConfig | None = None,
    printing: tuple[Print, ...] | None = None,
    defences: tuple[str, ...] = (),
    device: str = "auto",
    seed: int = 1,
    save: bool = False,
    progress: Progress = lambda name, done, total: None,
    say: Callable[[str], None] = print,
) -> dict[str, EvaluationRecord]:
    """Measure a run's patch, and its controls at the same poses.

    Args:
        folder: the run's, or its ``patch.json``.
        data: photographs, no more of which are used than the run's ``limit``; None for the held-out part of the run's own.
        columns: of these data, if they are a table.
        models: names or files of the victims; empty for the run's own model.
        weights: a weights file for the one model given.
        labels: the class names of the one model given, or of the run's own; see ``load_victim``.
        threshold: the lowest confidence at which an answer of the models counts; None for their own.
        cam_layer: the layer for Grad-CAM of the one model given, or of the run's own; some defences use it.
        trust: whether weights files may run code.
        eot: ranges of the poses; None for those of the run's training.
        printing: the conditions of which each view has one, as it is; empty for the colours of a screen; None for those of the
            ranges, with their mixtures.
        defences: names, or ``all``; each victim is also measured behind them.
        device: for the victims.
        seed: of the poses.
        save: keep the results, and what they were measured in, in the record of an imported run.
        progress: called with the victim's name, the number of views measured and their total.
        say: receives a line about the loaded model.

    Returns:
        The results by the victim's name; behind a defence with ``defence``, its effect and its cost.

    Raises:
        InputError: nothing to measure on, photographs that were trained on, or an unavailable model or defence.
    """
    require_defences(defences, EVERY)
    if save:
        require_imported(folder)
    patch, config = Patch.load(folder), load_run_config(folder) or TrainConfig()
    views = config.eot if eot is None else eot
    if printing is not None:
        views = views.changed(prints=printing, print_mix=(0.0, 0.0), print_fade=(0.0, 0.0))
    measured_as = config.changed(eot=views)
    results: dict[str, EvaluationRecord] = {}
    first: Victim | None = None
    for name in models or (config.victim.model,):
        own = config.victim.model_options
        options = dict.fromkeys(own) if models else own
        given_options = {"weights": weights, "labels": labels, "threshold": threshold, "cam_layer": cam_layer}
        options |= {key: value for key, value in given_options.items() if value is not None}
        victim = named_apart(load_victim(name, **options, device=device, trust=trust, say=say), results)
        if first is None:
            first, measured_as = victim, measured_as.changed(model=victim.loaded_as or victim.name, **options)
        photographs = held_out_photographs(folder, config, data, victim, columns)
        measure = partial(
            measure_patch,
            photographs=photographs,
            patch=patch,
            config=measured_as,
            seed=seed,
            poses=poses_for(victim, photographs),
        )
        bare = measure(victim, progress=partial(progress, victim.name))
        results[victim.name] = bare.to_record()
        for defence_name in named_defences(defences, victim):
            results |= measure_behind(victim, defence_name, bare, measure, photographs, seed, progress)
        if victim.queries is not None:
            say(victim.queries.words(victim.name))
    if save and first is not None:
        if data is not None and not same_data(data, config.data.source):
            measured_as = measured_as.changed(data=data, columns=columns)
        save_results(folder, results, weights_record(first), measured_as.anchored(), seed)
    return results


def measure_behind(
    victim: Victim,
    defence: str,
    bare: Evaluation,
    measure: Callable[..., Evaluation],
    photographs: Photographs,
    seed: int,
    progress: Progress = lambda name, done, total: None,
) -> dict[str, EvaluationRecord]:
    """Measure a patch on a victim behind a defence, with the effect of the defence and its certificate.

    Args:
        victim: the network without the defence.
        defence: its name.
        bare: the patch's results on that network.
        measure: measures the patch on the victim it is given, in the same views.
        photographs: of these views.
        seed: of the photographs whose answers are certified.
        progress: called with the victim's name, the number of views measured and their total.

    Raises:
        InputError: no such defence, or one for another kind of victim.
    """
    variant = defended(victim, defence)
    behind = measure(variant, progress=partial(progress, variant.name))
    certifying = partial(progress, f"{variant.name}, certifying")
    certified = certified_accuracy(defence_for(victim, defence), photographs, seed, certifying)
    effect = defence_effect(bare, behind).changed(certified_accuracy=certified)
    return {variant.name: behind.to_record().changed(defence=effect)}


def log_evaluation(
    folder: Path, results: Mapping[str, EvaluationRecord], logs: Sequence[str], settings: Mapping[str, Any]
) -> None:
    """Log an evaluation for other tools: what was measured on, the rates with their intervals, and the patch.

    Args:
        folder: the run's, or its ``patch.json``.
        results: by the victim's name.
        logs: see :func:`physpatch.records.run_logs.open_logs`.
        settings: of the evaluation.
    """
    run = folder_of(folder)
    with open_logs(logs, run, f"{run.resolve().name} evaluation") as log:
        log.parameters(flat_settings({**settings, "models": ", ".join(results), "patch": Patch.load(folder).id}))
        for name, result in results.items():
            log.results(result_values(result, f"{name}/"))
        log.picture("patch", run / "patch.png")

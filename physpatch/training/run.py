"""A training run on disk: the files of ``physpatch train``, and resuming from them."""

import csv
import math
import re
import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save

import physpatch
from calibration.common.errors import InputError, first_line
from calibration.common.files import atomic_path, claimed, naming, require_writable
from physpatch.attack.placement import AttackRegion, Placement, object_class
from physpatch.data.photographs import (
    UNLABELLED,
    Photo,
    Photographs,
    files_of,
    limited,
    load_photographs,
    load_photos,
    photos_for,
    refuse_learned,
    split_photos,
)
from physpatch.data.splits import refuse_overlap
from physpatch.defences import UNDEFENDED, require_defences
from physpatch.evaluation.classification import EVALUATION_SEED_OFFSET, Evaluation, evaluate_patch, scenes, usable
from physpatch.evaluation.detection import evaluate_on_object
from physpatch.evaluation.figures.examples import save_eot_samples, save_pictures
from physpatch.evaluation.figures.plots import save_evolution, save_loss_plot
from physpatch.records.config import TrainConfig, require_data
from physpatch.records.data_columns import Columns
from physpatch.records.environment import device_name, versions
from physpatch.records.evaluation_record import EvaluationRecord, HeatRecord, TargetClass
from physpatch.records.patch_file import Patch
from physpatch.records.run_logs import RunLogs, open_logs
from physpatch.records.run_logs.values import flat_settings, result_values
from physpatch.records.run_paths import RUNS_FOLDER, find_run, folder_of, mark_as_latest
from physpatch.records.run_record import (
    RUN_FILE,
    EnsembleWeights,
    QueriesRecord,
    RunData,
    RunRecord,
    TargetChoiceRecord,
    WeightsRecord,
)
from physpatch.training.counted_photographs import counted_photographs
from physpatch.training.distributed import Processes
from physpatch.training.starts import anchored_start
from physpatch.training.targets import TargetChoice, require_target, resolve_target
from physpatch.training.targets.base import Progress as Choosing
from physpatch.training.trainer import StepRecord, Trainer, describe_target
from physpatch.training.victim_access import require_alike, require_training
from physpatch.victims.protocol import Victim
from physpatch.victims.registry import load_victim, named_apart

_CHECKPOINT = Path("checkpoint/state.safetensors")
_CHECKPOINT_SECONDS = 10.0
_ALWAYS_LOGGED = "tensorboard"
_COUNTS: dict[str, Callable[[str], float]] = {  # columns of metrics.csv that are no measurements
    "step": int,
    "queries": lambda value: int(float(value)),  # as it was written where a run had been resumed
}
_VIEWS_WANTED = 60  # fewer photographs are each measured in several poses

Progress = Callable[[StepRecord, int], None]
Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Materials:
    """The inputs of a run: the victims, the target and the photographs on both sides of the split.

    Attributes:
        imitators: the networks that learn to answer like the victims; empty for none.
        train: the photographs on the training side.
        counted: those of them that are trained on.
        held_out: the photographs on the other side.
    """

    victim: Victim
    others: tuple[Victim, ...]
    imitators: tuple[Victim, ...]
    choice: TargetChoice
    train: Photographs
    counted: Photographs
    held_out: Photographs

    @property
    def target(self) -> int | None:
        return self.choice.index

    @property
    def victims(self) -> tuple[Victim, ...]:
        return (self.victim, *self.others)


def train_run(
    config: TrainConfig,
    out: Path | None = None,
    *,
    mark_latest: bool = False,
    progress: Progress = lambda *_: None,
    choosing: Choosing | None = None,
    say: Say = print,
    logs: Sequence[str] = (),
) -> Path | None:
    """Train a patch and write a run folder: patch, curves, video, pictures, results on held-out photographs.

    Args:
        config: the settings of the run.
        out: the run folder; None to create one under ``runs/`` and link ``runs/latest`` to it.
        mark_latest: link ``runs/latest`` to ``out``, too.
        progress: called after each step with its record and the number of steps.
        choosing: shows how far the choice of a target is: called with the work done, all of it, and the stage in words.
        say: receives lines about the progress.
        logs: for other tools beside TensorBoard, see :func:`physpatch.records.run_logs.open_logs`.

    Returns:
        The run folder; None in all but the first of several processes, because the first one writes the files.

    Raises:
        InputError: the folder already holds a run, another process writes there, or ``config`` is unusable.
    """
    if out is not None and (out / RUN_FILE).exists():
        raise InputError(f"{out} already holds a run; give another --out, or --resume to continue it")
    if out is None:
        require_writable(RUNS_FOLDER)
    processes = Processes.launched(config.victim.device)
    with _claimed(out, processes):
        materials, config = _prepare(config, processes, say, choosing)
        _refuse_what_the_start_learned(config, materials.held_out)
        trainer = _trainer(materials, config, processes)
        processes.wait()  # all must have checked the folder before the first writes there
        if not processes.first:
            _follow(trainer)
            return None
        folder = out or _new_folder(config)
        with _claimed(None if out else folder, processes):
            _describe(config, materials).save(folder / RUN_FILE)
            if out is None or mark_latest:
                mark_as_latest(folder, say)
            return _train(folder, config, materials, trainer, progress, say, logs)


def resume_run(
    folder: Path,
    *,
    steps: int | None = None,
    progress: Progress = lambda *_: None,
    say: Say = print,
    logs: Sequence[str] = (),
) -> Path | None:
    """Resume an interrupted run from its last checkpoint; ``steps`` can lengthen it. See :func:`train_run`.

    Raises:
        InputError: no run there, another process writes there, or its data or weights have changed.
    """
    record = RunRecord.of(folder)
    config = record.train_config
    if steps is not None:
        config = config.changed(steps=steps, queries=None)
    processes = Processes.launched(config.victim.device)
    with _claimed(folder, processes):
        return _resume(folder, record, config, processes, progress, say, logs)


def _resume(
    folder: Path,
    record: RunRecord,
    config: TrainConfig,
    processes: Processes,
    progress: Progress,
    say: Say,
    logs: Sequence[str],
) -> Path | None:
    if record.weights is None or record.data is None:
        raise InputError(f"the patch of {folder} was imported, so there is no training to resume")
    state = _read_checkpoint(folder)
    step = 0 if state is None else _step_of(state, folder)
    materials, config = _prepare(config, processes, say)
    trainer = _trainer(materials, config, processes)
    if step > trainer.total_steps:
        raise InputError(f"{folder} already has {step} steps; give more --steps to lengthen it")
    imitators = [(imitator.name, imitator.weights.sha256) for imitator in materials.imitators]
    for input_name, before, now in (
        ("weights", record.weights.sha256, materials.victim.weights.sha256),
        ("imitators' weights", [(weights.model, weights.sha256) for weights in record.imitators], imitators),
        *(
            (f"weights of {victim.name}", record.also[victim.name].sha256, victim.weights.sha256)
            for victim in materials.others
            if victim.name in record.also
        ),
        ("training data", record.data.train_fingerprint, materials.train.fingerprint),
        ("held-out photographs", record.data.held_out_fingerprint, materials.held_out.fingerprint),
    ):
        if before != now:
            raise InputError(
                f"the {input_name} of {folder} have changed since it began; resumed, it would not be the same run"
            )
    processes.wait()
    if state is not None:
        _restore(trainer, state, folder)
        say(f"resuming at step {trainer.step} of {trainer.total_steps}")
    if not processes.first:
        _follow(trainer)
        return None
    if trainer.step < trainer.total_steps:  # what was measured was measured on the patch so far
        record = record.changed(results=None, training_seconds=None)
    record.changed(config=config.to_dict(), status="training").save(folder / RUN_FILE)
    return _train(folder, config, materials, trainer, progress, say, logs)


def measure_patch(
    victim: Victim,
    photographs: Photographs,
    patch: Patch,
    config: TrainConfig,
    *,
    seed: int,
    poses: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Measure a patch as the run placed it, alone or on its object.

    Args:
        victim: the network.
        photographs: held out from training, at the network's input size.
        patch: the patch to measure.
        config: the run's settings; ``config.eot`` are the ranges of the poses.
        seed, poses, progress: see :func:`physpatch.evaluation.classification.evaluate_patch`.

    Raises:
        InputError: no labelled photographs, or a victim that has no class for the object.
    """
    shared: dict[str, Any] = {"eot": config.eot, "seed": seed, "poses": poses, "progress": progress}
    if config.object.name is None:
        return evaluate_patch(
            victim,
            photographs,
            patch,
            area=config.patch.area,
            cut=config.patch.cut,
            scope=config.objective.scope,
            **shared,
        )
    target = None if patch.target is None else victim.target_index(patch.target)
    return evaluate_on_object(victim, photographs, patch, AttackRegion.of(config, victim.task, target), **shared)


def split_photographs(config: TrainConfig, victim: Victim) -> tuple[Photographs, Photographs]:
    """Load a run's photographs for training and for evaluation, at the sizes of ``victim``.

    Raises:
        InputError: see :func:`physpatch.data.photographs.split_photos`.
    """
    return load_photographs(config.data.source, victim, **_split_options(config))


def split_held_out(config: TrainConfig, victim: Victim) -> Photographs:
    """Load only those for evaluation of the photographs that :func:`split_photographs` loads.

    Raises:
        InputError: see there.
    """
    held_out = split_photos(config.data.source, victim, **_split_options(config))[1]
    return load_photos(held_out, victim.preprocessing)


def _split_options(config: TrainConfig) -> dict[str, Any]:
    return {
        "held_out": config.data.held_out,
        "limit": config.data.limit,
        "seed": config.optimisation.seed,
        "labelled": config.object.labelled,
        "columns": config.data.columns,
    }


def held_out_photographs(
    folder: Path, config: TrainConfig, data: str | None, victim: Victim, columns: str | None = None
) -> Photographs:
    """Load photographs to measure a run's patch on: the held-out part of its own data, or those of other data.

    No more than the run's ``limit`` are drawn from other data.

    ``columns`` are those of other data; see :func:`physpatch.data.photographs.list_photos`.

    Raises:
        InputError: nothing to measure on, photographs that the run or the victim was trained on, or other columns of the run's
            own data.
    """
    if data is None or same_data(data, config.data.source):
        _refuse_other_columns(config, columns)
        photos = _held_out(folder, config, victim)
    else:
        photos = limited(
            photos_for(victim, data, config.object.labelled, columns), config.data.limit, config.optimisation.seed
        )
        _refuse_overlap(folder, photos, victim, "measure on others, or leave out --data to use the held-out ones")
    if not photos:
        raise InputError("this run held out no labelled photographs; measure it on others with --data")
    return load_photos(photos, victim.preprocessing)


def held_out_files(folder: Path | None, config: TrainConfig, victim: Victim) -> list[tuple[Path, str | None]]:
    """List the files of the held-out photographs, each with the name of its class, if known.

    Raises:
        InputError: the run or the victim was trained on some of them.
    """
    photos = _held_out(folder, config, victim)
    named = ((p.path, None if p.label == UNLABELLED else victim.categories[p.label]) for p in photos)
    return list(dict.fromkeys(named))  # once each, regardless of its number of objects


def _held_out(folder: Path | None, config: TrainConfig, victim: Victim) -> list[Photo]:
    before = _run_data(folder)
    run = None if folder is None else folder_of(folder)
    if run is not None and before is None and (run / RUN_FILE).is_file():  # imported: nothing was trained on here
        everything = _own_photos(config, victim)
        judged = [photo for photo in everything if victim.task == "detect" or photo.label != UNLABELLED]
        held_out = limited(judged, config.data.limit, config.optimisation.seed)
    elif before is not None and before.learned_from is None:
        # The run is from before photographs were split by content, so only names tell what it held out.
        photos = limited(_own_photos(config, victim), config.data.limit, config.optimisation.seed)
        names = set(before.held_out_names)
        held_out = [photo for photo in photos if photo.path.name in names]
    else:
        held_out = split_photos(config.data.source, victim, **_split_options(config))[1]
    _refuse_overlap(folder, held_out, victim, "restore the data, or measure on others with --data")
    return held_out


def _own_photos(config: TrainConfig, victim: Victim) -> list[Photo]:
    return photos_for(victim, config.data.source, config.object.labelled, config.data.columns)


def _refuse_overlap(folder: Path | None, photos: Sequence[Photo], victim: Victim, cure: str) -> None:
    """Refuse photographs that the run, or the victim that its patch is measured on, was trained on."""
    before = _run_data(folder)
    learned_from = (before.learned_from if before else None) or ()
    refuse_overlap(files_of(photos), learned_from, "this run", cure)
    refuse_learned(photos, victim, cure)


def _refuse_what_the_start_learned(config: TrainConfig, held_out: Photographs) -> None:
    for start in config.optimisation.start_patches:
        if shared := held_out.content_ids & set(_learned_by(start)):
            raise InputError(
                f"{start} was trained on {len(shared)} of the photographs that are held out here, so what is measured on them "
                "would say too much; give the --data that it was trained on, or data that it has not seen"
            )


def _learned_by(start: str) -> Sequence[str]:
    """List the photographs that a patch to begin with was trained on, as far as they are known."""
    before = _run_data(find_run(start))
    return (before.learned_from if before else None) or ()


def _run_data(folder: Path | None) -> RunData | None:
    if folder is None:
        return None
    run = folder_of(folder)
    return RunRecord.of(run).data if (run / RUN_FILE).is_file() else None


def _refuse_other_columns(config: TrainConfig, columns: str | None) -> None:
    """Refuse columns other than those by which the run read its own data."""
    own = config.data.columns
    if columns is not None and Columns.absolute(columns) != Columns.absolute(own):
        raise InputError(
            f"{config.data.source} is the run's own --data, of which it read {own or 'the usual columns'}, not {columns}; "
            "leave out --columns, or give other --data"
        )


def same_data(first: str, second: str) -> bool:
    """Tell whether two sources of photographs are the same, however their paths are spelled."""
    return first == second or (Path(first).exists() and Path(second).exists() and Path(first).samefile(second))


def poses_for(victim: Victim, photographs: Photographs) -> int:
    """Choose the number of poses for each photograph that counts: one for many photographs, several for few."""
    counted = int(usable(victim, photographs).sum())
    return max(1, round(_VIEWS_WANTED / max(1, counted)))


def _claimed(folder: Path | None, processes: Processes) -> AbstractContextManager[None]:
    """Keep other trainings out of a folder; of several processes, the first does so."""
    return claimed(folder) if folder is not None and processes.first else nullcontext()


def _prepare(
    config: TrainConfig, processes: Processes, say: Say, choosing: Choosing | None = None
) -> tuple[Materials, TrainConfig]:
    """Load all inputs; the returned config has ``auto`` replaced by the choice made."""
    if not processes.first:
        say, choosing = _silent, None
    device = processes.device or config.victim.device
    require_data(config.data.source)  # before what takes long
    require_defences(config.victim.defences, UNDEFENDED)
    victim = load_victim(
        config.victim.model,
        **config.victim.model_options,
        device=device,
        trust=config.victim.trust_weights,
        say=say,
    )
    require_target(config.objective.target, victim)
    networks = [victim]
    for name in config.victim.ensemble:
        member = load_victim(name, device=device, trust=config.victim.trust_weights, say=say)
        networks.append(named_apart(member, [network.name for network in networks]))
    others = tuple(networks[1:])
    imitators = tuple(
        load_victim(name, device=device, trust=config.victim.trust_weights, say=say)
        for name in config.optimisation.imitate
    )
    require_alike((victim, *others))
    require_training((victim, *others), imitators, config, processes)
    if config.object.name is not None:
        for network in (victim, *others):
            object_class(network, config.object.name)  # refuses an unknown object before anything slow begins
    config = config.anchored()
    config = config.changed(start=tuple(map(anchored_start, config.optimisation.start)))
    train, held_out = split_photographs(config, victim)
    counted = counted_photographs(victim, train, config)
    if len(counted) < len(train):
        say(f"training on the {len(counted)} of {len(train)} photographs that are recognised behind a grey patch")
    if config.data.backgrounds is not None:
        if train.boxes:
            raise InputError(
                "the scenes of a session have no labelled objects; train on a drawn sign, or without --from-session"
            )
        filmed = load_photos(photos_for(victim, config.data.backgrounds), victim.preprocessing, whole=True)
        train, counted = _with_scenes(train, filmed), _with_scenes(counted, filmed)
    starts = [Patch.load(Path(start)) for start in config.optimisation.start_patches]
    choice = resolve_target(config.objective.target, victim, counted, config, say, choosing, others, starts)
    model = victim.loaded_as or victim.name
    named = "none" if choice.index is None else str(choice.index)
    materials = Materials(victim, others, imitators, choice, train, counted, held_out)
    return materials, config.changed(model=model, target=named)


def _with_scenes(photographs: Photographs, scenes: Photographs) -> Photographs:
    """Mix scenes into the photographs, repeated so that a batch contains about as many scenes as photographs."""
    return photographs.joined(scenes, max(1, round(len(photographs) / len(scenes))))


def _trainer(materials: Materials, config: TrainConfig, processes: Processes) -> Trainer:
    return Trainer(
        materials.victim,
        materials.counted,
        config,
        materials.target,
        others=materials.others,
        processes=processes,
        imitators=materials.imitators,
    )


def _follow(trainer: Trainer) -> None:
    """Train along with the first process, which writes the files."""
    for _ in trainer:
        pass


def _silent(_line: str) -> None:
    pass


def _train(
    folder: Path,
    config: TrainConfig,
    materials: Materials,
    trainer: Trainer,
    progress: Progress,
    say: Say,
    logs: Sequence[str],
) -> Path:
    rows = _read_metrics(folder / "metrics.csv", trainer.step, _columns(trainer))
    sent_before = RunRecord.of(folder).queries
    try:
        with (
            naming(folder),
            open_logs((_ALWAYS_LOGGED, *logs), folder, folder.resolve().name, trainer.step) as log,
        ):
            log.parameters(flat_settings(config.to_dict()))
            save_eot_samples(folder / "eot.png", materials.victim, materials.train, trainer.patch, config)
            _run_steps(folder, trainer, rows, progress, log, say)
            say("measuring on held-out photographs")
            _finish(folder, config, materials, trainer, rows)
            for name, result in RunRecord.of(folder).measured.items():
                if result is not None:
                    log.results(result_values(result, f"{name}/"))
            log.picture("patch", folder / "patch.png")
    except KeyboardInterrupt:
        say(
            f"stopped after step {trainer.step}; continue with `physpatch train --resume --out {shlex.quote(str(folder))}`"
        )
        raise
    finally:
        _note_queries(folder, materials.victim, sent_before)
    return folder


def _note_queries(folder: Path, victim: Victim, before: QueriesRecord | None) -> None:
    """Record what was sent to an endpoint, before a run was resumed and since."""
    sent = victim.queries
    if sent is not None:
        requests, images = (before.requests, before.images) if before else (0, 0)
        total = QueriesRecord(requests=requests + sent.requests, images=images + sent.images)
        RunRecord.of(folder).changed(queries=total).save(folder / RUN_FILE)


def _counted(trainer: Trainer) -> list[str]:
    return ["queries"] if trainer.counts_queries else []


def _columns(trainer: Trainer) -> list[str]:
    """List the columns of ``metrics.csv``."""
    return ["step", "loss", *trainer.term_names, "success", "seconds", *_counted(trainer)]


def _run_steps(
    folder: Path, trainer: Trainer, rows: list[dict[str, Any]], progress: Progress, log: RunLogs, say: Say
) -> None:
    """Train to the end. Write a row of ``metrics.csv`` per step, and checkpoints every few seconds and at any stop."""
    saved = -math.inf  # so that the first step writes a checkpoint
    counted, columns = _counted(trainer), _columns(trainer)
    # Without rows that a killed process wrote after its checkpoint.
    _write_metrics(folder / "metrics.csv", columns, rows)
    with open(folder / "metrics.csv", "a", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        try:
            for record in trainer:
                row: dict[str, Any] = {
                    "step": record.step,
                    "loss": record.loss,
                    **record.terms,
                    "success": record.success,
                    "seconds": record.seconds,
                } | dict.fromkeys(counted, record.queries)
                writer.writerow(row)
                stream.flush()
                rows.append(row)
                log.metrics({name: row[name] for name in ("loss", "success", *record.terms)}, record.step)
                progress(record, trainer.total_steps)
                if record.step in trainer.trial_ends:
                    say(_on_start(trainer.start_losses, trainer.config.optimisation.starts))
                if time.monotonic() - saved > _CHECKPOINT_SECONDS:
                    _write_checkpoint(folder, trainer)
                    saved = time.monotonic()
        finally:
            if trainer.step:
                _write_checkpoint(folder, trainer)
                trainer.patch.save(folder)


def _on_start(losses: Sequence[float], starts: int) -> str:
    """Say how the start did that was just tried, and after the last one which is the best."""
    words = f"start {len(losses)} of {starts}: loss {losses[-1]:.3f}"
    return words if len(losses) < starts else f"{words}; the best is start {losses.index(min(losses)) + 1}"


def _finish(
    folder: Path, config: TrainConfig, materials: Materials, trainer: Trainer, rows: list[dict[str, Any]]
) -> None:
    """Measure, then draw: if the program is stopped in between, the numbers are saved."""
    victim, held_out = materials.victim, materials.held_out
    patch = replace(trainer.patch, provenance=_provenance(config, materials))
    patch.save(folder)
    seed = config.optimisation.seed + EVALUATION_SEED_OFFSET
    results = _measure(folder, config, materials, patch, seed) if len(held_out) else None
    seconds = round(sum(row["seconds"] for row in rows), 2)
    record = RunRecord.of(folder).changed(
        training_seconds=seconds, start_losses=list(trainer.start_losses), results=results
    )
    record.save(folder / RUN_FILE)
    save_loss_plot(folder / "loss.png", rows, trainer.trial_ends)
    save_evolution(folder / "evolution.mp4", trainer.history)
    save_eot_samples(folder / "eot.png", victim, held_out if len(held_out) else materials.train, patch, config)
    if results is not None:
        scene = next(scenes(victim, held_out, Placement.of(config), config.eot, seed))
        heat = HeatRecord.model_validate(save_pictures(folder, victim, scene, patch))
        results = results.changed(grad_cam=heat)
    record.changed(status="finished", results=results).save(folder / RUN_FILE)


def _measure(folder: Path, config: TrainConfig, materials: Materials, patch: Patch, seed: int) -> EvaluationRecord:
    """Measure on held-out photographs, with the run's own network and the others it was trained on."""
    poses = poses_for(materials.victim, materials.held_out)
    results = measure_patch(materials.victim, materials.held_out, patch, config, seed=seed, poses=poses).to_record()
    records = {}
    for victim in materials.others:
        photographs = held_out_photographs(folder, config, None, victim)
        records[victim.name] = measure_patch(victim, photographs, patch, config, seed=seed, poses=poses).to_record()
    return results.changed(others=records) if records else results


def _provenance(config: TrainConfig, materials: Materials) -> dict[str, Any]:
    victim = materials.victim
    return {
        "physpatch": physpatch.__version__,
        "model": victim.name,
        "weights_sha256": victim.weights.sha256,
        "config": config.to_dict(),
    }


def _describe(config: TrainConfig, materials: Materials) -> RunRecord:
    victim = materials.victim
    return RunRecord(
        physpatch_run=1,
        config=config.to_dict(),
        target=TargetClass.of(describe_target(victim, materials.target)),
        target_choice=TargetChoiceRecord.model_validate(materials.choice.to_dict()),
        seed=config.optimisation.seed,
        device=device_name(victim.device),
        weights=weights_record(victim),
        data=RunData(
            source=config.data.source,
            train=len(materials.train),
            held_out=len(materials.held_out),
            train_fingerprint=materials.train.fingerprint,
            held_out_fingerprint=materials.held_out.fingerprint,
            held_out_names=list(materials.held_out.names),
            learned_from=sorted(
                materials.train.content_ids.union(*map(_learned_by, config.optimisation.start_patches))
            ),
        ),
        also={
            network.name: EnsembleWeights(source=network.weights.source, sha256=network.weights.sha256)
            for network in materials.others
        },
        imitators=list(map(weights_record, materials.imitators)),
        versions=versions(),
        status="training",
    )


def weights_record(victim: Victim) -> WeightsRecord:
    """Describe a victim and its weights, as ``run.json`` has them."""
    return WeightsRecord(
        model=victim.name, task=victim.task, source=victim.weights.source, sha256=victim.weights.sha256
    )


def _new_folder(config: TrainConfig) -> Path:
    """Create a new folder under ``runs/``, named by time, model and technique, and unique also among parallel runs."""
    model = re.sub(r"[^\w.]+", "-", Path(config.victim.model).stem)  # it may be an address
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{model}-{config.optimisation.technique}"
    RUNS_FOLDER.mkdir(exist_ok=True)
    for name in chain([stem], (f"{stem}-{n}" for n in count(2))):
        try:
            (RUNS_FOLDER / name).mkdir()
        except FileExistsError:
            continue
        return RUNS_FOLDER / name
    raise AssertionError("count() does not end")


def _write_checkpoint(folder: Path, trainer: Trainer) -> None:
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in trainer.state().items()}
    with atomic_path(folder / _CHECKPOINT) as temporary:
        temporary.write_bytes(save(state))


def _read_checkpoint(folder: Path) -> dict[str, torch.Tensor] | None:
    if not (folder / _CHECKPOINT).is_file():
        return None
    try:
        return load_file(folder / _CHECKPOINT)
    except safetensors.SafetensorError as error:
        raise _damaged_checkpoint(folder, error) from error


def _damaged_checkpoint(folder: Path, why: object) -> InputError:
    return InputError(f"{folder / _CHECKPOINT} is damaged ({why}); remove it to restart the run")


def _step_of(state: dict[str, torch.Tensor], folder: Path) -> int:
    """Return the step of a checkpoint; raise InputError if it has none."""
    step = state.get("step")
    if step is None or step.numel() != 1 or step.is_floating_point() or int(step) < 0:
        raise _damaged_checkpoint(folder, "it has no number of its step")
    return int(step)


def _restore(trainer: Trainer, state: dict[str, torch.Tensor], folder: Path) -> None:
    """Restore a trainer from a checkpoint; raise InputError if it does not fit this run."""
    for name, tensor in state.items():
        if tensor.is_floating_point() and not tensor.isfinite().all() and name != "leader_loss":
            raise _damaged_checkpoint(folder, f"{name} has values that are no numbers")
    try:
        trainer.restore(state)
    except (KeyError, ValueError, TypeError, IndexError, RuntimeError) as error:
        words = f"{error} is missing" if isinstance(error, KeyError) else first_line(error)
        raise _damaged_checkpoint(folder, words) from error
    history = state["history"]
    if history.dtype != torch.uint8 or history.shape[1:] != trainer.patch.cells.shape:
        raise _damaged_checkpoint(folder, "history has another shape than in this run")
    for name, now in trainer.state().items():  # values of another shape may have been stretched to fit
        if name in state and (state[name].shape != now.shape or state[name].dtype != now.dtype):
            raise _damaged_checkpoint(folder, f"{name} has another shape than in this run")


def _read_metrics(path: Path, last_step: int, columns: list[str]) -> list[dict[str, Any]]:
    """Read the rows up to the checkpoint; a killed process may have written later ones, which are repeated.

    Raises:
        InputError: other columns, or what is no number.
    """
    if not path.is_file() or not last_step:
        return []
    cure = "restore it from a backup, or remove it to go on without the numbers of the steps before"
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(line for line in stream if line.endswith("\n"))  # without a row that a kill cut off
            if reader.fieldnames and sorted(reader.fieldnames) != sorted(columns):
                raise InputError(f"{path} is damaged: expected the columns {', '.join(columns)}; {cure}")
            rows = [row for row in reader if None not in row.values() and None not in row]
        numbers = [{k: _COUNTS.get(k, float)(v) for k, v in row.items()} for row in rows]
    except (ValueError, csv.Error) as error:  # also what is not UTF-8
        raise InputError(f"{path} is damaged ({first_line(error)}); {cure}") from error
    return [row for row in numbers if row["step"] <= last_step]


def _write_metrics(path: Path, columns: list[str], rows: list[dict[str, Any]]) -> None:
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)

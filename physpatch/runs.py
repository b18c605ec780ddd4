"""A training run on disk: what ``physpatch train`` leaves, and how a killed run goes on."""

import csv
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save

import physpatch
from calibration.errors import InputError
from calibration.files import atomic_path, read_json, write_json
from physpatch.config import TrainConfig
from physpatch.data import Photo, Photographs, limited, list_photos, load_photographs, load_photos, split
from physpatch.evaluate import evaluate_patch, scenes
from physpatch.examples import save_examples, save_grad_cam
from physpatch.places import LATEST, RUNS_FOLDER
from physpatch.plots import save_evolution, save_loss_plot
from physpatch.train import StepRecord, Trainer, describe_target, resolve_target
from physpatch.victims.base import Victim
from physpatch.victims.registry import load_victim

_CHECKPOINT = Path("checkpoint/state.safetensors")
_CHECKPOINT_SECONDS = 10.0
_VIEWS_WANTED = 60  # a handful of photographs is seen in several poses each
_EVALUATION_SEED_OFFSET = 1  # evaluation poses are drawn apart from the training's
_VERSIONED = ("torch", "torchvision", "kornia", "numpy", "opencv-python", "ultralytics", "grad-cam")

Progress = Callable[[StepRecord, int], None]
Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Materials:
    """What a run works with: the victim, its target and the photographs on both sides of the split."""

    victim: Victim
    target: int | None
    train: Photographs
    held_out: Photographs


def train_run(
    config: TrainConfig, out: Path | None = None, *, progress: Progress = lambda *_: None, say: Say = print
) -> Path:
    """Train a patch and leave a run folder: patch, curves, video, pictures, results on held-out photographs.

    Args:
        config: what to do.
        out: the run folder; None makes one under ``runs/`` and points ``runs/latest`` at it.
        progress: called after each step with its record and the number of steps.
        say: receives one line at a time about what is being done.

    Returns:
        The run folder.

    Raises:
        InputError: the folder holds a run already, or anything in ``config`` cannot be used.
    """
    if out is not None and (out / "run.json").exists():
        raise InputError(f"{out} holds a run already; give another --out, or --resume to go on with it")
    materials, config = _prepare(config, say)
    trainer = Trainer(materials.victim, materials.train, config, materials.target)
    folder = out or _new_folder(config)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "run.json", _describe(config, materials) | {"status": "training"})
    if out is None:
        _point_latest(folder)
    return _train(folder, config, materials, trainer, progress, say)


def resume_run(
    folder: Path, *, steps: int | None = None, progress: Progress = lambda *_: None, say: Say = print
) -> Path:
    """Go on with a run that was interrupted, from its last checkpoint; ``steps`` may lengthen it.

    Raises:
        InputError: no run there, or its data or weights are not what they were.
    """
    record = read_json(folder / "run.json")
    config = TrainConfig.from_dict(record.get("config", {}))
    if steps is not None:
        config = replace(config, steps=steps)
    materials, config = _prepare(config, say)
    described = _describe(config, materials)
    for what, part, key in (("weights", "weights", "sha256"), ("training data", "data", "train_fingerprint")):
        if record.get(part, {}).get(key) != described[part][key]:
            raise InputError(
                f"the {what} of {folder} have changed since it began; resumed, it would not be the same run"
            )
    write_json(folder / "run.json", record | {"config": config.to_dict(), "status": "training"})
    trainer = Trainer(materials.victim, materials.train, config, materials.target)
    if (folder / _CHECKPOINT).is_file():
        trainer.restore(_read_checkpoint(folder))
        say(f"going on at step {trainer.step} of {config.steps}")
    return _train(folder, config, materials, trainer, progress, say)


def held_out_photographs(config: TrainConfig, data: str | None, victim: Victim) -> Photographs:
    """What a patch of this run is measured on: its own data's held-out part, or other data whole, as ``victim`` sees them."""
    if data is None or data == config.data:
        return load_photos(_held_out(config, victim), victim.preprocessing)
    return load_photos(limited(list_photos(data, victim.categories), config.limit, config.seed), victim.preprocessing)


def held_out_files(config: TrainConfig, victim: Victim) -> list[tuple[Path, str | None]]:
    """The held-out photographs' files, each with the name of the class that it shows."""
    return [(photo.path, victim.categories[photo.label]) for photo in _held_out(config, victim)]


def poses_for(photographs: Photographs) -> int:
    """Poses for each photograph: one where photographs are many, more where they are few."""
    return max(1, round(_VIEWS_WANTED / len(photographs)))


def _held_out(config: TrainConfig, victim: Victim) -> list[Photo]:
    photos = limited(list_photos(config.data, victim.categories), config.limit, config.seed)
    return split(photos, config.held_out, config.seed)[1]


def _prepare(config: TrainConfig, say: Say) -> tuple[Materials, TrainConfig]:
    """Load everything, with ``auto`` answered: the config that comes back names what is used."""
    victim = load_victim(config.model, weights=config.weights, device=config.device, say=say)
    train, held_out = load_photographs(
        config.data,
        victim.categories,
        victim.preprocessing,
        held_out=config.held_out,
        seed=config.seed,
        limit=config.limit,
    )
    if not len(held_out) and victim.task == "detect":
        held_out = _center_crops(train, victim.preprocessing.size)
    target = resolve_target(config.target, victim, train, config)
    named = "none" if target is None else str(target)
    if config.target == "auto" and target is not None:
        say(
            f"target auto: {victim.categories[target]!r} ({target}), the class that random patches of this grid favour most"
        )
    model = config.model if config.model.endswith(".pt") else victim.name
    return Materials(victim, target, train, held_out), replace(config, model=model, target=named)


def _center_crops(photographs: Photographs, size: int) -> Photographs:
    """Unlabelled photographs have no held-out part; a detector is then shown on the training ones, and the run says so."""
    first = (photographs.images.shape[-1] - size) // 2
    return replace(photographs, images=photographs.images[..., first : first + size, first : first + size])


def _train(
    folder: Path, config: TrainConfig, materials: Materials, trainer: Trainer, progress: Progress, say: Say
) -> Path:
    rows = _read_metrics(folder / "metrics.csv", trainer.step)
    try:
        started = time.monotonic()
        _run_steps(folder, trainer, rows, config.steps, progress)
        seconds = time.monotonic() - started
        say("measuring on held-out photographs")
        _finish(folder, config, materials, trainer, rows, seconds)
    except KeyboardInterrupt:
        say(f"stopped after step {trainer.step}; go on with `physpatch train --resume --out {folder}`")
        raise
    return folder


def _run_steps(folder: Path, trainer: Trainer, rows: list[dict[str, Any]], steps: int, progress: Progress) -> None:
    """Train to the end, a row in ``metrics.csv`` a step, a checkpoint every few seconds and when anything stops it."""
    from torch.utils.tensorboard import SummaryWriter

    saved = time.monotonic()
    columns = ["step", "loss", *trainer.term_names, "success", "seconds"]
    _write_metrics(folder / "metrics.csv", columns, rows)  # without what a kill left behind the checkpoint
    with (
        open(folder / "metrics.csv", "a", newline="", encoding="utf-8") as stream,
        SummaryWriter(folder / "tensorboard", purge_step=trainer.step) as board,
    ):
        writer = csv.DictWriter(stream, columns)
        try:
            for record in trainer:
                row = {
                    "step": record.step,
                    "loss": record.loss,
                    **record.terms,
                    "success": record.success,
                    "seconds": record.seconds,
                }
                writer.writerow(row)
                stream.flush()
                rows.append(row)
                for name in ("loss", "success", *record.terms):
                    board.add_scalar(name, row[name], record.step)
                progress(record, steps)
                if time.monotonic() - saved > _CHECKPOINT_SECONDS:
                    _write_checkpoint(folder, trainer)
                    saved = time.monotonic()
        finally:
            if trainer.step:
                _write_checkpoint(folder, trainer)
                trainer.patch.save(folder)


def _finish(
    folder: Path,
    config: TrainConfig,
    materials: Materials,
    trainer: Trainer,
    rows: list[dict[str, Any]],
    seconds: float,
) -> None:
    victim, held_out = materials.victim, materials.held_out
    patch = replace(trainer.patch, provenance=_provenance(config, materials))
    patch.save(folder)
    save_loss_plot(folder / "loss.png", rows)
    save_evolution(folder / "evolution.mp4", trainer.history)
    results: dict[str, Any] = {}
    if len(held_out):
        seed = config.seed + _EVALUATION_SEED_OFFSET
        results = evaluate_patch(
            victim, held_out, patch, area=config.area, eot=config.eot, seed=seed, poses=poses_for(held_out)
        ).to_dict()
        scene = next(scenes(victim, held_out, config.area, config.eot, seed))
        save_examples(folder / "examples.png", victim, scene, patch)
        results["grad_cam"] = save_grad_cam(folder / "gradcam.png", victim, scene, patch)
    record = read_json(folder / "run.json")
    write_json(
        folder / "run.json", record | {"status": "finished", "training_seconds": round(seconds, 2), "results": results}
    )


def _provenance(config: TrainConfig, materials: Materials) -> dict[str, Any]:
    victim = materials.victim
    return {
        "physpatch": physpatch.__version__,
        "model": victim.name,
        "weights_sha256": victim.weights.sha256,
        "config": config.to_dict(),
    }


def _describe(config: TrainConfig, materials: Materials) -> dict[str, Any]:
    victim = materials.victim
    return {
        "physpatch_run": 1,
        "config": config.to_dict(),
        "target": describe_target(victim, materials.target),
        "seed": config.seed,
        "device": device_name(victim.device),
        "weights": {"model": victim.name, "source": victim.weights.source, "sha256": victim.weights.sha256},
        "data": {
            "source": config.data,
            "train": len(materials.train),
            "held_out": len(materials.held_out),
            "train_fingerprint": materials.train.fingerprint,
            "held_out_fingerprint": materials.held_out.fingerprint,
        },
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Versions of this program and of what its numbers depend on."""
    found = {"physpatch": physpatch.__version__, "python": platform.python_version()}
    for package in _VERSIONED:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def device_name(device: torch.device) -> str:
    """The device in words, for records."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"


def _new_folder(config: TrainConfig) -> Path:
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{Path(config.model).stem}-{config.technique}"
    folder, number = RUNS_FOLDER / stem, 2
    while folder.exists():
        folder, number = RUNS_FOLDER / f"{stem}-{number}", number + 1
    return folder


def _point_latest(folder: Path) -> None:
    with atomic_path(LATEST) as temporary:
        temporary.symlink_to(folder.name, target_is_directory=True)


def _write_checkpoint(folder: Path, trainer: Trainer) -> None:
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in trainer.state().items()}
    with atomic_path(folder / _CHECKPOINT) as temporary:
        temporary.write_bytes(save(state))


def _read_checkpoint(folder: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(folder / _CHECKPOINT)
    except safetensors.SafetensorError as error:
        raise InputError(f"{folder / _CHECKPOINT} is damaged ({error}); remove it to start the run afresh") from error


def _read_metrics(path: Path, last_step: int) -> list[dict[str, Any]]:
    """The rows up to the checkpoint: a kill may have left later ones that will be made again."""
    if not path.is_file() or not last_step:
        return []
    with open(path, newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if None not in row.values() and None not in row]
    numbers = [{k: int(v) if k == "step" else float(v) for k, v in row.items()} for row in rows]
    return [row for row in numbers if row["step"] <= last_step]


def _write_metrics(path: Path, columns: list[str], rows: list[dict[str, Any]]) -> None:
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)

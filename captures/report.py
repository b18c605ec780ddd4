"""One self-contained HTML file that says what was measured, with pictures."""

import base64
import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
from jinja2 import Environment, PackageLoader

from calibration.errors import InputError
from calibration.files import read_json, write_text
from calibration.pdf import rasterise
from captures.store import export_csv, read_rows
from captures.summary import ConditionSummary, summarise
from physpatch.artifact import Patch
from physpatch.stats import Rate

_SHEET_DPI = 60
_MOST_FRAMES = 12
_FRAME_WIDTH_PX = 480


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Write ``report.html`` for a run or a session folder; a session's report shows its run too, where that is still there.

    Raises:
        InputError: the folder is neither.
    """
    run, session = _which(folder)
    values = {"title": folder.resolve().name, "run": _run_part(run), "session": _session_part(session)}
    environment = Environment(
        loader=PackageLoader("captures", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "rate": _rate,
        "percent": _percent,
        "json": lambda v: json.dumps(v, indent=2, ensure_ascii=False),
    }
    path = out or folder / "report.html"
    write_text(path, environment.get_template("report.html.jinja").render(values))
    return path


def _which(folder: Path) -> tuple[Path | None, Path | None]:
    if (folder / "session.db").is_file():
        noted = read_json(folder / "session.json").get("run") if (folder / "session.json").is_file() else None
        run = folder / noted if noted and (folder / noted / "run.json").is_file() else None
        return run, folder
    if (folder / "run.json").is_file():
        return folder, None
    raise InputError(f"{folder} is neither a run (run.json) nor a session (session.db)")


def _run_part(run: Path | None) -> dict[str, Any] | None:
    if run is None:
        return None
    record = read_json(run / "run.json")
    pictures = {name: _embed(run / f"{name}.png") for name in ("patch", "loss", "examples", "gradcam", "eot")}
    sheet = run / "sheet.pdf"
    patch = Patch.load(run) if (run / "patch.json").is_file() else None
    return {
        "name": run.resolve().name,
        "record": record,
        "patch": patch,
        "pictures": pictures,
        "sheet": _png(rasterise(sheet, _SHEET_DPI)) if sheet.is_file() else None,
        "steps": _count_rows(run / "metrics.csv"),
    }


def _session_part(session: Path | None) -> dict[str, Any] | None:
    if session is None:
        return None
    rows = read_rows(session)
    if not (session / "frames.csv").is_file():  # the session was killed
        export_csv(session)
    record = read_json(session / "session.json") if (session / "session.json").is_file() else {}
    summaries = summarise(rows, record.get("target"))
    pdf = session / str(record.get("sheet", ""))
    return {
        "name": session.resolve().name,
        "record": record,
        "frames": len({row.frame for row in rows}),
        "summaries": summaries,
        "plain": _plain_words(summaries, record.get("target")),
        "sheet": _png(rasterise(pdf, _SHEET_DPI)) if pdf.is_file() else None,
        "pictures": _frames(session),
    }


def _plain_words(summaries: Sequence[ConditionSummary], target: str | None) -> list[str]:
    """One sentence a model: the patch's effect beside the controls', whatever it is."""
    sentences = []
    for model in dict.fromkeys(s.model for s in summaries):
        found = {s.condition: s for s in summaries if s.model == model}
        for what, pick in (("the target class came first", "target"), ("the answer was wrong", "wrong")):
            rates: dict[str, Rate] = {c: getattr(s, pick) for c, s in found.items()}
            if "patch" not in rates or rates["patch"].rate is None or (pick == "target" and target is None):
                continue
            controls = ", ".join(
                f"{_rate(rates[c])} with the {c} control" for c in rates if c != "patch" and rates[c].rate is not None
            )
            sentences.append(
                f"{model}: with the patch, {what} in {_rate(rates['patch'])} of the clips"
                + (f"; {controls}." if controls else "; no control was shown, so this may be mere occlusion.")
            )
    return sentences


def _frames(session: Path) -> list[dict[str, str]]:
    """Key frames over the whole session, each kind of sheet equally often."""
    by_condition: dict[str, list[Path]] = {}
    for file in sorted((session / "frames").glob("*.jpg")):
        by_condition.setdefault(file.stem.partition("-")[2], []).append(file)
    each = max(1, _MOST_FRAMES // max(1, len(by_condition)))
    chosen = sorted(file for files in by_condition.values() for file in files[:: -(-len(files) // each)])
    pictures = []
    for file in chosen:
        picture = cv2.imread(str(file))
        if picture is None:
            continue
        height = round(picture.shape[0] * _FRAME_WIDTH_PX / picture.shape[1])
        small = cv2.resize(picture, (_FRAME_WIDTH_PX, height), interpolation=cv2.INTER_AREA)
        number, _, condition = file.stem.partition("-")
        pictures.append({"source": _data_url(small, ".jpg"), "caption": f"frame {int(number)}: {condition}"})
    return pictures


def _embed(path: Path) -> str | None:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode() if path.is_file() else None


def _png(picture: Any) -> str:
    return _data_url(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), ".png")


def _data_url(bgr: Any, suffix: str) -> str:
    _, packed = cv2.imencode(suffix, bgr)
    kind = "png" if suffix == ".png" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(packed.tobytes()).decode()}"


def _count_rows(path: Path) -> int:
    if not path.is_file():
        return 0
    with open(path, newline="", encoding="utf-8") as stream:
        return sum(1 for _ in csv.reader(stream)) - 1


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _rate(rate: Rate | dict[str, Any]) -> str:
    """``41.0 % (30.2 to 52.8, n = 80)``, or a dash where nothing was counted."""
    value = rate if isinstance(rate, Rate) else Rate(rate["rate"], rate["ci95"] and tuple(rate["ci95"]), rate["n"])
    if value.rate is None or value.ci95 is None:
        return "–"
    return f"{100 * value.rate:.1f} % ({100 * value.ci95[0]:.1f} to {100 * value.ci95[1]:.1f}, n = {value.n})"

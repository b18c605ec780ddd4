"""A section for a model card, in Markdown: what a printed patch does to the model."""

import textwrap
from pathlib import Path

from calibration.common.text import cleaned, in_markdown
from captures.results.aggregation import CONTROL
from captures.results.result_record import ModelResult, ResultRecord
from physpatch import __version__

_WIDTH = 100
_WAYS = {
    "run": "composited into held-out photographs, within the run's ranges of view, light and print",
    "session": "printed and filmed",
}


def model_card(result: ResultRecord) -> str:
    """Write the section: how it was measured, and a row per model."""
    way = _WAYS[result.kind]
    if result.virtual:
        scene = in_markdown(Path(result.scene).stem)  # a public card tells no folders
        way = f"in a rendered scene ({scene})" if result.scene else "on a virtual rig"
    origin = ", made elsewhere" if result.imported else ""
    aim = f"towards “{in_markdown(result.target)}”" if result.target else "without a target"
    name = cleaned(result.name).replace("`", "'")  # in a code span, where nothing can be escaped
    patch = in_markdown(result.patch or "id unknown")
    if all(CONTROL in model.controls for model in result.models):
        counted = "the views that are right with a plain grey patch of the same size at the same pose"
    else:
        counted = "all views, as no plain grey patch was filmed"
    lines = [
        "## Robustness to an adversarial patch",
        "",
        textwrap.fill(
            f"One patch ({patch}{origin}, {aim}), {way}. Rates are of {counted}; intervals are 95 %. They hold for this "
            "patch and these conditions: a stronger patch may exist.",
            _WIDTH,
        ),
        "",
        "| Model | Target first | Target first, random colours | Made wrong | Accuracy lost |",
        "|---|---|---|---|---|",
        *(_row(model) for model in result.models),
        "",
        f"Measured with physpatch {__version__}, {result.kind} `{name}`.",
        "",
    ]
    return "\n".join(lines)


def _row(model: ModelResult) -> str:
    random = model.controls.get("random")
    cells = (model.target_first, random or "not measured", model.made_wrong, model.accuracy_drop)
    return f"| {' | '.join([in_markdown(model.model), *map(str, cells)])} |"

"""A camera that is rendered: printed sheets in physically based scenes, by Mitsuba 3 (Jakob et al. 2022)."""

from functools import cache
from pathlib import Path

DEFAULT_SCENE = "stand"
SCENES = Path(__file__).parent / "scenes"


@cache
def scene_names() -> tuple[str, ...]:
    """List the scenes that are shipped."""
    return tuple(sorted(path.stem for path in SCENES.glob("*.toml")))

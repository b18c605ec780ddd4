"""The camera of a rendered scene: its shutter and its lens during a frame, and what it makes of the light it records."""

from captures.sources.rendered.camera.clip_camera import ClipCamera
from captures.sources.rendered.camera.development import Development

__all__ = ["ClipCamera", "Development"]

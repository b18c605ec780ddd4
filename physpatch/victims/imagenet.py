"""The names of ImageNet's 1000 classes, as torchvision carries them."""

from functools import cache


@cache
def imagenet_categories() -> tuple[str, ...]:
    """Return the class names in index order."""
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    return tuple(_IMAGENET_CATEGORIES)

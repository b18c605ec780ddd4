"""Victims of networks that come without all that one needs: what the user says, and what the network answers, decide."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import nn

from calibration.common.errors import InputError
from calibration.common.files import file_sha256
from physpatch.victims.detector import TableDetector
from physpatch.victims.freezing import freeze
from physpatch.victims.labels import numbered_categories, read_labels
from physpatch.victims.networks.box_tables import (
    BoxTable,
    box_form,
    box_table,
    count_classes,
    count_images,
    finds_boxes,
    has_labels_apart,
    require_probabilities,
)
from physpatch.victims.networks.cam_layers import SearchedLayer, find_shared_layer
from physpatch.victims.networks.gradients import why_no_gradient, without_gradients
from physpatch.victims.networks.outputs import FixedBatch, probe
from physpatch.victims.preprocessing import IMAGENET_MEAN, IMAGENET_STD, PLAIN, Adaptation, Preprocessing
from physpatch.victims.protocol import BareFamily, Victim, WeightsInfo

_USUAL_SIZE, _USUAL_DETECTOR_SIZE = 224, 640  # of a network that does not say
_ALL_OF_COCO = 91  # classes of a network that counts the background and COCO's gaps


@dataclass(frozen=True, eq=False)
class FoundNetwork:
    """A network, and what its file says about it.

    Attributes:
        network: maps a normalised batch to its answer, in any form that a classifier or a detector may have.
        size: side of its input, in pixels; None for any, or where the file does not say.
        usual_size: the side of a network that takes any, where the user says none; None where the file does not say.
        batch: the images that it takes at once, no more and no less; None for any number.
        most: the images that it takes at most at once, if any number below that will do; None for no such limit.
        categories: names of its classes; empty where the file does not say.
        plain: whether it takes RGB in [0, 1] as it is; otherwise a classifier gets ImageNet's mean and standard deviation.
        differentiable: whether gradients flow from its answer to the images.
        remark: see :class:`physpatch.victims.protocol.Victim`.
    """

    network: nn.Module
    size: int | None = None
    usual_size: int | None = field(default=None, kw_only=True)
    batch: int | None = None
    most: int | None = None
    categories: tuple[str, ...] = ()
    plain: bool = False
    differentiable: bool = True
    remark: str = ""

    def victim(self, name: str, weights: WeightsInfo, said: Adaptation) -> Victim:
        """Make a victim as the user says: a detector if the network answers with boxes, or else a classifier.

        Raises:
            InputError: it does not accept the images, has other classes than were named, or answers with neither.
        """
        if self.size and said.size not in (None, self.size):
            raise InputError(f"{name} takes images of {self.size} pixels, not of {said.size}")
        usual_size = self.usual_size or (_USUAL_DETECTOR_SIZE if said.task == "detect" else _USUAL_SIZE)
        side = self.size or said.size or usual_size
        try:
            plain = Preprocessing(side, side, *PLAIN)
            output = probe(self.network.float().eval(), side, self.batch or 1)
        except InputError as error:
            cure = "if it takes a fixed number at once, export it with a dynamic batch dimension"
            raise InputError(f"{name}: {error}; a model.toml says what its input is like; {cure}") from error
        limit = self._limit(side)
        if finds_boxes(output):
            detector = self._detector(limit, name, weights, said, plain, output)
            return replace(detector, remark=self.remark or detector.remark)
        imagenet = Preprocessing(side, side, IMAGENET_MEAN, IMAGENET_STD)
        usual = replace(plain, interpolation="bilinear") if self.plain else imagenet  # plain ones are ultralytics'
        classifier = wrapped(
            _divided(self.network, limit),
            name,
            weights,
            said,
            usual,
            categories=self.categories or None,
            differentiable=self.differentiable,
        )
        return replace(classifier, remark=self.remark or classifier.remark)

    def _limit(self, side: int) -> tuple[int, bool] | None:
        """Return how many images the network takes at once, and whether exactly so many; None for any number.

        Not every network says so: one that fails on two images, or answers about one of them, takes one.
        """
        if self.batch:
            return self.batch, True
        try:
            alone = count_images(probe(self.network, side, 2)) == 1
        except InputError:
            alone = True
        if alone:
            return 1, True
        return (self.most, False) if self.most else None

    def _detector(
        self,
        limit: tuple[int, bool] | None,
        name: str,
        weights: WeightsInfo,
        adaptation: Adaptation,
        plain: Preprocessing,
        output: object,
    ) -> TableDetector:
        with _about(name):
            names = self._names(adaptation, output)
        with _about(name):
            preprocessing = adaptation.preprocessing(plain)
            form = box_form(output, len(names))
            require_probabilities(box_table(output, len(names), form))
            network = freeze(_divided(BoxTable(self.network, len(names), form), limit), preprocessing.size)
        why_not = why_no_gradient(network, preprocessing.size) if self.differentiable else ""
        victim = TableDetector(
            name,
            "detect",
            names,
            preprocessing,
            network,
            None,
            weights,
            differentiable=self.differentiable and not why_not,
            remark=without_gradients(why_not),
            cam_search=SearchedLayer(lambda: find_shared_layer(network, preprocessing.size)),
        )
        with _about(name):
            return victim.adapted(adaptation)

    def _names(self, adaptation: Adaptation, output: object) -> tuple[str, ...]:
        """Name a detector's classes: as the user says, as the file says, or by number where the output tells how many."""
        count = count_classes(output)
        if adaptation.labels is not None:
            all_numbers = adaptation.labels == "coco" and has_labels_apart(output)
            return read_labels(adaptation.labels, _ALL_OF_COCO if all_numbers else count)
        if self.categories:
            return self.categories
        if count is None:
            raise InputError(
                "it finds boxes, but does not say of which classes; name them all, in order, with --labels, or by labels "
                "in a model.toml"
            )
        return numbered_categories(count)


def _divided(network: nn.Module, limit: tuple[int, bool] | None) -> nn.Module:
    """Let a network answer about any number of images, if it takes only so many at once."""
    return network if limit is None else FixedBatch(network, *limit)


class FileFamily(BareFamily):
    """A family of files that hold a network with its weights."""

    def load_adapted(self, name: str, weights: Path | None, trust: bool, said: Adaptation) -> Victim:
        file = Path(name)
        if weights is not None:
            raise InputError(f"{name} holds its own weights; leave out --weights")
        if not file.is_file():
            raise InputError(f"no model file {name}")
        return self.read(file, trust, said.size).victim(file.stem, WeightsInfo(str(file), self.digest(file)), said)

    def digest(self, file: Path) -> str:
        """Compute the SHA-256 of the weights of a file that was read."""
        return file_sha256(file)

    @abstractmethod
    def read(self, file: Path, trust: bool, side: int | None = None) -> FoundNetwork:
        """Read a network; ``side`` is that of its input in pixels, as the user says, or None.

        Raises:
            InputError: the file cannot be read, holds code that is not trusted, or takes something else than images.
        """


def wrapped(
    network: nn.Module,
    name: str,
    weights: WeightsInfo,
    said: Adaptation,
    usual: Preprocessing,
    *,
    categories: Sequence[str] | None = None,
    differentiable: bool = True,
) -> Victim:
    """Make a victim of a classifier that a family loaded: :meth:`Victim.wrap`, as the user says.

    Raises:
        InputError: see :meth:`Victim.wrap`.
    """
    with _about(name):
        preprocessing = said.preprocessing(usual)
        victim = Victim.wrap(
            network,
            size=preprocessing.size,
            resize=preprocessing.resize,
            mean=preprocessing.mean,
            std=preprocessing.std,
            bgr=preprocessing.bgr,
            name=name,
            weights=weights,
            differentiable=differentiable,
            copied=False,
        )
    with _about(name):
        if said.labels is None and categories:
            victim = victim.named(categories)  # those of large sets, such as timm's, may have the same name twice
        return replace(victim, preprocessing=preprocessing).adapted(said)


@contextmanager
def _about(name: str) -> Iterator[None]:
    """Begin the message of an error in the block with the model's name."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{name}: {error}") from error

"""The loss of an attack as one module: the patch, the victims and their objectives. Several processes can wrap it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from physpatch.attack.objectives import Objective
from physpatch.attack.penalties import non_printability, offset_palette, total_variation
from physpatch.attack.placement import AttackRegion
from physpatch.attack.transfer import TransferMethod
from physpatch.attack.worst_case import terms_by_view, worst_views
from physpatch.rendering.eot import EotParams
from physpatch.techniques import Technique
from physpatch.victims.boxes import best_scores, judged_scores
from physpatch.victims.detector import Detector
from physpatch.victims.protocol import Victim

_TRANSFER_SEED_OFFSET = 1  # added to a draw's seed of grain, so that the numbers differ


@dataclass(frozen=True)
class Penalties:
    """Weights of the terms that keep a patch printable; 0 leaves one out."""

    nps: float = 0.0
    tv: float = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """List the terms whose weight is not 0."""
        return tuple(name for name in ("nps", "tv") if getattr(self, name))


class AttackLoss(nn.Module):
    """Compute the loss terms from a batch of photographs and a draw of transformations.

    The technique is a submodule, so the module's only parameters are the technique's. The victims are not submodules, so
    wrapping the module neither copies nor broadcasts them. Several victims see the same composites, each at its own input
    size.
    """

    def __init__(
        self,
        technique: Technique,
        victims: list[Victim],
        objectives: list[Objective],
        region: AttackRegion,
        penalties: Penalties = Penalties(),
        half_precision: bool = False,
        palette: Tensor | None = None,
        worst: float = 1.0,
        transfers: Sequence[TransferMethod] = (),
    ) -> None:
        """Pair each victim with its objective.

        Args:
            technique: holds the patch.
            victims: networks to fool at the same time.
            objectives: one for each victim.
            region: how the patch is placed in the photographs, and which of a detector's boxes count.
            penalties: weights of the terms that keep the patch printable.
            half_precision: run the victims in bfloat16.
            palette: (N, 3) printable colours in sRGB; None for those of coated offset printing.
            worst: the share of a batch, with the highest losses, whose mean is minimised.
            transfers: what disturbs scenes and victims where gradients are computed.
        """
        super().__init__()
        self.technique = technique
        self._judges = tuple(zip(victims, objectives, strict=True))
        self._region, self._penalties, self._half, self._worst = region, penalties, half_precision, worst
        self._transfers = tuple(transfers)
        colors = offset_palette() if palette is None else palette
        self._palette = colors.to(victims[0].device) if penalties.nps else None

    @property
    def term_names(self) -> tuple[str, ...]:
        """List the names of the loss terms, in the order of :meth:`forward`'s first result."""
        names = [f"{name}.{victim.name}" for victim, objective in self._judges for name in objective.term_names]
        if len(self._judges) == 1:
            names = list(self._judges[0][1].term_names)
        return (*names, *self._penalties.names)

    def forward(
        self,
        images: Tensor,
        labels: Tensor,
        params: EotParams,
        cells: Tensor | None = None,
        objects: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Compute the loss of the technique's cells, or of others, on one batch.

        Args:
            images: (B, 3, H, W) sRGB in [0, 1], at the first victim's input size.
            labels: (B,) true classes.
            params: a draw for the B images.
            cells: (3, rows, columns); None for the technique's own.
            objects: (B, 4) left, top, right, bottom in pixels: the labelled objects that carry the patch, if any.

        Returns:
            The loss terms (T,), which sum to the loss, and which images fool every victim (B,), as float.
        """
        if cells is None:
            cells = self.technique.cells()
        losses: list[dict[str, Tensor]] = []
        fooled = torch.ones(len(images), device=images.device)
        for objective, scores, judged in self._judged(images, cells, params, objects):
            counted = slice(None) if self._worst == 1 else worst_views(objective, scores, labels, self._worst)
            losses.append(objective.terms(scores[counted], labels[counted]))
            fooled = fooled * objective.success(judged, labels).float()
        sums = torch.stack([torch.stack(list(terms.values())).sum() for terms in losses])
        weights = self.technique.weigh(sums)
        terms = [
            weight * value
            for weight, victim_terms in zip(weights, losses, strict=True)
            for value in victim_terms.values()
        ]
        return torch.stack(terms + self._penalty_terms(cells)), fooled

    @torch.no_grad()
    def each(
        self, images: Tensor, labels: Tensor, params: EotParams, cells: Tensor, objects: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compute the loss of a patch of its own for each image, without gradients.

        Args:
            images, labels, params, objects: see :meth:`forward`.
            cells: (B, 3, rows, columns).

        Returns:
            The loss terms (B, T), and which images fool every victim (B,), as float.
        """
        columns: list[Tensor] = []
        fooled = torch.ones(len(images), device=images.device)
        for objective, scores, judged in self._judged(images, cells, params, objects):
            columns.append(terms_by_view(objective, scores, labels) / len(self._judges))
            fooled = fooled * objective.success(judged, labels).float()
        if self._penalties.names:
            columns.append(torch.stack([torch.stack(self._penalty_terms(own)) for own in cells]))
        return torch.cat(columns, dim=1), fooled

    def _judged(
        self, images: Tensor, cells: Tensor, params: EotParams, objects: Tensor | None
    ) -> Iterator[tuple[Objective, Tensor, Tensor]]:
        """Yield each victim's objective with the scores of the composites: for the loss, and to judge success."""
        placement, size = self._region.placement, images.shape[-1]
        params = placement.aimed(params, objects, size)
        composite = placement.compose(images, cells, params)
        transfers = self._transfers if torch.is_grad_enabled() else ()
        generator = torch.Generator().manual_seed(params.grain_seed + _TRANSFER_SEED_OFFSET)
        for method in transfers:
            composite = method.scenes(composite, images, generator)
        boxes = self._region.boxes(params, objects, size)
        for victim, objective in self._judges:
            with ExitStack() as disturbances:
                for method in transfers:
                    disturbances.enter_context(method.inside(victim, victim.fitted(images), generator))
                scores, judged = self._scores(victim, composite, boxes)
            yield objective, scores, judged

    def _scores(self, victim: Victim, composite: Tensor, boxes: Tensor | None) -> tuple[Tensor, Tensor]:
        """Score the composites (or a detector's boxes at (B, 4)) twice: for the loss, and to judge success."""
        size, given = victim.preprocessing.size, composite.shape[-1]
        composite = victim.fitted(composite)
        with torch.autocast(composite.device.type, torch.bfloat16, enabled=self._half):
            if not isinstance(victim, Detector):
                scores = victim.scores(composite).float()
                return scores, scores.detach()
            predicted, probabilities = victim.predictions(composite)
        predictions = predicted, probabilities.float()
        places, centred = None if boxes is None else boxes * size / given, self._region.kind == "patch"
        with torch.no_grad():
            judged = judged_scores(predictions, places, centred=centred)
        return best_scores(predictions, places, centred=centred), judged

    def _penalty_terms(self, cells: Tensor) -> list[Tensor]:
        terms = []
        if self._palette is not None:
            terms.append(self._penalties.nps * non_printability(cells, self._palette))
        if self._penalties.tv:
            terms.append(self._penalties.tv * total_variation(cells))
        return terms

"""The loss of an attack as one module: the patch, the victims and their objectives. Several processes can wrap it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from physpatch.attack.known_defence import Attacked, KnownDefence
from physpatch.attack.objectives import Objective
from physpatch.attack.penalties import non_printability, offset_palette, total_variation
from physpatch.attack.placement import AttackRegion
from physpatch.attack.transfer import TransferMethod
from physpatch.attack.worst_case import ViewWeights, terms_by_view, whole_batch
from physpatch.rendering.eot import EotParams
from physpatch.techniques import Technique
from physpatch.transforms.kernels.print_colour import shown_prints
from physpatch.victims.boxes import best_scores
from physpatch.victims.detector import Detector
from physpatch.victims.protocol import Victim

_UNSUSPICIOUS = -0.1  # a tenth below the threshold, because other views are above those of a batch
_SPREAD = 9973  # by which a draw of the patch's place becomes one that says nothing of it
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


@dataclass(frozen=True)
class _Judge:
    """A victim, what is wanted of it, and the defence in front of it that the attacker knows."""

    victim: Victim
    objective: Objective
    defence: KnownDefence | None = None
    view_weights: ViewWeights | None = None

    @property
    def name(self) -> str:
        return self.victim.name if self.defence is None else f"{self.victim.name}+{self.defence.name}"

    @property
    def term_names(self) -> tuple[str, ...]:
        suspicious = self.defence is not None and self.defence.suspects
        return (*self.objective.term_names, "suspicion") if suspicious else tuple(self.objective.term_names)


@dataclass(frozen=True, eq=False)
class _Answers:
    """A judge's answers to composites: scores for the loss, scores to judge success by, and a defence's suspicion (B,)."""

    judge: _Judge
    scores: Tensor
    judged: Tensor
    suspicion: Tensor | None

    def terms(self, labels: Tensor) -> list[Tensor]:
        """Compute the terms of the loss as means over the views."""
        terms = list(self.judge.objective.terms(self.scores, labels).values())
        return terms if self.suspicion is None else [*terms, self.suspicion_term.mean()]

    def terms_by_view(self, labels: Tensor) -> Tensor:
        """Compute the terms of the loss for each view by itself, (B, T)."""
        terms = terms_by_view(self.judge.objective, self.scores, labels)
        return terms if self.suspicion is None else torch.cat([terms, self.suspicion_term[:, None]], dim=1)

    @property
    def suspicion_term(self) -> Tensor:
        """Return what the suspicion adds to the loss of each view, (B,)."""
        assert self.suspicion is not None
        return (self.suspicion - _UNSUSPICIOUS).relu()

    def success(self, labels: Tensor) -> Tensor:
        """Tell which views succeed unsuspected, (B,), as float."""
        success = self.judge.objective.success(self.judged, labels).float()
        return success if self.suspicion is None else success * (self.suspicion <= 0)


class AttackLoss(nn.Module):
    """Compute the loss terms from a batch of photographs and a draw of transformations.

    The technique is a submodule, so the module's only parameters are the technique's. The victims are not submodules, so
    wrapping the module neither copies nor broadcasts them. Several victims see the same composites, each at its own input
    size.
    """

    def __init__(
        self,
        technique: Technique,
        victims: Sequence[Victim],
        objectives: Sequence[Objective],
        region: AttackRegion,
        penalties: Penalties = Penalties(),
        half_precision: bool = False,
        palette: Tensor | None = None,
        view_weights: Sequence[ViewWeights] = (),
        defences: Sequence[KnownDefence | None] | None = None,
        transfers: Sequence[TransferMethod] = (),
        gather: Callable[[Tensor], tuple[Tensor, int]] = whole_batch,
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
            view_weights: of the views of a batch, for each victim; empty to minimise the mean over all.
            defences: that the attacker knows, one for each victim, or None where there is none; None for no victim.
            transfers: what disturbs scenes and victims where gradients are computed.
            gather: returns the values of a batch (P * B,) from those of a part of it (B,), where P processes hold a part each,
                and at which row of it this part begins.
        """
        super().__init__()
        self.technique = technique
        nothing = [None] * len(victims)
        self._judges = [
            _Judge(*judge)
            for judge in zip(victims, objectives, defences or nothing, view_weights or nothing, strict=True)
        ]
        self._region, self._penalties, self._half = region, penalties, half_precision
        self._transfers, self._gather = tuple(transfers), gather
        colors = offset_palette() if palette is None else palette
        self._palette = colors.to(victims[0].device) if penalties.nps else None
        # Whether the last batch had a gradient from a victim: a detector that finds nothing has none.
        self.reached = False

    @property
    def term_names(self) -> tuple[str, ...]:
        """List the names of the loss terms, in the order of :meth:`forward`'s first result."""
        names = [f"{name}.{judge.name}" for judge in self._judges for name in judge.term_names]
        if len(self._judges) == 1:
            names = list(self._judges[0].term_names)
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
            The loss terms (T,), which sum to the loss, and which images fool every victim unsuspected (B,), as float.
        """
        if cells is None:
            cells = self.technique.cells()
        losses: list[list[Tensor]] = []
        fooled = torch.ones(len(images), device=images.device)
        for answers in self._answers(images, cells, params, objects):
            losses.append(self._counted_terms(answers, labels, params))
            fooled = fooled * answers.success(labels)
        sums = torch.stack([torch.stack(terms).sum() for terms in losses])
        self.reached = sums.requires_grad
        weights = self.technique.weigh(sums)
        weighed = [weight * value for weight, terms in zip(weights, losses, strict=True) for value in terms]
        parts = torch.stack(weighed + self._penalty_terms(cells))
        if torch.is_grad_enabled() and not parts.requires_grad:
            parts = parts + 0 * cells.sum()  # the gradient of nothing found is zero
        return parts, fooled

    @torch.no_grad()
    def each(
        self, images: Tensor, labels: Tensor, params: EotParams, cells: Tensor, objects: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compute the loss of a patch of its own for each image, without gradients.

        Args:
            images, labels, params, objects: see :meth:`forward`.
            cells: (B, 3, rows, columns).

        Returns:
            The loss terms (B, T), and which images fool every victim unsuspected (B,), as float.
        """
        columns: list[Tensor] = []
        fooled = torch.ones(len(images), device=images.device)
        for answers in self._answers(images, cells, params, objects):
            columns.append(answers.terms_by_view(labels) / len(self._judges))
            fooled = fooled * answers.success(labels)
        if self._penalties.names:
            columns.append(torch.stack([torch.stack(self._penalty_terms(own)) for own in cells]))
        return torch.cat(columns, dim=1), fooled

    def _counted_terms(self, answers: _Answers, labels: Tensor, params: EotParams) -> list[Tensor]:
        """Compute the terms of a judge's loss as means over the views, by the weights that these have."""
        view_weights = answers.judge.view_weights
        if view_weights is None:
            return answers.terms(labels)
        terms = answers.terms_by_view(labels)
        losses, first = self._gather(terms.detach().sum(dim=1))
        prints, _ = self._gather(
            shown_prints(params.prints, params.light, params.print_other, params.print_mix).to(terms.device)
        )
        weights = view_weights.of(losses, prints, learn=torch.is_grad_enabled())[first : first + len(terms)]
        return list((weights[:, None] * terms).mean(dim=0))

    def _answers(self, images: Tensor, cells: Tensor, params: EotParams, objects: Tensor | None) -> Iterator[_Answers]:
        """Yield each judge's answers to the composites."""
        placement, size = self._region.placement, images.shape[-1]
        place = params.place
        params = placement.aimed(params, objects, size)
        composite = placement.compose(images, cells, params)
        transfers = self._transfers if torch.is_grad_enabled() else ()
        generator = torch.Generator().manual_seed(params.grain_seed + _TRANSFER_SEED_OFFSET)
        for method in transfers:
            composite = method.scenes(composite, images, generator)
        boxes = self._region.boxes(params, objects, size)
        for judge in self._judges:
            with ExitStack() as disturbances:
                for method in transfers:
                    disturbances.enter_context(method.inside(judge.victim, judge.victim.fitted(images), generator))
                attacked = self._attacked(judge, composite, place)
                scores, judged = self._scores(judge.victim, attacked.images, boxes, size)
            # An answer below the victim's threshold is none, which scores do not say.
            learnt_from = judged if getattr(judge.objective, "sees_answers", False) else scores
            yield _Answers(judge, learnt_from, judged, attacked.suspicion)

    def _attacked(self, judge: _Judge, composite: Tensor, place: Tensor) -> Attacked:
        """Bring the composites to a victim's size, and through its defence as an attacker sees it.

        ``place`` (B, 2) are the draws of the patch's place, from which those of the defence are made.
        """
        composite = judge.victim.fitted(composite)
        if judge.defence is None:
            return Attacked(composite)
        draws = (_SPREAD * place.double()).sum(dim=1).remainder(1)
        with torch.autocast(composite.device.type, torch.bfloat16, enabled=self._half):
            return judge.defence.attacked(composite, draws)

    def _scores(self, victim: Victim, images: Tensor, boxes: Tensor | None, size: int) -> tuple[Tensor, Tensor]:
        """Score images twice: for the loss, and to judge success.

        ``boxes`` (B, 4) are where a detector's boxes count, in images of ``size`` pixels.
        """
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self._half):
            if not isinstance(victim, Detector):
                scores = victim.scores(images).float()
                return scores, victim.judged(scores.detach())
            predicted, probabilities = victim.predictions(images)
        predictions = predicted, probabilities.float()
        places = None if boxes is None else boxes * images.shape[-1] / size
        centred = self._region.kind == "patch"
        with torch.no_grad():
            judged = victim.judged_boxes(predictions, places, centred=centred)
        return best_scores(predictions, places, centred=centred), judged

    def _penalty_terms(self, cells: Tensor) -> list[Tensor]:
        terms = []
        if self._palette is not None:
            terms.append(self._penalties.nps * non_printability(cells, self._palette))
        if self._penalties.tv:
            terms.append(self._penalties.tv * total_variation(cells))
        return terms

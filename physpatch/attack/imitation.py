"""Imitations: networks that learn to answer like a victim, whose gradients stand in for those that the victim lacks."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from calibration.common.errors import InputError
from physpatch.victims.protocol import Victim

_RATE = 2e-5  # of Adam; with five times as much the gradients are less alike than before (docs/results.md)


class Imitation:
    """A copy of a network that learns a victim's answers to the views that it was shown.

    The divergence of the victim's probabilities from its own is lowered by one step of Adam for each batch of views
    (Papernot et al. 2017, section 4, with probabilities for labels, and with the views of the attack for synthetic pictures).
    The network begins with its own weights, so it is good from the start where both learned the same classes.
    """

    def __init__(self, network: Victim) -> None:
        """Copy a classifier, which stays as it is.

        Raises:
            InputError: it has no gradients or nothing to learn with, such as a model of another runtime.
        """
        self._network = replace(network, module=copy.deepcopy(network.module))
        self._parameters = list(self._network.module.parameters())
        if not network.differentiable or not self._parameters:
            raise InputError(f"{network.name} cannot learn to imitate; choose a network that gives gradients")
        self._optimizer = torch.optim.Adam(self._parameters, lr=_RATE)
        self._shown: list[tuple[Tensor, Tensor]] = []

    def scores(self, images: Tensor) -> Tensor:
        """Compute its own scores (B, K) of images (B, 3, S, S), RGB in [0, 1], of any size."""
        return self._network.scores(self._network.fitted(images))

    def note(self, images: Tensor, answers: Tensor) -> None:
        """Remember views (B, 3, S, S) and the victim's scores (B, K) of them for :meth:`learn`."""
        self._shown.append((images.detach(), answers.detach().float()))

    def learn(self) -> int:
        """Learn from the views noted since the last time, and forget them; return their number."""
        views, self._shown = self._shown, []
        module = self._network.module.requires_grad_(True)
        try:
            for images, answers in views:
                with torch.enable_grad():
                    own = self.scores(images).float().log_softmax(dim=1)
                    F.kl_div(own, answers.log_softmax(dim=1), log_target=True, reduction="batchmean").backward()
                self._optimizer.step()
                self._optimizer.zero_grad(set_to_none=True)
        finally:
            module.requires_grad_(False)
        return sum(len(images) for images, _ in views)

    def state(self) -> dict[str, Tensor]:
        """Return everything needed to resume, as tensors."""
        tensors = {f"{number}.weights": weights.detach().clone() for number, weights in enumerate(self._parameters)}
        for number, weights in enumerate(self._parameters):
            tensors |= {f"{number}.{name}": value.clone() for name, value in self._optimizer.state[weights].items()}
        return tensors

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        """Resume from the result of :meth:`state`."""
        self._shown = []
        self._optimizer.zero_grad(set_to_none=True)  # of a step that was cut short
        for number, weights in enumerate(self._parameters):
            own = {k.partition(".")[2]: v for k, v in state.items() if k.startswith(f"{number}.")}
            weights.copy_(own.pop("weights"))
            # Adam counts its steps on the CPU.
            self._optimizer.state[weights] = {
                k: v.clone() if k == "step" else v.to(weights, copy=True) for k, v in own.items()
            }


class Imitations:
    """Copies of several networks that take turns, step by step: a patch gains that has to mislead each of them.

    The one whose turn it is gives the gradients of a step, and learns from its views.
    """

    def __init__(self, networks: Sequence[Victim]) -> None:
        """Copy classifiers; see :class:`Imitation`.

        Raises:
            InputError: one of them cannot learn.
        """
        self._parts = [Imitation(network) for network in networks]
        self._turn = 0

    def scores(self, images: Tensor) -> Tensor:
        """Compute the scores (B, K) of the one whose turn it is; see :meth:`Imitation.scores`."""
        return self._parts[self._turn].scores(images)

    def note(self, images: Tensor, answers: Tensor) -> None:
        """Remember views for the one whose turn it is; see :meth:`Imitation.note`."""
        self._parts[self._turn].note(images, answers)

    def learn(self) -> int:
        """Let it learn from the views noted since the last time, and pass the turn on; return their number."""
        learned = self._parts[self._turn].learn()
        self._turn = (self._turn + 1) % len(self._parts)
        return learned

    def state(self) -> dict[str, Tensor]:
        """Return everything needed to resume, as tensors."""
        tensors = {f"{number}.{k}": v for number, part in enumerate(self._parts) for k, v in part.state().items()}
        return tensors | {"turn": torch.tensor(self._turn)}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Resume from the result of :meth:`state`."""
        self._turn = int(state["turn"])
        for number, part in enumerate(self._parts):
            prefix = f"{number}."
            part.restore({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})


@dataclass(frozen=True, eq=False, kw_only=True)
class ImitatedVictim(Victim):
    """A victim that is asked for its predictions alone: its scores are its own, their gradient is that of its imitations."""

    imitations: Imitations

    @classmethod
    def of(cls, victim: Victim, imitations: Imitations) -> "ImitatedVictim":
        """Pair a victim with its imitations; it shows no heat, as it is asked for predictions alone."""
        own = {setting.name: getattr(victim, setting.name) for setting in fields(victim)}
        return cls(**own | {"differentiable": True, "cam_layer": None, "cam_search": None}, imitations=imitations)

    def scores(self, images: Tensor) -> Tensor:
        """Compute scores as :meth:`Victim.scores` does; where a gradient is wanted, an imitation learns from them later."""
        with torch.no_grad():
            answers = super().scores(images)
        if not (torch.is_grad_enabled() and images.requires_grad):
            return answers
        self.imitations.note(images, answers)
        own = self.imitations.scores(images)
        return answers + (own - own.detach())  # the parentheses keep the answers exact

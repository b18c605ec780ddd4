"""Several processes that train one patch, through Hugging Face Accelerate: ``accelerate launch`` or ``torchrun``.

Every process draws the same whole batch from the same seed and works on its own rows of it; the gradients are averaged, so
each ends with the identical patch, and that is the patch of one process with the whole batch.
"""

import atexit
import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from calibration.common.errors import InputError


@dataclass(frozen=True)
class Processes:
    """This process among ``count``; ``accelerator`` is Accelerate's, None for one alone."""

    index: int = 0
    count: int = 1
    accelerator: Any = None

    @classmethod
    def alone(cls) -> "Processes":
        """One process that shares with nobody."""
        return cls()

    @classmethod
    def launched(cls, device: str) -> "Processes":
        """Those that a launcher started, or this one alone; ``device`` is the command line's."""
        if int(os.environ.get("WORLD_SIZE", "1")) < 2:
            return cls.alone()
        from accelerate import Accelerator
        from accelerate.utils import DistributedDataParallelKwargs

        # A coarse-to-fine patch has grids that take no part yet.
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)
        accelerator = Accelerator(cpu=device == "cpu" or not torch.cuda.is_available(), kwargs_handlers=[unused])
        # Gloo's threads must end before the interpreter does, or now and then they abort the process as it ends.
        atexit.register(accelerator.end_training)
        return cls(accelerator.process_index, accelerator.num_processes, accelerator)

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.index == 0

    @property
    def device(self) -> str | None:
        """This process's own device, where it is one of several."""
        return None if self.accelerator is None else str(self.accelerator.device)

    def rows(self, batch: int) -> slice:
        """This process's rows of a batch.

        Raises:
            InputError: the batch cannot be shared evenly.
        """
        if batch % self.count:
            raise InputError(f"a batch of {batch} cannot be shared evenly by {self.count} processes; change --batch")
        share = batch // self.count
        return slice(self.index * share, (self.index + 1) * share)

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module with its gradients averaged over the processes; one without parameters to learn is left as it is."""
        if self.accelerator is None or not any(p.requires_grad for p in module.parameters()):
            return module
        return self.accelerator.prepare(module)

    def backward(self, loss: Tensor) -> None:
        """Backward pass of this process's loss."""
        loss.backward() if self.accelerator is None else self.accelerator.backward(loss)

    def mean(self, values: Tensor) -> Tensor:
        """Values averaged over the processes, the same on each."""
        return values if self.accelerator is None else self.accelerator.reduce(values, reduction="mean")

    def wait(self) -> None:
        """Go on only when all have come here."""
        if self.accelerator is not None:
            self.accelerator.wait_for_everyone()

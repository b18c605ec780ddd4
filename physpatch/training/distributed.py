"""Training of one patch by several processes, with Hugging Face Accelerate: ``accelerate launch`` or ``torchrun``.

Every process draws the same whole batch from the same seed and works on its own rows of it. The gradients are averaged, so
all processes have the same patch, and it equals that of one process with the whole batch.
"""

import atexit
import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from calibration.common.errors import InputError
from physpatch.victims.own_code import in_one_line


@dataclass(frozen=True)
class Processes:
    """This process, ``index``, among ``count``; ``accelerator`` is Accelerate's, or None for a single process."""

    index: int = 0
    count: int = 1
    accelerator: Any = None

    @classmethod
    def alone(cls) -> "Processes":
        """Create a single process."""
        return cls()

    @classmethod
    def launched(cls, device: str) -> "Processes":
        """Join the processes that a launcher started, if any; ``device`` is the command line's."""
        if int(os.environ.get("WORLD_SIZE", "1")) < 2:
            return cls.alone()
        from accelerate import Accelerator
        from accelerate.utils import DistributedDataParallelKwargs

        # The finer grids of a coarse-to-fine patch have no gradient at first.
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)
        accelerator = Accelerator(cpu=device == "cpu" or not torch.cuda.is_available(), kwargs_handlers=[unused])
        # Gloo's threads must end before the interpreter does; otherwise they sometimes abort the process at its end.
        atexit.register(accelerator.end_training)
        return cls(accelerator.process_index, accelerator.num_processes, accelerator)

    @property
    def first(self) -> bool:
        """Tell whether this is the process that writes files and messages."""
        return self.index == 0

    @property
    def device(self) -> str | None:
        """Return this process's device; None for a single process."""
        return None if self.accelerator is None else str(self.accelerator.device)

    def rows(self, batch: int) -> slice:
        """Return this process's rows of a batch.

        Raises:
            InputError: the batch cannot be divided evenly.
        """
        if batch % self.count:
            raise InputError(
                f"a batch of {batch} cannot be divided evenly among {self.count} processes; change --batch"
            )
        share = batch // self.count
        return slice(self.index * share, (self.index + 1) * share)

    def wrap(self, module: nn.Module) -> nn.Module:
        """Wrap a module to average its gradients over the processes; one without gradients is returned unchanged."""
        if self.accelerator is None or not any(p.requires_grad for p in module.parameters()):
            return module
        return self.accelerator.prepare(module)

    def backward(self, loss: Tensor) -> None:
        """Run the backward pass of this process's loss."""
        with in_one_line("the gradient of the loss cannot be computed"):  # the user's own network takes part in it
            loss.backward() if self.accelerator is None else self.accelerator.backward(loss)

    def mean(self, values: Tensor) -> Tensor:
        """Average values over the processes; all receive the same result."""
        return values if self.accelerator is None else self.accelerator.reduce(values, reduction="mean")

    def gather(self, values: Tensor) -> tuple[Tensor, int]:
        """Join the values (B,) of all processes in the order of their rows, (count * B,); also tell where this one's begin."""
        return (values if self.accelerator is None else self.accelerator.gather(values)), self.index * len(values)

    def wait(self) -> None:
        """Wait until all processes have reached this point."""
        if self.accelerator is not None:
            self.accelerator.wait_for_everyone()

"""Folding batch norm into the convolutions before it: the same network, a third faster on a CPU."""

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_TOLERANCE = 1e-3  # of the output's largest magnitude


def fold_batch_norms(module: nn.Module, size: int) -> int:
    """Fold, in place, each batch norm in eval mode whose input is the output of one convolution and of nothing else.

    One forward pass finds the pairs, so this works for any module, traceable or not. The outputs before and after are
    compared, and the folding is undone where they differ.

    Args:
        module: maps (1, 3, size, size) to a tensor or a tuple that begins with one.
        size: side of the image of that pass, in pixels.

    Returns:
        The number of batch norms folded.
    """
    probe = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    pairs = _pairs(module, probe)
    if not pairs:
        return 0
    owners = {child: (parent, name) for parent in module.modules() for name, child in parent.named_children()}
    before = _run(module, probe)
    for convolution, norm in pairs:
        _replace(owners, convolution, fuse_conv_bn_eval(convolution, norm))
        _replace(owners, norm, nn.Identity())
    after = _run(module, probe)
    # A detector may find fewer boxes or more, because of roundings: then nothing tells whether they are the same.
    if after.shape == before.shape and (after - before).abs().max() <= _TOLERANCE * before.abs().max().clamp(min=1e-6):
        return len(pairs)
    for convolution, norm in pairs:
        for original in (convolution, norm):
            parent, name = owners[original]
            setattr(parent, name, original)
    return 0


def _pairs(module: nn.Module, probe: Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    convolutions: dict[int, nn.Conv2d] = {}
    outputs: list[Tensor] = []  # so that no id is used twice
    calls: dict[nn.Module, int] = {}
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls[layer] = calls.get(layer, 0) + 1
        if isinstance(layer, nn.Conv2d):
            convolutions[id(output)] = layer
            outputs.append(output)
        elif isinstance(layer, nn.BatchNorm2d) and id(inputs[0]) in convolutions:
            pairs.append((convolutions.pop(id(inputs[0])), layer))

    layers = [layer for layer in module.modules() if type(layer) is nn.BatchNorm2d or isinstance(layer, nn.Conv2d)]
    if not any(isinstance(layer, nn.BatchNorm2d) for layer in layers):
        return []
    handles = [layer.register_forward_hook(note) for layer in layers]
    try:
        _run(module, probe)
    finally:
        for handle in handles:
            handle.remove()
    return [(conv, norm) for conv, norm in pairs if calls[conv] == calls[norm] == 1 and not norm.training]


def _run(module: nn.Module, probe: Tensor) -> Tensor:
    with torch.no_grad():
        output = module(probe)
    return output[0] if isinstance(output, (tuple, list)) else output


def _replace(owners: dict[nn.Module, tuple[nn.Module, str]], old: nn.Module, new: nn.Module) -> None:
    parent, name = owners[old]
    setattr(parent, name, new)

"""Optimisers by name, for the one loop, and their state as tensors and JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, AdamW, Optimizer, Rprop

OptimizerName: TypeAlias = Literal["adamw", "sgd", "rprop", "lbfgs"]

STEADY: Final = ("rprop", "lbfgs")
"""They find the size of a step by comparing it with the one before, so the loss must be the same
at every step, and no schedule is needed. They have no decay of their own."""

_MOMENTUM: Final = 0.9
_REMEMBERED: Final = 10
"""Steps from which L-BFGS guesses the curvature; Liu and Nocedal 1989 find 3 to 7 enough."""
_SEARCHED: Final = 25
"""Losses that a step of it may ask for; torch's own limit follows max_iter, and ends a line search
at its first try."""


def optimizer_of(
    name: OptimizerName,
    shrunk: list[nn.Parameter],
    spared: list[nn.Parameter],
    *,
    rate: float,
    decay: float,
) -> Optimizer:
    """What lowers the loss, a step at a time, and shrinks the parameters `shrunk` by `decay`.

    `rate` is the learning rate; rprop's first step, and the first that lbfgs's line search tries.
    """
    groups = [
        {"params": shrunk, "weight_decay": decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    match name:
        case "adamw":
            return AdamW(groups, lr=rate, fused=True)
        case "sgd":
            return DecoupledSGD(groups, lr=rate, momentum=_MOMENTUM, nesterov=True)
        case "rprop":
            return Rprop([*shrunk, *spared], lr=rate)
        case "lbfgs":
            return LBFGS(
                [*shrunk, *spared],
                lr=rate,
                max_iter=1,
                max_eval=_SEARCHED,
                history_size=_REMEMBERED,
                line_search_fn="strong_wolfe",
            )


class DecoupledSGD(SGD):
    """SGD whose weight decay shrinks weights and leaves the gradient, and so the momentum, alone
    (SGDW, Loshchilov and Hutter 2019, algorithm 1); torch's own is l2, which is in the loss."""

    def __init__(self, groups: list[dict[str, Any]], **settings: Any) -> None:
        own = [{"params": g["params"], "decay": g["weight_decay"]} for g in groups]
        super().__init__(own, **settings)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.mul_(1 - group["lr"] * group["decay"])
        super().step()
        return loss


def packed(optimizer: Optimizer) -> tuple[Any, dict[str, Tensor]]:
    """Its state as JSON in which names stand for tensors, and these."""
    tensors: dict[str, Tensor] = {}
    # Pairs, because the keys are numbers, which JSON would make strings of.
    slots = list(optimizer.state_dict()["state"].items())
    return _pack(slots, "", tensors), tensors


def unpack(optimizer: Optimizer, state: Any, tensors: dict[str, Tensor]) -> None:
    """Put back what `packed` gave."""
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": dict(_unpack(state, tensors)), "param_groups": groups})


_TENSOR: Final = "tensor"


def _pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    match value:
        case Tensor():
            tensors[name] = value
            return {_TENSOR: name}
        case dict():
            return {key: _pack(own, f"{name}.{key}", tensors) for key, own in value.items()}
        case list() | tuple():
            return [_pack(own, f"{name}.{i}", tensors) for i, own in enumerate(value)]
    return value


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    match value:
        case {"tensor": str(name)}:
            return tensors[name]
        case dict():
            return {key: _unpack(own, tensors) for key, own in value.items()}
        case list():
            return [_unpack(own, tensors) for own in value]
    return value

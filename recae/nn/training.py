"""The one training loop: full-batch steps over the observed entries.

A step draws which entries are hidden, encodes the rest, and lowers the squared error at the hidden
entries (objective `split`) or at all of them (`reconstruct`). Legend: E entries.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from recae.nn.sides import Seen, Trainable


@dataclass(frozen=True)
class Training:
    """Settings of the loop."""

    objective: Literal["split", "reconstruct"] = "split"
    """`split`: the loss is over hidden entries (CF-NADE, Zheng et al. 2016, trains so);
    `reconstruct`: input = target = all entries (Sedhain et al. 2015)."""
    hide: tuple[float, float] = (0.2, 0.5)
    """`split`: the share of hidden entries is drawn uniformly between these at every step."""
    cold: float = 0.0
    """`split`: of this share of the users, and of the items, everything is hidden at a step, so
    that the encoders learn to do with side data alone."""
    steps: int = 400
    """Full-batch steps; the budget is fixed, so that no epoch is ever picked."""
    learning_rate: float = 5e-3
    """AdamW's, at its peak; it follows a cosine down to zero."""
    weight_decay: float = 3.0
    """Decoupled (Loshchilov and Hutter 2019): a step shrinks weights by learning_rate times it."""
    l2: float = 0.0
    """In the loss: lambda / 2 times the squared norm of the weights, next to the *sum* of squared
    errors, as in Sedhain et al. 2015, eq. 2."""
    shrink_biases: bool = True
    """Decay and l2 are over biases too; the paper's l2 is not."""
    ema: float = 0.98
    """Decay of the moving average of the weights that predicts; 0: the last weights predict."""
    reports: int = 20
    """How often progress is reported (and validated) over the whole of training."""

    def __post_init__(self) -> None:
        check_choices(self)
        _require(len(self.hide) == 2, "hide must be two numbers, the lowest and the highest share")
        low, high = self.hide
        _require(0 < low <= high < 1, "hide must be (lowest, highest) share, between 0 and 1")
        _require(0 <= self.cold < 1, "cold must be at least 0 and below 1")
        _require(self.steps >= 1, "steps must be at least 1")
        _require(self.reports >= 1, "reports must be at least 1")
        _require(0 < self.learning_rate < math.inf, "learning_rate must be positive and finite")
        for name in ("weight_decay", "l2"):
            finite = 0 <= getattr(self, name) < math.inf
            _require(finite, f"{name} must be finite and not negative")
        _require(0 <= self.ema < 1, "ema must be at least 0 and below 1")


def check_choices(settings: Any) -> None:
    """Raises ValueError where a field of a dataclass has none of the values of its Literal."""
    for name, hint in get_type_hints(type(settings)).items():
        value = getattr(settings, name, None)
        if get_origin(hint) is Literal and value not in get_args(hint):
            choices = ", ".join(map(repr, get_args(hint)))
            raise ValueError(f"{name} must be one of {choices}, not {value!r}")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


class DivergedError(ArithmeticError):
    """The loss is no longer a finite number."""

    def __init__(self, loss: float, step: int, kept: Any, kept_step: int) -> None:
        """kept: the network that predicted at the last report, after `kept_step` steps; None where
        there was no report."""
        state = f"the state of step {kept_step} is kept" if kept else "nothing was learned before"
        super().__init__(f"training diverged: the loss is {loss} at step {step}, {state}")
        self.kept = kept


@dataclass(frozen=True)
class Progress:
    """A report from inside training: after `step` of `steps`, `seconds` since it began."""

    step: int
    steps: int
    seconds: float
    metrics: dict[str, float]
    """`train/rmse`: over the target entries since the last report; `val/rmse` where there is
    validation data."""
    save: Callable[[Path], None] = field(repr=False)
    """Writes a checkpoint from which training continues as if it had never stopped."""


Report: TypeAlias = Callable[[Progress], None]
_N = TypeVar("_N", bound=Trainable)

_NETWORK: Final = "network."
_AVERAGE: Final = "average."
_OPTIMIZER: Final = "optimizer."


class _State:
    """All that changes while training: weights, their average, the optimizer, the step."""

    def __init__(self, network: Trainable, settings: Training) -> None:
        self.network = network
        average = get_ema_multi_avg_fn(settings.ema)  # type: ignore[no-untyped-call]
        self.average = AveragedModel(network, multi_avg_fn=average)
        shrunk, spared = network.shrunk(biases=settings.shrink_biases)
        groups = [
            {"params": shrunk, "weight_decay": settings.weight_decay},
            {"params": spared, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)
        self.step = 0

    def save(self, path: Path, device: torch.device) -> None:
        tensors = {_NETWORK + k: v for k, v in self.network.state_dict().items()}
        tensors |= {_AVERAGE + k: v for k, v in self.average.state_dict().items()}
        for index, slots in self.optimizer.state_dict()["state"].items():
            tensors |= {f"{_OPTIMIZER}{index}.{name}": slot for name, slot in slots.items()}
        tensors["generator.cpu"] = torch.get_rng_state()
        if device.type == "cuda":
            tensors["generator.cuda"] = torch.cuda.get_rng_state(device)
        # Safetensors refuses tensors that share memory; a clone each costs little beside the disk.
        tensors = {k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}
        partial = path.with_name(path.name + ".part")
        save_file(tensors, partial, metadata={"step": str(self.step)})
        partial.replace(path)

    def load(self, path: Path, device: torch.device) -> None:
        with safe_open(path, framework="pt", device=str(device)) as file:
            self.step = int(file.metadata()["step"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        self.network.load_state_dict(_under(_NETWORK, tensors))
        self.average.load_state_dict(_under(_AVERAGE, tensors))
        slots: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _under(_OPTIMIZER, tensors).items():
            index, slot = name.split(".", 1)
            slots.setdefault(int(index), {})[slot] = tensor
        state = self.optimizer.state_dict()
        self.optimizer.load_state_dict({"state": slots, "param_groups": state["param_groups"]})
        torch.set_rng_state(tensors["generator.cpu"].cpu())
        if device.type == "cuda":
            torch.cuda.set_rng_state(tensors["generator.cuda"].cpu(), device)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def train(
    network: _N,
    data: Seen,
    settings: Training,
    *,
    validate: Callable[[_N], dict[str, float]] | None = None,
    report: Report | None = None,
    resume: Path | None = None,
) -> _N:
    """Fit `network` to the values of `data`, nothing of it hidden yet; returns the network that
    predicts (the moving average of the weights, in evaluation mode).

    Randomness comes from torch's global generator: call inside `fork_rng`. Raises DivergedError.
    """
    device = data.counts.device
    state = _State(network, settings)
    kept, kept_step = None, 0
    if resume is not None:
        state.load(resume, device)
        kept, kept_step = deepcopy(_predictor(state)), state.step
    began, every = time.perf_counter(), math.ceil(settings.steps / settings.reports)
    total = data.counts.new_zeros(())
    network.train()
    for step in range(state.step, settings.steps):
        loss, error = _loss(network, data, settings)
        for group in state.optimizer.param_groups:
            group["lr"] = settings.learning_rate * _cosine(step, settings.steps)
        state.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        state.optimizer.step()
        state.average.update_parameters(network)
        total += error
        state.step = step + 1
        if state.step % every == 0 or state.step == settings.steps:
            mean = float(total) / ((state.step - 1) % every + 1)
            if not math.isfinite(mean):
                raise DivergedError(mean, state.step, kept, kept_step)
            kept, kept_step = deepcopy(_predictor(state)), state.step
            total.zero_()
            if report is not None:
                metrics = {"train/rmse": math.sqrt(mean)}
                if validate is not None:
                    metrics |= validate(_predictor(state))
                seconds = time.perf_counter() - began
                save = _saver(state, device)
                report(Progress(state.step, settings.steps, seconds, metrics, save))
    predictor: _N = _predictor(state)
    return predictor


def _predictor(state: _State) -> Any:
    """The average of the weights, in a network of the class that is trained."""
    return state.average.module.eval()


def _saver(state: _State, device: torch.device) -> Callable[[Path], None]:
    return lambda path: state.save(path, device)


def _cosine(step: int, steps: int) -> float:
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def _loss(network: Trainable, data: Seen, settings: Training) -> tuple[Tensor, Tensor]:
    """The loss of one step, and beside it the mean squared error (detached)."""
    seen, target = _hide(data, settings)
    loss, error = network.loss(seen, target)
    if settings.l2:
        shrunk, _ = network.shrunk(biases=settings.shrink_biases)
        norm = sum((w**2).sum() for w in shrunk)
        loss = loss + settings.l2 / 2 / target.mask.by_row.sum().clamp(min=1) * norm
    return loss, error.detach()


def _hide(data: Seen, settings: Training) -> tuple[Seen, Seen]:
    """What is seen at a step, and what is to be predicted from it."""
    if settings.objective == "reconstruct":
        return data, data
    values, structure = data.values.by_row, data.values.structure
    low, high = settings.hide
    share = low + (high - low) * torch.rand((), device=values.device)
    kept = (torch.rand_like(values) >= share).to(values.dtype)
    if settings.cold:
        n_rows, n_columns = structure.shape
        warm_rows = torch.rand(n_rows, device=values.device) >= settings.cold
        warm_columns = torch.rand(n_columns, device=values.device) >= settings.cold
        kept *= (warm_rows[structure.row_of_entry] & warm_columns[structure.columns]).to(kept.dtype)
    return data.where(kept), data.where(1 - kept)

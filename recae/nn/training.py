"""The one training loop: steps over the observed entries, all of them or batches of rows.

A step draws which entries are hidden, encodes the rest, and lowers the loss at the hidden entries
(objective `split`), or at all of them (`denoise`); `reconstruct` hides nothing. What a network is
and what its loss is, the loop does not know. Legend: E entries, R rows.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import (
    Any,
    Final,
    Generic,
    Literal,
    TypeAlias,
    TypeVar,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from recae.nn.network import Learner, Lesson
from recae.nn.optimizers import STEADY, OptimizerName, optimizer_of, packed, unpack
from recae.nn.sides import Seen


@dataclass(frozen=True)
class Training:
    """Settings of the loop."""

    objective: Literal["split", "denoise", "reconstruct"] = "split"
    """`split`: the loss is over hidden entries (CF-NADE, Zheng et al. 2016, trains so);
    `denoise`: over all entries, while some are hidden (Vincent et al. 2010, masking noise);
    `reconstruct`: input = target = all entries (Sedhain et al. 2015)."""
    hide: tuple[float, float] = (0.2, 0.5)
    """`split`, `denoise`: the share of hidden entries is drawn uniformly between these at every
    step."""
    noise: float = 0.0
    """Standard deviation of Gaussian noise on the values that are read, in quarters of the scale;
    what is to be predicted has none (Vincent et al. 2010)."""
    cold: float = 0.0
    """`split`, `denoise`: of this share of the users, and of the items, everything is hidden at a
    step, so that the encoders learn to do with side data alone."""
    steps: int = 400
    """Updates; the budget is fixed, so that no epoch is ever picked."""
    batch_size: int = 0
    """Rows of an update, drawn anew for each; 0: all. Needs a table on the columns' side, and an
    encoder on that of the rows."""
    alternate: tuple[int, int] = (0, 0)
    """A round is so many steps of the rows' side, the columns' at rest, and then so many of the
    columns' side, the rows' at rest and with nothing hidden from them (Shenbin et al. 2020, section
    3.4); zeros: both learn together."""
    warmup: float = 0.0
    """Share of the steps over which penalties of codes rise to their full weight (Bowman et al.
    2016 anneal the variational one so)."""
    optimizer: OptimizerName = "adamw"
    """`adamw` (Loshchilov and Hutter 2019); `sgd` with Nesterov's momentum of 0.9. `rprop`
    (Riedmiller and Braun 1993) and `lbfgs` (Liu and Nocedal 1989, with a line search) need a loss
    without any randomness."""
    learning_rate: float = 5e-3
    """At its peak; it follows a cosine down to zero. Of `rprop` only the first step, of `lbfgs` the
    first that every line search tries, for which 1 is the natural one."""
    weight_decay: float = 3.0
    """Decoupled (Loshchilov and Hutter 2019): a step of `adamw` or `sgd` shrinks weights by
    learning_rate times it."""
    l2: float = 0.0
    """In the loss, so in the gradients, whatever the optimizer: lambda / 2 times the squared norm
    of the weights, next to the *sum* of squared errors, as in Sedhain et al. 2015, eq. 2."""
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
        _require(self.batch_size >= 0, "batch_size must not be negative")
        rounds = len(self.alternate) == 2 and min(self.alternate) >= (max(self.alternate) > 0)
        _require(rounds, "alternate must be two numbers of steps of at least 1, or [0, 0]")
        _require(0 <= self.warmup <= 1, "warmup must be a share, between 0 and 1")
        _require(self.reports >= 1, "reports must be at least 1")
        _require(0 < self.learning_rate < math.inf, "learning_rate must be positive and finite")
        for name in ("weight_decay", "l2", "noise"):
            finite = 0 <= getattr(self, name) < math.inf
            _require(finite, f"{name} must be finite and not negative")
        _require(0 <= self.ema < 1, "ema must be at least 0 and below 1")
        if self.optimizer in STEADY:
            _require(
                self.objective == "reconstruct"
                and not (self.noise or self.batch_size or self.warmup),
                f"optimizer = {self.optimizer} needs the same loss at every step: set objective = "
                "reconstruct, and noise, batch_size and warmup to 0",
            )
            _require(
                self.weight_decay == 0,
                f"optimizer = {self.optimizer} has no weight decay: set weight_decay to 0, and use "
                "l2 instead",
            )


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

    def __init__(self, loss: float, step: int, kept: Learner | None, kept_step: int) -> None:
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
    """`train/rmse`: over the target entries since the last report, or `train/loss` where values are
    no stars; what codes measured of themselves, as `train/rows/NAME`; what validation found."""
    save: Callable[[Path], None] = field(repr=False)
    """Writes a checkpoint from which training continues as if it had never stopped."""


Report: TypeAlias = Callable[[Progress], None]
L = TypeVar("L", bound=Learner)

_NETWORK: Final = "network."
_AVERAGE: Final = "average."
_OPTIMIZER: Final = "optimizer."
_GENERATOR: Final = "generator."


class _State(Generic[L]):
    """All that changes while training: weights, their average, the optimizer, the step."""

    def __init__(self, network: L, settings: Training) -> None:
        self.network = network
        average = get_ema_multi_avg_fn(settings.ema)  # type: ignore[no-untyped-call]
        self.average = AveragedModel(network, multi_avg_fn=average)
        self.optimizer = optimizer_of(
            settings.optimizer,
            *network.shrunk(biases=settings.shrink_biases),
            rate=settings.learning_rate,
            decay=settings.weight_decay,
        )
        self.step = 0

    def save(self, path: Path, device: torch.device) -> None:
        tensors = {_NETWORK + k: v for k, v in self.network.state_dict().items()}
        tensors |= {_AVERAGE + k: v for k, v in self.average.state_dict().items()}
        optimizer, slots = packed(self.optimizer)
        tensors |= {_OPTIMIZER + k: v for k, v in slots.items()}
        tensors |= {_GENERATOR + k: v for k, v in _generators(device).items()}
        # Safetensors refuses tensors that share memory; a clone each costs little beside the disk.
        tensors = {k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}
        partial = path.with_name(path.name + ".part")
        said = {"step": str(self.step), "optimizer": json.dumps(optimizer)}
        save_file(tensors, partial, metadata=said)
        partial.replace(path)

    def load(self, path: Path, device: torch.device) -> None:
        with safe_open(path, framework="pt", device=str(device)) as file:
            said = file.metadata()
            # Clones, because where in memory a tensor begins changes the last digits of its sums.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        self.step = int(said["step"])
        self.network.load_state_dict(_under(_NETWORK, tensors))
        self.average.load_state_dict(_under(_AVERAGE, tensors))
        unpack(self.optimizer, json.loads(said["optimizer"]), _under(_OPTIMIZER, tensors))
        torch.set_rng_state(tensors["generator.cpu"].cpu())
        if device.type == "cuda":
            torch.cuda.set_rng_state(tensors["generator.cuda"].cpu(), device)


def _generators(device: torch.device) -> dict[str, Tensor]:
    """The states of those that training draws from."""
    states = {"cpu": torch.get_rng_state()}
    return states | {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else states


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def train(
    network: L,
    data: Seen,
    settings: Training,
    *,
    validate: Callable[[L], dict[str, float]] | None = None,
    report: Report | None = None,
    resume: Path | None = None,
) -> L:
    """Fit `network` to the values of `data`, nothing of it hidden yet; returns the network that
    predicts (the moving average of the weights, in evaluation mode).

    Randomness comes from torch's global generator: call inside `fork_rng`. Raises DivergedError.
    """
    device = data.counts.device
    if settings.batch_size and not network.takes_batches:
        raise ValueError(
            "batches of rows need an encoder of rows and a table of columns: set batch_size to 0"
        )
    state = _State(network, settings)
    kept, kept_step = None, 0
    if resume is not None:
        state.load(resume, device)
        kept, kept_step = deepcopy(_predictor(state)), state.step
    began, every = time.perf_counter(), math.ceil(settings.steps / settings.reports)
    total = data.counts.new_zeros(())
    turns = _Turns(network, settings, len(data.counts))
    network.train()
    if settings.optimizer in STEADY:
        _check_steady(network, data, settings)
    while state.step < settings.steps:
        turns.begin(state.step)
        lesson = _update(state, data, settings, turns.learning(state.step))
        state.average.update_parameters(network)
        total += lesson.loss.error
        state.step += 1
        if state.step % every == 0 or state.step == settings.steps:
            mean = float(total) / ((state.step - 1) % every + 1)
            if not math.isfinite(mean):
                raise DivergedError(mean, state.step, kept, kept_step)
            kept, kept_step = deepcopy(_predictor(state)), state.step
            total.zero_()
            if report is not None:
                metrics = {f"train/{network.metric}": network.summary(mean)}
                metrics |= {f"train/{k}": float(v) for k, v in lesson.measured.items()}
                if validate is not None:
                    metrics |= validate(_predictor(state))
                seconds = time.perf_counter() - began
                save = _saver(state, device)
                report(Progress(state.step, settings.steps, seconds, metrics, save))
    return _predictor(state)


def _check_steady(network: Learner, data: Seen, settings: Training) -> None:
    """Raises ValueError where the loss draws random numbers, by dropout or in an encoder."""
    before = _generators(data.counts.device)
    with torch.no_grad():
        _loss(network, data, settings, 0)
    after = _generators(data.counts.device)
    if not all(torch.equal(before[name], after[name]) for name in before):
        raise ValueError(
            f"training.optimizer = {settings.optimizer} needs the same loss at every step, and "
            "this one is random: set dropout to 0, or choose adamw or sgd"
        )


def _update(
    state: _State[L], data: Seen, settings: Training, learning: list[nn.Parameter] | None
) -> Lesson:
    """One step of the parameters whose turn it is (None: of all); what the loss was before it."""
    lessons = []

    def loss() -> Tensor:
        """With its gradients. A line search asks for it more than once."""
        mean, lesson = _loss(state.network, data, settings, state.step)
        state.optimizer.zero_grad()
        mean.backward(inputs=learning)  # type: ignore[no-untyped-call]
        lessons.append(lesson)
        return mean

    if settings.optimizer not in STEADY:
        for group in state.optimizer.param_groups:
            group["lr"] = settings.learning_rate * _cosine(state.step, settings.steps)
    state.optimizer.step(loss)  # type: ignore[arg-type]
    return lessons[0]


class _Turns:
    """Who learns at a step, and where rounds begin."""

    def __init__(self, network: Learner, settings: Training, n_rows: int) -> None:
        self.network, self.settings = network, settings
        self.parameters = network.turns() if any(settings.alternate) else None
        a_pass = math.ceil(n_rows / (settings.batch_size or n_rows))
        self.length = sum(settings.alternate) or a_pass

    def begin(self, step: int) -> None:
        if step % self.length == 0:
            self.network.renew()

    def learning(self, step: int) -> list[nn.Parameter] | None:
        """None: all that there is."""
        if self.parameters is None:
            return None
        return self.parameters[_is_columns_turn(step, self.settings)]


def _is_columns_turn(step: int, settings: Training) -> bool:
    first, length = settings.alternate[0], sum(settings.alternate)
    return length > 0 and step % length >= first


def _predictor(state: _State[L]) -> L:
    return cast(L, state.average.module.eval())


def _saver(state: _State[L], device: torch.device) -> Callable[[Path], None]:
    return lambda path: state.save(path, device)


def _cosine(step: int, steps: int) -> float:
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def _loss(network: Learner, data: Seen, settings: Training, step: int) -> tuple[Tensor, Lesson]:
    """What one step minimises, and what it is made of."""
    if settings.batch_size:
        n_rows = len(data.counts)
        chosen = torch.randperm(n_rows, device=data.counts.device)[: settings.batch_size]
        data = data.take(chosen)
    if _is_columns_turn(step, settings):
        settings = replace(settings, objective="reconstruct", noise=0.0)
    hidden, seen = _hide(data, settings)
    if settings.noise:
        seen = seen.noisy(settings.noise)
    lesson = network.lesson(data, seen, hidden if settings.objective == "split" else None)
    loss = lesson.loss.mean + _warm(step, settings) * lesson.penalty / lesson.loss.number
    if settings.l2:
        shrunk, _ = network.shrunk(biases=settings.shrink_biases)
        norm = sum((w**2).sum() for w in shrunk)
        loss = loss + settings.l2 / 2 / lesson.loss.number * norm
    return loss, lesson


def _warm(step: int, settings: Training) -> float:
    """The weight of penalties at a step."""
    rise = settings.warmup * settings.steps
    return 1.0 if step >= rise else (step + 1) / (rise + 1)


def _hide(data: Seen, settings: Training) -> tuple[Tensor | None, Seen]:
    """Which entries are hidden ([E], 0 or 1; None: none), and what remains."""
    if settings.objective == "reconstruct":
        return None, data
    values, structure = data.values.by_row, data.values.structure
    low, high = settings.hide
    share = low + (high - low) * torch.rand((), device=values.device)
    kept = (torch.rand_like(values) >= share).to(values.dtype)
    if settings.cold:
        n_rows, n_columns = structure.shape
        warm_rows = torch.rand(n_rows, device=values.device) >= settings.cold
        warm_columns = torch.rand(n_columns, device=values.device) >= settings.cold
        kept *= (warm_rows[structure.row_of_entry] & warm_columns[structure.columns]).to(kept.dtype)
    return 1 - kept, data.where(kept)

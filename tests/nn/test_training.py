"""The loop: what is hidden, what is minimised, and going on from a checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from recae.nn.encoders import Dense, Reads
from recae.nn.encoders.dense import DenseSide
from recae.nn.network import Network
from recae.nn.optimizers import STEADY, optimizer_of
from recae.nn.sides import Codes, Seen, Sum, Table, encode
from recae.nn.sparse import Structure
from recae.nn.training import DivergedError, Progress, Training, _hide, _loss, train
from tests.nn.test_sparse import structure_of

SETTINGS = Training(steps=30, reports=6, learning_rate=0.01, weight_decay=0.1)
STEADY_SETTINGS: dict[str, Any] = {"objective": "reconstruct", "weight_decay": 0.0, "l2": 0.01}


READS = Reads(
    15, 4, "tanh", values=True, mask=True, side=0, normalize=True, bias_head=True, scale=0.1
)


def encoder(n_columns: int, *, normalize: bool = True, mask: bool = True) -> DenseSide:
    return Dense().side(replace(READS, n_columns=n_columns, normalize=normalize, mask=mask))


def problem(seed: int = 0, *, dropout: float = 0.3) -> tuple[Network, Structure, torch.Tensor]:
    torch.manual_seed(seed)
    structure, mask = structure_of(12, 15, 0.4)
    network = Network(encoder(15), encoder(12), dropout=dropout)
    return network, structure, torch.randn(int(mask.sum()))


def test_hidden_entries_are_neither_read_nor_counted() -> None:
    _, structure, residuals = problem()
    data = Seen.everything(structure, residuals)
    hidden, seen = _hide(data, replace(SETTINGS, hide=(0.5, 0.5)))
    assert hidden is not None
    assert 0 < hidden.sum() < len(hidden)
    torch.testing.assert_close(seen.mask.by_row, 1 - hidden)
    torch.testing.assert_close(seen.values.by_row, residuals * (1 - hidden))
    torch.testing.assert_close(seen.values.by_column, seen.values.by_row[structure.order])
    kept = torch.zeros(12).index_add(0, structure.row_of_entry, 1 - hidden)
    torch.testing.assert_close(seen.counts, kept)


def test_an_entry_of_value_zero_is_still_rated() -> None:
    """The mask is never computed as value != 0: an exactly average rating would vanish."""
    _, structure, residuals = problem()
    residuals[0] = 0
    data = Seen.everything(structure, residuals)
    _, seen = _hide(data, replace(SETTINGS, objective="reconstruct"))
    assert seen.mask.by_row[0] == 1
    assert seen.counts.sum() == len(residuals)


def test_the_split_loss_is_over_hidden_entries_only() -> None:
    network, structure, residuals = problem()
    network.eval()
    data = Seen.everything(structure, residuals)
    torch.manual_seed(5)
    loss, lesson = _loss(network, data, SETTINGS, 0)
    torch.manual_seed(5)
    hidden, seen = _hide(data, SETTINGS)
    assert hidden is not None
    rows, columns = network(seen)
    dense = rows.vectors @ columns.vectors.T + rows.bias[:, None] + columns.bias
    at = dense[structure.row_of_entry, structure.columns.long()]
    wanted = ((at - residuals)[hidden > 0] ** 2).mean()
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(lesson.loss.error, wanted.detach())


def test_l2_stands_beside_the_sum_of_squares_and_spares_biases() -> None:
    """Sedhain et al. 2015, eq. 2: sum of squares + lambda / 2 (|W|^2 + |V|^2)."""
    network, structure, residuals = problem()
    network.eval()
    data = Seen.everything(structure, residuals)
    plain, _ = _loss(network, data, replace(SETTINGS, objective="reconstruct"), 0)
    settings = replace(SETTINGS, objective="reconstruct", l2=3.0, shrink_biases=False)
    with_l2, _ = _loss(network, data, settings, 0)
    shrunk, spared = network.shrunk(biases=False)
    names = {n for n, p in network.named_parameters() if any(p is other for other in spared)}
    assert names == {"rows.entry.bias", "columns.entry.bias"}
    assert len(shrunk) + len(spared) == len(list(network.parameters()))
    assert network.shrunk(biases=True)[1] == []
    norm = sum(float((w.detach() ** 2).sum()) for w in shrunk)
    difference = (with_l2 - plain) * len(residuals)
    torch.testing.assert_close(float(difference.detach()), 1.5 * norm, rtol=1e-4, atol=1e-4)


def test_training_lowers_the_error_and_predicts_by_the_average() -> None:
    _, structure, _ = problem()
    network = Network(Table(12, 4, scale=0.1), Table(15, 4, scale=0.1), dropout=0.0)
    # A rank-one signal, which can be learned.
    left, right = torch.randn(12), torch.randn(15)
    signal = left[structure.row_of_entry] * right[structure.columns.long()]
    seen: list[Progress] = []
    settings = replace(SETTINGS, steps=300, learning_rate=0.05, objective="reconstruct", ema=0.9)
    fitted = train(network, Seen.everything(structure, signal), settings, report=seen.append)
    assert seen[-1].metrics["train/rmse"] < 0.5 * seen[0].metrics["train/rmse"]
    assert [p.step for p in seen] == list(range(50, 301, 50))
    assert fitted is not network
    assert not fitted.training


def test_without_averaging_the_last_weights_predict() -> None:
    network, structure, residuals = problem()
    fitted = train(network, Seen.everything(structure, residuals), replace(SETTINGS, ema=0.0))
    for ours, theirs in zip(fitted.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    "changes",
    [
        {"objective": "split"},
        {"objective": "reconstruct"},
        {"optimizer": "sgd"},
        *({"optimizer": name} | STEADY_SETTINGS for name in STEADY),
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_a_resumed_training_equals_one_that_never_stopped(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    settings = replace(SETTINGS, **changes)

    def trained(resume: Path | None, stop_at: int | None = None) -> Network:
        network, structure, residuals = problem(dropout=0.0 if changes.get("l2") else 0.3)

        def report(progress: Progress) -> None:
            if progress.step == stop_at:
                progress.save(tmp_path / "checkpoint")
                raise KeyboardInterrupt

        return train(
            network, Seen.everything(structure, residuals), settings, report=report, resume=resume
        )

    whole = trained(None)
    with pytest.raises(KeyboardInterrupt):
        trained(None, stop_at=15)
    torch.manual_seed(99)
    resumed = trained(tmp_path / "checkpoint")
    for ours, theirs in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert list(tmp_path.iterdir()) == [tmp_path / "checkpoint"]


def test_a_diverging_loss_stops_training() -> None:
    network, structure, residuals = problem()
    residuals[3] = float("inf")
    with pytest.raises(DivergedError, match="at step 5, nothing was learned before") as told:
        train(network, Seen.everything(structure, residuals), SETTINGS)
    assert told.value.kept is None


@pytest.mark.parametrize("resumed", [False, True])
def test_the_last_state_with_a_finite_loss_is_kept(tmp_path: Path, resumed: bool) -> None:
    """Decay of more than everything: weights grow eight times a step, until they overflow. A
    checkpoint counts as a report."""
    # A constant rate, as far as it matters, so that a shorter training is the beginning of it.
    settings = replace(SETTINGS, steps=400, reports=40, learning_rate=9.0, weight_decay=1.0)
    said: list[Progress] = []
    kept: list[dict[str, torch.Tensor]] = []

    def report(progress: Progress) -> None:
        said.append(progress)
        progress.save(tmp_path / "checkpoint")

    def diverged(resume: Path | None) -> DivergedError:
        network, structure, residuals = problem()
        data = Seen.everything(structure, residuals)
        with pytest.raises(DivergedError) as told:
            train(network, data, settings, report=report, resume=resume)
        assert told.value.kept is not None
        kept.append(told.value.kept.state_dict())
        return told.value

    trouble = diverged(None)
    assert len(said) > 1
    if resumed:
        trouble = diverged(tmp_path / "checkpoint")
        for name, tensor in kept[0].items():
            assert torch.equal(tensor, kept[1][name])
    assert f"the state of step {said[-1].step} is kept" in str(trouble)
    assert all(tensor.isfinite().all() for tensor in kept[-1].values())


def test_the_sum_of_two_sides() -> None:
    _, structure, residuals = problem()
    everything = Seen.everything(structure, residuals)
    table, dense = Table(12, 4, scale=0.1), encoder(15)
    both = encode(Sum(table, dense), everything)
    torch.testing.assert_close(
        both.vectors, table.vectors.detach() + encode(dense, everything).vectors
    )


def test_the_encoder_is_the_formula() -> None:
    """code = tanh(c + sum (value A + B) / sqrt(n)), written out row by row."""
    _, structure, residuals = problem()
    dense = encoder(15)
    entry = dense.entry
    codes = encode(dense, Seen.everything(structure, residuals))
    assert entry.values_weight is not None
    assert entry.mask_weight is not None
    assert dense.head is not None
    for row in range(12):
        mine = structure.row_of_entry == row
        columns = structure.columns.long()[mine]
        total = residuals[mine] @ entry.values_weight[columns] + entry.mask_weight[columns].sum(0)
        wanted = torch.tanh(entry.bias + total / max(len(columns), 1) ** 0.5)
        torch.testing.assert_close(codes.vectors[row], wanted.detach())
        torch.testing.assert_close(codes.bias[row], (wanted @ dense.head).detach())


@pytest.mark.parametrize(
    "wrong",
    [
        {"objective": "recon"},
        {"learning_rate": float("inf")},
        {"hide": (0.6, 0.1)},
        {"hide": (0.0, 0.5)},
        {"steps": 0},
        {"ema": 1.0},
        {"l2": -1.0},
        {"noise": -1.0},
        {"batch_size": -1},
        {"warmup": 2.0},
        {"optimizer": "adam"},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Training(**wrong)  # type: ignore[arg-type]


def test_denoising_hides_entries_and_counts_all() -> None:
    network, structure, residuals = problem()
    network.eval()
    data = Seen.everything(structure, residuals)
    settings = replace(SETTINGS, objective="denoise", noise=0.3)
    torch.manual_seed(5)
    loss, lesson = _loss(network, data, settings, 0)
    torch.manual_seed(5)
    hidden, seen = _hide(data, settings)
    assert hidden is not None
    noisy = seen.noisy(0.3)
    assert torch.equal(noisy.values.by_row == 0, hidden > 0)
    noise = (noisy.values.by_row - seen.values.by_row)[hidden == 0]
    assert 0.15 < float(noise.std()) < 0.45
    rows, columns = network(noisy)
    dense = rows.vectors @ columns.vectors.T + rows.bias[:, None] + columns.bias
    at = dense[structure.row_of_entry, structure.columns.long()]
    torch.testing.assert_close(loss, ((at - residuals) ** 2).mean())
    assert lesson.loss.number == len(residuals)


@pytest.mark.parametrize(
    ("optimizer", "rate"), [("adamw", 0.05), ("sgd", 0.2), ("rprop", 0.01), ("lbfgs", 1.0)]
)
def test_every_optimizer_learns_what_can_be_learned(optimizer: str, rate: float) -> None:
    torch.manual_seed(0)
    _, structure, _ = problem()
    left, right = torch.randn(12), torch.randn(15)
    data = Seen.everything(structure, left[structure.row_of_entry] * right[structure.columns])
    own: dict[str, Any] = {"steps": 200, "learning_rate": rate, "ema": 0.0, "optimizer": optimizer}
    settings = replace(SETTINGS, **own | STEADY_SETTINGS)
    network = Network(encoder(15), Table(15, 4, scale=0.1), dropout=0.0)
    said: list[Progress] = []
    train(network, data, settings, report=said.append)
    assert said[-1].metrics["train/rmse"] < 0.3 * float((data.values.by_row**2).mean() ** 0.5)


def test_the_decay_of_sgd_leaves_the_momentum_alone() -> None:
    """Loshchilov and Hutter 2019, algorithm 1, by hand; what is spared does not shrink."""
    weight, bias = torch.nn.Parameter(torch.tensor([2.0])), torch.nn.Parameter(torch.tensor([2.0]))
    optimizer = optimizer_of("sgd", [weight], [bias], rate=0.1, decay=0.5)
    shrunk = spared = 2.0
    momentum = 0.0
    for _ in range(3):

        def loss() -> torch.Tensor:
            optimizer.zero_grad()
            total = (3 * weight + 3 * bias).sum()
            total.backward()  # type: ignore[no-untyped-call]
            return total

        optimizer.step(loss)  # type: ignore[arg-type]
        momentum = 0.9 * momentum + 3
        moved = 0.1 * (3 + 0.9 * momentum)
        shrunk, spared = shrunk * (1 - 0.1 * 0.5) - moved, spared - moved
    assert float(weight.detach()) == pytest.approx(shrunk, abs=1e-5)
    assert float(bias.detach()) == pytest.approx(spared, abs=1e-5)


@pytest.mark.parametrize("optimizer", STEADY)
def test_who_compares_steps_needs_the_same_loss_at_each(optimizer: str) -> None:
    steady: dict[str, Any] = {"optimizer": optimizer} | STEADY_SETTINGS
    for wrong in (
        {"objective": "split"},
        {"objective": "denoise"},
        {"noise": 0.1},
        {"batch_size": 4},
        {"warmup": 0.5},
    ):
        with pytest.raises(ValueError, match="set objective = reconstruct"):
            Training(**steady | wrong)
    with pytest.raises(ValueError, match="set weight_decay to 0"):
        Training(**steady | {"weight_decay": 1.0})
    network, structure, residuals = problem(dropout=0.3)
    with pytest.raises(ValueError, match="set dropout to 0"):
        train(network, Seen.everything(structure, residuals), Training(**steady))


def test_rows_taken_are_those_rows() -> None:
    _, structure, residuals = problem()
    times = torch.arange(len(residuals))
    data = Seen.everything(structure, residuals, times=times)
    rows = torch.tensor([7, 0, 11])
    taken = data.take(rows)
    for place, row in enumerate(rows):
        mine = taken.values.structure.row_of_entry == place
        whole = structure.row_of_entry == row
        assert torch.equal(taken.values.by_row[mine], residuals[whole])
        assert torch.equal(taken.values.structure.columns[mine], structure.columns[whole])
        assert torch.equal(taken.times[mine], times[whole])  # type: ignore[index]
    assert torch.equal(taken.counts, data.counts[rows])
    assert torch.equal(taken.T.T.times, taken.times)  # type: ignore[arg-type]


def test_batches_learn_as_all_rows_do_and_are_refused_where_rows_have_tables() -> None:
    torch.manual_seed(0)
    _, structure, _ = problem()
    left, right = torch.randn(12), torch.randn(15)
    data = Seen.everything(structure, left[structure.row_of_entry] * right[structure.columns])
    settings = replace(SETTINGS, steps=300, batch_size=4, objective="reconstruct")
    network = Network(encoder(15), Table(15, 4, scale=0.1), dropout=0.0)
    said: list[Progress] = []
    train(network, data, settings, report=said.append)
    assert said[-1].metrics["train/rmse"] < 0.5 * said[0].metrics["train/rmse"]
    for rows, columns in ((Table(12, 4, scale=0.1), encoder(12)), (encoder(15), encoder(12))):
        with pytest.raises(ValueError, match="set batch_size to 0"):
            train(Network(rows, columns, dropout=0.0), data, settings)


class _Paying(Table):
    """A side whose codes cost 2 a row."""

    def forward(self, seen: Seen) -> Codes:
        return super().forward(seen)._replace(penalty=24.0, measured={"paid": torch.tensor(2.0)})


def test_penalties_stand_beside_the_sum_of_losses_and_rise() -> None:
    _, structure, residuals = problem()
    data = Seen.everything(structure, residuals)
    network = Network(_Paying(12, 4, scale=0.1), Table(15, 4, scale=0.1), dropout=0.0)
    settings = replace(SETTINGS, objective="reconstruct", warmup=0.5, steps=30)
    paid = []
    for step in (0, 6, 15, 29):
        loss, lesson = _loss(network, data, settings, step)
        paid.append(float((loss - lesson.loss.mean).detach()) * len(residuals) / 24.0)
    assert paid == pytest.approx([1 / 16, 7 / 16, 1, 1], abs=1e-4)
    said: list[Progress] = []
    train(network, data, settings, report=said.append)
    assert said[-1].metrics["train/rows/paid"] == 2.0

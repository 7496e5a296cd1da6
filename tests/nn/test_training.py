"""The loop: what is hidden, what is minimised, and going on from a checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recae.nn.encoders import Dense
from recae.nn.sides import Network, Seen, Sum, Table, encode
from recae.nn.sparse import Structure
from recae.nn.training import DivergedError, Progress, Training, _hide, _loss, train
from tests.nn.test_sparse import structure_of

SETTINGS = Training(steps=30, reports=6, learning_rate=0.01, weight_decay=0.1)


def encoder(n_columns: int, *, normalize: bool = True, mask: bool = True) -> Dense:
    return Dense(
        n_columns,
        4,
        values=True,
        mask=mask,
        activation="tanh",
        normalize=normalize,
        bias_head=True,
        scale=0.1,
    )


def problem(seed: int = 0) -> tuple[Network, Structure, torch.Tensor]:
    torch.manual_seed(seed)
    structure, mask = structure_of(12, 15, 0.4)
    network = Network(encoder(15), encoder(12), dropout=0.3)
    return network, structure, torch.randn(int(mask.sum()))


def test_hidden_entries_are_neither_read_nor_counted() -> None:
    _, structure, residuals = problem()
    data = Seen.everything(structure, residuals)
    seen, target = _hide(data, replace(SETTINGS, hide=(0.5, 0.5)))
    hidden = target.mask.by_row
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
    seen, _ = _hide(data, replace(SETTINGS, objective="reconstruct"))
    assert seen.mask.by_row[0] == 1
    assert seen.counts.sum() == len(residuals)


def test_the_split_loss_is_over_hidden_entries_only() -> None:
    network, structure, residuals = problem()
    network.eval()
    data = Seen.everything(structure, residuals)
    torch.manual_seed(5)
    loss, error = _loss(network, data, SETTINGS)
    torch.manual_seed(5)
    seen, target = _hide(data, SETTINGS)
    hidden = target.mask.by_row
    rows, columns = network(seen)
    dense = rows.vectors @ columns.vectors.T + rows.bias[:, None] + columns.bias
    at = dense[structure.row_of_entry, structure.columns.long()]
    wanted = ((at - residuals)[hidden > 0] ** 2).mean()
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(error, wanted.detach())


def test_l2_stands_beside_the_sum_of_squares_and_spares_biases() -> None:
    """Sedhain et al. 2015, eq. 2: sum of squares + lambda / 2 (|W|^2 + |V|^2)."""
    network, structure, residuals = problem()
    network.eval()
    data = Seen.everything(structure, residuals)
    plain, _ = _loss(network, data, replace(SETTINGS, objective="reconstruct"))
    settings = replace(SETTINGS, objective="reconstruct", l2=3.0, shrink_biases=False)
    with_l2, _ = _loss(network, data, settings)
    shrunk, spared = network.shrunk(biases=False)
    names = {n for n, p in network.named_parameters() if any(p is other for other in spared)}
    assert names == {"rows.code_bias", "columns.code_bias"}
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


@pytest.mark.parametrize("objective", ["split", "reconstruct"])
def test_a_resumed_training_equals_one_that_never_stopped(tmp_path: Path, objective: str) -> None:
    settings = replace(SETTINGS, objective=objective)  # type: ignore[arg-type]

    def trained(resume: Path | None, stop_at: int | None = None) -> Network:
        network, structure, residuals = problem()

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
    codes = encode(dense, Seen.everything(structure, residuals))
    assert dense.values_weight is not None
    assert dense.mask_weight is not None
    assert dense.head is not None
    for row in range(12):
        mine = structure.row_of_entry == row
        columns = structure.columns.long()[mine]
        total = residuals[mine] @ dense.values_weight[columns] + dense.mask_weight[columns].sum(0)
        wanted = torch.tanh(dense.code_bias + total / max(len(columns), 1) ** 0.5)
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
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Training(**wrong)  # type: ignore[arg-type]

"""Ratios of sums: against plain loops, the bootstrap, and how often their interval is right."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from recae.comparison.ratios import Ratio
from recae.comparison.resampling import Part, resampled

Floats = NDArray[np.float64]


def of_errors(
    rng: np.random.Generator, users: int, slices: int = 1, typical: float = 4.5
) -> tuple[Floats, Floats]:
    """Sums of squared errors and counts, [U, S]: users differ in both, as they do."""
    counts = np.maximum(1, np.round(rng.lognormal(np.log(typical), 1.0, (users, slices))))
    own = rng.lognormal(-0.125, 0.5, (users, 1))
    return own * rng.chisquare(counts), counts


def test_values_are_quotients_and_their_roots() -> None:
    sums, counts = np.array([[8.0, 1], [1, 0]]), np.array([[2.0, 1], [1, 0]])
    found = Ratio.of([(sums, counts)], root=False)
    np.testing.assert_allclose(found.values, [3, 1])
    assert found.users.tolist() == [2, 1]
    np.testing.assert_allclose(Ratio.of([(sums, counts)], root=True).values, [3**0.5, 1])


def test_runs_are_averaged_after_the_root() -> None:
    counts = np.ones((2, 1))
    runs = [(np.array([[1.0], [1]]), counts), (np.array([[9.0], [9]]), counts)]
    assert Ratio.of(runs, root=True).values.tolist() == [2]


@pytest.mark.parametrize("root", [False, True])
def test_the_influence_is_the_derivative(root: bool) -> None:
    runs = [of_errors(np.random.default_rng(seed), 7, 3) for seed in (1, 1)]
    runs[1] = (runs[1][0] * np.linspace(0.5, 2, 7)[:, None], runs[0][1])
    found = Ratio.of(runs, root=root)
    np.testing.assert_allclose(found.influence.sum(axis=0), 0, atol=1e-12)
    step = 1e-6
    for user in range(7):
        more = np.ones((7, 1))
        more[user] += step
        moved = Ratio.of([(sums * more, counts * more) for sums, counts in runs], root=root)
        slope = (moved.values - found.values) / step
        np.testing.assert_allclose(found.influence[user], slope, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("root", [False, True])
def test_large_slices_have_the_interval_of_the_bootstrap(root: bool) -> None:
    rng = np.random.default_rng(2)
    sums, counts = of_errors(rng, 1500)
    other = sums * rng.uniform(0.7, 1.2, sums.shape)
    gap = Ratio.of([(other, counts)], root=root).less(Ratio.of([(sums, counts)], root=root))
    parts = [Part(each, counts, root) for each in (other, sums)]
    (one, two) = resampled({"it": parts}, rng, 4000)["it"]
    low, high = np.percentile(one - two, [2.5, 97.5])
    half = gap.half_width[0]
    assert gap.values[0] == pytest.approx(parts[0].value - parts[1].value)
    assert [gap.values[0] - half, gap.values[0] + half] == pytest.approx([low, high], abs=half / 10)


def test_equal_users_have_the_t_test() -> None:
    values = np.random.default_rng(3).normal(0.4, 1, 9)
    found = Ratio.of([(values[:, None] * 5, np.full((9, 1), 5.0))], root=False)
    expected = stats.ttest_1samp(values, 0)
    assert found.freedom[0] == pytest.approx(8)
    assert found.error[0] == pytest.approx(stats.sem(values))
    assert found.p[0] == pytest.approx(expected.pvalue)
    low, _ = expected.confidence_interval()
    assert found.values[0] - found.half_width[0] == pytest.approx(low)


def test_variance_and_freedom_are_those_of_bell_and_mccaffrey() -> None:
    """Their matrices written out: a regression on a constant, users as clusters."""
    sums, counts = of_errors(np.random.default_rng(4), 6)
    sizes = counts[:, 0].astype(int)
    total, starts = sizes.sum(), np.cumsum([0, *sizes])
    left = np.eye(total) - 1 / total
    columns, pieces = [], 0.0
    for user, size in enumerate(sizes):
        own = slice(starts[user], starts[user + 1])
        eigen, vectors = np.linalg.eigh(left[own, own])
        weighted = np.ones(size) @ (vectors / np.sqrt(eigen)) @ vectors.T / total
        columns.append(weighted @ left[own])
        given = np.full(size, sums[user, 0] / size)
        pieces += float(weighted @ (given - sums.sum() / total)) ** 2
    eigen = np.linalg.eigvalsh(np.array(columns) @ np.array(columns).T)
    found = Ratio.of([(sums, counts)], root=False)
    assert found.error[0] == pytest.approx(pieces**0.5)
    assert found.freedom[0] == pytest.approx(eigen.sum() ** 2 / (eigen**2).sum())


@pytest.mark.parametrize(("users", "least"), [(9, 0.9), (30, 0.9), (300, 0.92)])
@pytest.mark.parametrize("what", ["rmse", "gap", "recall"])
def test_nineteen_of_twenty_intervals_hold_the_truth(users: int, least: float, what: str) -> None:
    """Users with 1 to 50 ratings; squared errors are skewed, which costs small slices a little.

    Found: RMSE 0.92, 0.91, 0.94; differences 0.96, 0.94, 0.95; recall 0.92, 0.92, 0.94.
    """
    rng = np.random.default_rng(5)
    _, counts = of_errors(rng, users, 2000)
    # Every column is a sample of its own.
    own = rng.lognormal(-0.125, 0.5, counts.shape)
    if what == "rmse":
        found, truth = Ratio.of([(own * rng.chisquare(counts), counts)], root=True), 1.0
    elif what == "gap":
        shift = rng.normal(0.1, 0.3, counts.shape) * counts
        sums = shift + rng.normal(0, 1, counts.shape) * np.sqrt(counts)
        found, truth = Ratio.of([(sums, counts)], root=False), 0.1
    else:
        hits = rng.binomial(counts.astype(int), rng.beta(1, 4, counts.shape))
        found, truth = Ratio.of([(hits.astype(float), counts)], root=False), 0.2
    held = float(np.mean(np.abs(found.values - truth) <= found.half_width))
    assert least <= held <= 0.97


def test_of_nobody_and_of_a_single_user_nothing_follows() -> None:
    sums, counts = np.array([[0.0, 4], [0, 0]]), np.array([[0.0, 2], [0, 0]])
    found = Ratio.of([(sums, counts)], root=True)
    assert np.isnan(found.values[0])
    assert found.values[1] == pytest.approx(2**0.5)
    assert found.half_width.tolist() == [np.inf, np.inf]
    assert found.p.tolist() == [1, 1]


@pytest.mark.parametrize("root", [False, True])
@pytest.mark.parametrize("each", [0.0, 0.3])
def test_of_users_who_do_not_vary_nothing_follows(each: float, root: bool) -> None:
    """A recall of 0 for nine users is no proof that it is 0 for everybody."""
    counts = np.arange(1.0, 10)[:, None]
    found = Ratio.of([(counts * each, counts)], root=root)
    assert found.values[0] == pytest.approx(each**0.5 if root else each)
    assert found.half_width.tolist() == [np.inf]
    assert found.p.tolist() == [1]


def test_a_model_does_not_differ_from_itself() -> None:
    found = Ratio.of([of_errors(np.random.default_rng(6), 20, 3)], root=True)
    gap = found.less(found)
    assert gap.values.tolist() == [0, 0, 0]
    assert gap.p.tolist() == [1, 1, 1]


def test_what_all_users_share_cancels() -> None:
    """Users differ much more than models do: paired, the difference is certain."""
    rng = np.random.default_rng(7)
    sums, counts = of_errors(rng, 200)
    one, two = Ratio.of([(sums, counts)], root=True), Ratio.of([(sums * 0.98, counts)], root=True)
    assert two.less(one).error[0] < one.error[0] / 20


def test_slices_are_taken_whole() -> None:
    found = Ratio.of([of_errors(np.random.default_rng(8), 5, 4)], root=True)
    some = found.take(np.array([3, 1]))
    np.testing.assert_array_equal(some.values, found.values[[3, 1]])
    np.testing.assert_array_equal(some.half_width, found.half_width[[3, 1]])

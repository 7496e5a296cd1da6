"""Intervals against counting, brute force and the bootstrap; what they promise, in many worlds."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from recae import intervals, splits
from recae.errors import DataError
from recae.intervals import Intervals, Method, Ordinal, Scaled, clustered
from recae.models import AutoRec, expected_error
from recae.models.base import Floats
from recae.models.conformal import quantile
from recae.models.expected_error import ExpectedError
from recae.models.linear import Bias, Popular
from recae.models.places import Places
from recae.nn.training import Training
from recae.ratings import Ratings
from recae.splits import Holdout

U, N = 60, 40
METHODS: tuple[Method, ...] = get_args(Method)


class Sure(Bias):
    """With a distribution of its own: what the stars' distance from the prediction makes of it."""

    @property
    def levels(self) -> Floats:
        return np.arange(1, 6, dtype=np.float32)

    def _chances_at(self, history: Ratings, places: Places) -> Floats:
        stars = self._stars_at(history, places)
        chances = np.exp(-((self.levels - stars[:, None]) ** 2))
        return np.asarray(chances / chances.sum(axis=1, keepdims=True))


def world(
    seed: int = 0, *, share: float = 0.7, noise: Callable[[Any], Any] | None = None
) -> Ratings:
    """Users who like items by chance; `noise`: of user rows, standard deviations in stars."""
    rng = np.random.default_rng(seed)
    users, items = np.nonzero(rng.random((U, N)) < share)
    spread = np.full(len(users), 0.8) if noise is None else noise(users)
    stars = 3 + rng.normal(0, 0.5, U)[users] + rng.normal(0, 0.7, N)[items]
    stars = np.clip(np.round(stars + rng.normal(0, spread)), 1, 5)
    return Ratings.of(users + 1, items + 100, stars, scale=(1, 5))


def held_out(ratings: Ratings, *, share: float = 0.5, seed: int = 0) -> Holdout:
    return splits.random(ratings, test=share, rng=np.random.default_rng(seed)).test


def halves(holdout: Holdout, rng: np.random.Generator, n: int | None = None) -> list[Holdout]:
    """n targets, drawn at random, to calibrate on; the others."""
    total = len(holdout.target)
    drawn = rng.permutation(total) < (total // 2 if n is None else n)
    return [Holdout(holdout.history, holdout.target.keep(mask)) for mask in (drawn, ~drawn)]


def of(model: Bias, calibration: Holdout, method: Method = "adaptive", **more: Any) -> Intervals:
    return Intervals.of(model, calibration, method=method, rng=np.random.default_rng(0), **more)


@pytest.fixture(scope="module")
def held() -> Holdout:
    return held_out(world())


@pytest.fixture(scope="module")
def model(held: Holdout) -> Bias:
    return Bias().fit(held.history, rng=np.random.default_rng(0))


@pytest.fixture(scope="module")
def sure(held: Holdout) -> Sure:
    return Sure().fit(held.history, rng=np.random.default_rng(0))


# --- the quantile


@pytest.mark.parametrize("level", ["1/2", "11/20", "4/5", "9/10", "19/20"])
def test_the_quantile_is_the_first_that_leaves_enough_below(level: str) -> None:
    exact = Fraction(level)
    for n in range(1, 120):
        distances = np.random.default_rng(n).random(n)
        wanted = [d for d in sorted(distances) if (distances <= d).sum() >= exact * (n + 1)]
        if wanted:
            assert quantile(distances, float(exact)) == pytest.approx(wanted[0], rel=1e-8)
        else:
            with pytest.raises(DataError, match="hold out more, or state a lower level"):
                quantile(distances, float(exact))


@pytest.mark.parametrize(
    ("method", "n", "least"), [("constant", 8, 9), ("ordinal", 17, 18), ("adaptive", 17, 18)]
)
def test_too_few_to_calibrate_on(
    held: Holdout, model: Bias, method: Method, n: int, least: int
) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match=rf"0\.9 of all ratings need {least} .*there are {n}:"):
        of(model, halves(held, rng, n)[0], method)
    of(model, halves(held, rng, least)[0], method)


# --- the promise


@pytest.mark.parametrize(
    ("method", "n", "draws"),
    [
        ("constant", 19, 300),
        ("constant", 40, 300),
        ("adaptive", 19, 300),
        ("adaptive", 40, 300),
        ("ordinal", 40, 60),
    ],
)
def test_coverage_is_what_is_promised(
    held: Holdout, model: Bias, method: Method, n: int, draws: int
) -> None:
    """Over many draws of the ratings to calibrate on: between 0.8 and 0.8 + 1 / (n + 1), where n is
    how many are left to calibrate on."""
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(draws):
        calibration, rest = halves(held, rng, n)
        found = Intervals.of(model, calibration, level=0.8, method=method, rng=rng)
        low, high = found.at(rest)
        covered.append(np.mean((low <= rest.target.stars) & (rest.target.stars <= high)))
    left = n if method == "constant" else n - n // 2
    # A calibration's coverage is spread like Beta(0.8 n, 0.2 n).
    error = 4 * np.sqrt(0.16 / left / draws)
    assert 0.8 - error < np.mean(covered) < 0.8 + 1 / (left + 1) + error


def test_coverage_with_a_distribution_of_its_own(held: Holdout, sure: Sure) -> None:
    rng = np.random.default_rng(2)
    covered = []
    for _ in range(100):
        calibration, rest = halves(held, rng, 99)
        covered.append(of(sure, calibration, "ordinal").coverage(rest).overall.covered)
    assert abs(np.mean(covered) - 0.9) < 0.01 + 4 * np.sqrt(0.09 / 99 / 100)


def test_new_users(held: Holdout) -> None:
    split = splits.unseen_users(
        world(3), test=0.3, validation=0.4, target=0.5, rng=np.random.default_rng(0)
    )
    model = Bias().fit(split.train, rng=np.random.default_rng(0))
    assert split.validation is not None
    for method in METHODS:
        coverage = of(model, split.validation, method, level=0.8).coverage(split.test)
        assert abs(coverage.overall.covered - 0.8) < 0.1


@pytest.mark.parametrize("method", METHODS)
def test_within_the_scale_and_around_nothing_that_was_given(
    held: Holdout, model: Bias, method: Method
) -> None:
    calibration, rest = halves(held, np.random.default_rng(0))
    found = of(model, calibration, method, level=0.95)
    low, high = found.at(rest)
    assert low.min() >= 1
    assert high.max() <= 5
    assert (low < high).all()
    assert (low == 1).any() or (high == 5).any()
    target = rest.target
    other = Holdout(rest.history, target.with_stars(6 - target.stars))
    for before, after in zip((low, high), found.at(other), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("method", METHODS)
def test_higher_levels_are_wider(held: Holdout, model: Bias, method: Method) -> None:
    calibration, rest = halves(held, np.random.default_rng(0))
    ends = [of(model, calibration, method, level=level).at(rest) for level in (0.6, 0.8, 0.95)]
    for (low, high), (lower, higher) in pairwise(ends):
        assert (lower <= low).all()
        assert (high <= higher).all()


@pytest.mark.parametrize("method", METHODS)
def test_unknown_items_and_people_without_ratings(model: Bias, method: Method) -> None:
    known = world()
    asked = Ratings.of([1, 2, 99, 99], [100, 999, 100, 999], [3, 4, 2, 5], scale=(1, 5))
    holdout = Holdout.of(known.keep(known.columns > 0), asked)
    calibration = held_out(known)
    low, high = of(model, calibration, method).at(holdout)
    assert np.isfinite(low).all()
    assert (low < high).all()


# --- errors that are to be expected


def test_who_is_hard_to_foresee_gets_wider_intervals() -> None:
    ratings = world(5, share=0.95, noise=lambda users: np.where(users % 4 == 0, 1.8, 0.5))
    held = held_out(ratings)
    model = Bias().fit(held.history, rng=np.random.default_rng(0))
    calibration, rest = halves(held, np.random.default_rng(0))
    erratic = rest.target.rows % 4 == 0
    gaps = {}
    for method in METHODS:
        low, high = of(model, calibration, method).at(rest)
        inside = (low <= rest.target.stars) & (rest.target.stars <= high)
        gaps[method] = inside[~erratic].mean() - inside[erratic].mean()
        if method != "constant":
            assert (high - low)[erratic].mean() > 1.3 * (high - low)[~erratic].mean()
    assert gaps["constant"] > 0.2
    assert gaps["adaptive"] < gaps["constant"] / 2
    assert gaps["ordinal"] < gaps["constant"] / 2


def test_the_fit_of_errors_is_where_its_likelihood_is_best() -> None:
    rng = np.random.default_rng(0)
    terms = np.column_stack([np.ones(400), rng.normal(size=(400, 2))])
    squares = np.exp(terms @ [0.3, 0.8, -0.4]) * rng.normal(size=400) ** 2

    def loss(weights: NDArray[np.float64]) -> float:
        logs = terms @ weights
        prior = expected_error._PRIOR * (weights[1:] ** 2).sum() / 2
        return float((logs + squares / np.exp(logs)).sum() + prior)

    found = expected_error._log_linear(terms, squares)
    for direction in np.eye(3):
        assert loss(found) < min(loss(found + 1e-3 * direction), loss(found - 1e-3 * direction))
    many = np.tile(terms, (200, 1))
    again = expected_error._log_linear(many, np.exp(many @ [0.3, 0.8, -0.4]))
    np.testing.assert_allclose(again, [0.3, 0.8, -0.4], atol=0.01)


def test_errors_far_from_what_was_seen_are_not_extrapolated(held: Holdout, model: Bias) -> None:
    found = ExpectedError.of(model, held)
    far = found.centre + 1e6 * found.width
    np.testing.assert_allclose(found._standard(far), [expected_error._FAR] * 6)


# --- stars with chances


def by_hand(chances: NDArray[np.float64]) -> NDArray[np.float64]:
    """[L]: what is inside before each star joins; one star after the other."""
    first = last = int(chances.argmax())
    before = np.zeros(len(chances))
    inside = chances[first]
    while last - first < len(chances) - 1:
        left = chances[first - 1] if first else -1.0
        right = chances[last + 1] if last + 1 < len(chances) else -1.0
        first, last = (first - 1, last) if left > right else (first, last + 1)
        joined = first if left > right else last
        before[joined] = inside
        inside += chances[joined]
    return before


@pytest.mark.parametrize("n_levels", [2, 3, 5, 10])
def test_stars_join_by_their_chances(n_levels: int) -> None:
    chances = np.random.default_rng(0).dirichlet(np.full(n_levels, 0.5), size=300)
    found = intervals._before(chances, chances.argmax(axis=1))
    np.testing.assert_allclose(found, [by_hand(row) for row in chances], atol=1e-12)


class Told(Bias):
    """Levels and chances as stated, whoever asks."""

    def told(self, levels: Any, chances: NDArray[np.float64]) -> Told:
        self._told = np.asarray(levels, np.float32), chances.astype(np.float32)
        return self

    @property
    def levels(self) -> Floats:
        return self._told[0]

    def _chances_at(self, history: Ratings, places: Places) -> Floats:
        return self._told[1]


@pytest.mark.parametrize("levels", [[1, 2, 3, 4, 5], [1, 1.5, 3, 5], [2, 3, 4]])
def test_a_star_is_inside_from_its_distance_on(held: Holdout, levels: list[float]) -> None:
    """Of stars that are levels, and of those that are not."""
    rng = np.random.default_rng(0)
    chances = rng.dirichlet(np.full(len(levels), 0.7), size=len(held.target))
    model = Told().fit(held.history, rng=rng).told(levels, chances)
    shape = Ordinal.of(model)
    for stars in (held.target.stars, rng.uniform(1, 5, len(chances)).astype(np.float32)):
        asked = Holdout(held.history, held.target.with_stars(stars))
        distances = shape.distances(model, asked)
        for size in (0.1, 0.5, 0.9, 0.99):
            low, high = shape.bounds(model, asked, size)
            close = np.abs(distances - size) < 1e-5
            inside = (low <= stars) & (stars <= high)
            np.testing.assert_array_equal(inside[~close], (distances <= size)[~close])


def test_ordinal_by_hand(held: Holdout) -> None:
    chances = np.tile([0.0, 0.1, 0.2, 0.5, 0.2], (len(held.target), 1))
    chances[0] = [0, 0, 0, 0.25, 0.75]
    model = Told().fit(held.history, rng=np.random.default_rng(0))
    model.told([1, 2, 3, 4, 5], chances)
    shape = Ordinal.of(model)
    # All of 4, all of 3, which comes first where two are as likely, and half of 5.
    low, high = shape.bounds(model, held, 0.8)
    np.testing.assert_allclose([low[1], high[1]], [2.5, 5], atol=1e-6)
    # 0.05 of the 0.25 of 4: a fifth of its cell; 4 is not inside.
    np.testing.assert_allclose([low[0], high[0]], [4.3, 5.5], atol=1e-6)


def test_whose_model_has_a_distribution_needs_no_half_for_it(held: Holdout, sure: Sure) -> None:
    calibration = halves(held, np.random.default_rng(0), 9)[0]
    assert isinstance(of(sure, calibration, "ordinal").shape, Ordinal)


def test_the_ordinal_head(held: Holdout) -> None:
    model = AutoRec.mf(k=4, head="ordinal", training=Training(steps=30))
    model.fit(held.history, rng=np.random.default_rng(0))
    calibration, rest = halves(held, np.random.default_rng(0))
    found = Intervals.of(model, calibration, method="ordinal", rng=np.random.default_rng(0))
    assert isinstance(found.shape, Ordinal)
    assert found.shape.source is None
    coverage = found.coverage(rest).overall
    assert coverage.low - 0.03 < 0.9 < coverage.high + 0.03


def test_chances_that_are_taught_fit_the_errors(held: Holdout, model: Bias) -> None:
    """Where the noise is a rounded normal one, they are those of the model's own, nearly."""
    taught = of(model, halves(held, np.random.default_rng(0))[0], "ordinal")
    assert isinstance(taught.shape, Ordinal)
    assert 0.85 < taught.size < 0.95, "chances that are right need no correction"


# --- coverage


def test_users_are_drawn_not_ratings() -> None:
    """The interval of a share against the bootstrap over users."""
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 40, 300)
    users = np.repeat(np.arange(300), counts)
    inside = rng.random(len(users)) < rng.beta(6, 1.5, 300)[users]
    share, low, high = clustered(users, inside)
    assert share == inside.mean()
    hits = np.bincount(users, inside)
    drawn = rng.integers(300, size=(4000, 300))
    draws = hits[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    np.testing.assert_allclose([low, high], np.percentile(draws, [2.5, 97.5]), atol=0.004)
    naive = 1.96 * np.sqrt(share * (1 - share) / len(users))
    assert high - low > 2 * 1.3 * naive


def test_few_users_do_not_shout() -> None:
    nine = np.repeat(np.arange(9), 20)
    share, low, high = clustered(nine, np.ones(180, dtype=bool))
    assert share == high == 1
    assert low == pytest.approx(9 / (9 + 1.959964**2)), "Wilson's for nine of nine"
    assert clustered(np.zeros(30), np.arange(30) > 2)[1] < 0.5, "one user is one draw"


def test_slices_hold_every_rating_once(held: Holdout, model: Bias) -> None:
    calibration, rest = halves(held, np.random.default_rng(0))
    found = of(model, calibration)
    coverage = found.coverage(rest)
    n = len(rest.target)
    assert coverage.overall.ratings == n
    assert {each.by for each in coverage.slices} == {
        "all",
        "ratings of the user",
        "spread of the user's stars",
        "ratings of the item",
        "predicted stars",
        "stars given",
    }
    for by in {each.by for each in coverage.slices}:
        slices = coverage.by(by)
        assert sum(each.ratings for each in slices) == n
        covered = sum(each.covered * each.ratings for each in slices) / n
        assert covered == pytest.approx(coverage.overall.covered)
        width = sum(each.width * each.ratings for each in slices) / n
        assert width == pytest.approx(coverage.overall.width)
    assert "stars given 5" in str(coverage)


def test_slices_by_hand() -> None:
    history = Ratings.of([1, 1, 2], [1, 2, 1], [1, 5, 3], scale=(1, 5))
    target = Ratings.of([1, 2, 2, 3], [3, 2, 3, 1], [2, 4, 1, 5], scale=(1, 5))
    holdout = Holdout.of(history, target)
    model = Bias().fit(history, rng=np.random.default_rng(0))
    found = Intervals(model, 0.9, 1.5, Scaled(None))
    coverage = found.coverage(holdout)

    def counts(by: str) -> dict[str, int]:
        return {each.name: each.ratings for each in coverage.by(by)}

    assert counts("ratings of the user") == {"0": 1, "1 to 9": 3}
    assert counts("spread of the user's stars") == {"0": 3, "2": 1}
    assert counts("ratings of the item") == {"0": 2, "1 to 9": 2}
    assert counts("stars given") == {"1": 1, "2": 1, "4": 1, "5": 1}
    error = np.abs(model.predict_at(holdout) - target.stars)
    assert coverage.overall.covered == (error <= 1.5).mean()


# --- refusals


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1, 90])
def test_levels_are_shares(held: Holdout, model: Bias, level: float) -> None:
    with pytest.raises(DataError, match="between 0 and 1"):
        of(model, held, level=level)


def test_refusals(held: Holdout, model: Bias) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="one of constant, adaptive, ordinal: 'wide'"):
        of(model, held, "wide")  # type: ignore[arg-type]
    popular = Popular().fit(held.history, rng=rng)
    with pytest.raises(DataError, match="only ranks"):
        Intervals.of(popular, held, rng=rng)
    nothing = Holdout(held.history, held.target.keep(np.zeros(len(held.target), dtype=bool)))
    with pytest.raises(DataError, match="holdout is empty"):
        of(model, held).coverage(nothing)


def test_a_continuum_has_no_levels() -> None:
    ratings = world()
    values = np.random.default_rng(0).uniform(1, 5, len(ratings)).astype(np.float32)
    held = held_out(ratings.with_stars(values))
    model = Bias().fit(held.history, rng=np.random.default_rng(0))
    with pytest.raises(DataError, match=r"different values .* choose adaptive"):
        of(model, held, "ordinal")
    calibration, rest = halves(held, np.random.default_rng(0))
    coverage = of(model, calibration).coverage(rest).overall
    assert coverage.low - 0.03 < 0.9 < coverage.high + 0.03


def test_items_that_the_model_does_not_know_teach_nothing(model: Bias) -> None:
    ratings = world(7)
    strangers = Ratings.of(
        ratings.users.values[ratings.rows], ratings.columns + 5000, ratings.stars, scale=(1, 5)
    )
    with pytest.raises(DataError, match="0 ratings with 0 different values"):
        of(model, held_out(strangers), "ordinal")

"""Slices and calibration against plain loops; what is corrected, marked and refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recae.comparison import holm
from recae.comparison.slices import Bin, Sliced, calibration, calibration_error, sliced
from recae.errors import ComparisonError
from recae.evaluation import Evaluation
from recae.ids import Ids
from tests.test_facets import answers, catalog

PROTOCOL = {"holdout": "one", "scale": [1.0, 5.0], "n": 3, "relevant": 4.0}
N_USERS, N_ITEMS, N_RATINGS = 30, 12, 240


def evaluation(seed: int, noise: float, *, ranks: bool = False, **protocol: Any) -> Evaluation:
    """The same ratings whatever the seed, which makes predictions and lists."""
    same, rng = np.random.default_rng(0), np.random.default_rng(100 + seed)
    cells = same.choice(N_USERS * N_ITEMS, N_RATINGS, replace=False)
    cells.sort()
    users, columns = cells // N_ITEMS, cells % N_ITEMS
    stars = same.integers(1, 6, N_RATINGS).astype(np.float64)
    genres = [["War"], ["Drama"], ["War", "Drama"], []] * 3
    lists = np.argsort(rng.random((N_USERS, N_ITEMS)), axis=1)[:, :3]
    lists[0, 1:] = -1
    asked = answers(
        users.tolist(),
        columns.tolist(),
        stars.tolist(),
        predicted=np.full(N_RATINGS, np.nan)
        if ranks
        else np.clip(stars + rng.normal(0, noise, N_RATINGS), 1, 5),
        lists=lists,
        known=same.integers(1, 40, N_USERS),
        counts=same.integers(0, 30, N_ITEMS),
        catalog=catalog(genres),
    )
    errors = {} if ranks else {"squared_error": np.zeros(N_USERS), "ratings": np.zeros(N_USERS)}
    return Evaluation({}, {}, PROTOCOL | protocol, Ids.of(range(N_USERS)), errors, asked)


@pytest.fixture
def groups() -> dict[str, list[Evaluation]]:
    return {
        "mf": [evaluation(seed, 0.9) for seed in (0, 1)],
        "dual": [evaluation(seed, 0.4) for seed in (2, 3)],
        "other": [evaluation(4, 0.9)],
        "popular": [evaluation(5, 0, ranks=True)],
    }


def found(groups: dict[str, list[Evaluation]], by: str, **settings: Any) -> Sliced:
    slices = sliced(groups, by, **({"baseline": "mf"} | settings))
    assert slices is not None
    return slices


def test_rmse_of_every_slice(groups: dict[str, list[Evaluation]]) -> None:
    for each in found(groups, "genre").slices:
        assert list(each.values) == ["mf", "dual", "other"], "popular has no stars"
        for name, value in each.values.items():
            roots = []
            for run in groups[name]:
                asked = run.answers
                assert asked is not None
                assert asked.catalog is not None
                errors = [
                    (predicted - given) ** 2
                    for column, predicted, given in zip(
                        asked.columns, asked.predicted, asked.stars, strict=True
                    )
                    if each.label in asked.catalog.genres[column]
                ]
                assert len(errors) == each.ratings
                roots.append(float(np.mean(errors)) ** 0.5)
            assert value.value == pytest.approx(np.mean(roots))
            assert value.low < value.value < value.high


def test_recall_of_every_slice(groups: dict[str, list[Evaluation]]) -> None:
    slices = found(groups, "activity", measure="recall")
    total = 0
    for each in slices.slices:
        assert list(each.values) == list(groups)
        low, _, high = each.label.removesuffix(" ratings").partition(" to ")
        total += each.ratings
        for name, value in each.values.items():
            shares = []
            for run in groups[name]:
                asked = run.answers
                assert asked is not None
                hits = [
                    int(column) in asked.lists[user].tolist()
                    for user, column, given in zip(
                        asked.users, asked.columns, asked.stars, strict=True
                    )
                    if given >= 4 and int(low) <= asked.known[user] <= int(high)
                ]
                assert len(hits) == each.ratings
                shares.append(np.mean(hits))
            assert value.value == pytest.approx(np.mean(shares))
            assert 0 <= value.low <= value.value <= value.high <= 1
    asked = groups["mf"][0].answers
    assert asked is not None
    assert total == np.count_nonzero(asked.stars >= 4)


def test_gaps_are_differences_to_the_baseline(groups: dict[str, list[Evaluation]]) -> None:
    for measure in ("rmse", "recall"):
        for each in found(groups, "popularity", measure=measure).slices:
            assert "mf" not in each.gaps
            for name, gap in each.gaps.items():
                value = each.values[name].value - each.values["mf"].value
                assert gap.value == pytest.approx(value)
                assert gap.low <= gap.value <= gap.high


def test_holm_is_over_the_whole_table(groups: dict[str, list[Evaluation]]) -> None:
    """Alone, every gap has its own p; together these are corrected, empty slices not counted."""
    slices = found(groups, "stars").slices
    assert len(slices) == 5
    names = ["dual", "other"]
    own = []
    for name in names:
        for each in slices:
            gap = each.gaps[name]
            alone = sliced(
                {k: only(groups[k], each.label) for k in ("mf", name)}, "stars", baseline="mf"
            )
            assert alone is not None
            assert alone.slices[0].gaps[name].value == pytest.approx(gap.value)
            own.append(alone.slices[0].gaps[name].p_holm)
    corrected = [each.gaps[name].p_holm for name in names for each in slices]
    assert corrected == pytest.approx(holm(own))
    assert max(own) > min(own)


def only(runs: list[Evaluation], stars: str) -> list[Evaluation]:
    """Runs with their ratings of so many stars alone."""
    kept = []
    for run in runs:
        asked = run.answers
        assert asked is not None
        rows = np.flatnonzero(asked.stars == float(stars))
        fields = ("users", "columns", "stars", "predicted", "days", "low", "high")
        some = replace(asked, **{name: getattr(asked, name)[rows] for name in fields})
        kept.append(replace(run, answers=some))
    return kept


def test_empty_slices_cost_no_power(groups: dict[str, list[Evaluation]]) -> None:
    """`days` has six labels; where all but one are empty nothing is to be corrected."""
    dated = {
        name: [replace(run, answers=replace(run.answers, days=np.zeros(N_RATINGS))) for run in runs]
        for name, runs in groups.items()
    }
    (first,) = found({name: dated[name] for name in ("mf", "other")}, "days").slices
    both = found({name: dated[name] for name in ("mf", "other", "dual")}, "days").slices
    assert first.label == "first day"
    assert both[0].gaps["other"].p_holm == pytest.approx(first.gaps["other"].p_holm)
    assert first.gaps["other"].p_holm < 1


def test_verdicts_know_which_way_is_better(groups: dict[str, list[Evaluation]]) -> None:
    slices = found(groups, "popularity").slices
    assert {each.gaps["dual"].verdict for each in slices if each.users > 20} == {"better"}
    assert {each.gaps["other"].verdict for each in slices} == {"no difference"}
    turned = found(groups, "popularity", baseline="dual").slices
    assert {each.gaps["mf"].verdict for each in turned if each.users > 20} == {"worse"}
    full = [
        replace(run, answers=replace(run.answers, lists=np.tile(np.arange(N_ITEMS), (30, 1))))
        for run in groups["dual"]
    ]
    lists = found({"mf": groups["mf"], "full": full}, "popularity", measure="recall").slices
    assert {each.gaps["full"].verdict for each in lists if each.users > 15} == {"better"}
    assert {each.values["full"].value for each in lists} == {1.0}
    # All nine of nine prove nothing for the tenth.
    assert {each.values["full"].low for each in lists} == {-np.inf}


def test_a_baseline_that_only_ranks_has_no_stars_to_subtract(
    groups: dict[str, list[Evaluation]],
) -> None:
    for each in found(groups, "genre", baseline="popular").slices:
        assert each.gaps == {}
        assert list(each.values) == ["mf", "dual", "other"]
    lists = found(groups, "genre", baseline="popular", measure="recall").slices
    assert list(lists[0].gaps) == ["mf", "dual", "other"]
    assert sliced({"popular": groups["popular"]}, "genre", baseline="popular") is None


def test_a_group_alone_has_values_and_no_gaps(groups: dict[str, list[Evaluation]]) -> None:
    alone = found({"mf": groups["mf"]}, "popularity").slices
    assert {len(each.gaps) for each in alone} == {0}
    assert [each.values["mf"] for each in alone] == [
        each.values["mf"] for each in found(groups, "popularity").slices
    ]


def test_nothing_known_nothing_sliced(groups: dict[str, list[Evaluation]]) -> None:
    assert sliced(groups, "days", baseline="mf") is None
    assert sliced(groups, "year", baseline="mf") is None


def test_relevant_means_what_it_means_to_the_evaluation() -> None:
    """Stars are float32: 3.3 of them are fewer than 3.3, and count all the same."""
    run = evaluation(0, 0.5, relevant=3.3)
    assert run.answers is not None
    stars = np.full(N_RATINGS, np.float32(3.3)).astype(np.float64)
    assert stars[0] < 3.3
    alike = replace(run, answers=replace(run.answers, stars=stars))
    slices = found({"mf": [alike]}, "stars", measure="recall").slices
    assert [each.ratings for each in slices] == [N_RATINGS]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"by": "weather"}, "there is no facet 'weather': there are activity, popularity, stars"),
        ({"measure": "mae"}, "there is no measure 'mae': there are rmse, recall, coverage"),
        ({"baseline": "als"}, "no 'als' to compare with: there are mf, dual, other, popular"),
    ],
)
def test_unknown_names(
    groups: dict[str, list[Evaluation]], changes: dict[str, str], why: str
) -> None:
    with pytest.raises(ComparisonError, match=why):
        sliced(groups, **({"by": "stars", "baseline": "mf"} | changes))


def test_runs_scored_otherwise_are_refused(groups: dict[str, list[Evaluation]]) -> None:
    groups["other"] = [evaluation(4, 0.9, scale=[0.5, 5.0])]
    with pytest.raises(ComparisonError, match="mf and other cannot be compared: scale differs"):
        sliced(groups, "stars", baseline="mf")


@pytest.mark.parametrize("name", ["mf", "other"])
def test_evaluations_without_answers_are_refused(
    groups: dict[str, list[Evaluation]], name: str
) -> None:
    groups[name][-1] = replace(groups[name][-1], answers=None)
    with pytest.raises(ComparisonError, match="tell of no single rating or list"):
        sliced(groups, "stars", baseline="mf")
    with pytest.raises(ComparisonError, match="tell of no single rating or list"):
        calibration(groups[name])


# --- calibration


def test_bins_are_means_of_what_is_in_them(groups: dict[str, list[Evaluation]]) -> None:
    runs = groups["mf"]
    for bins in (4, 10):
        expected: dict[int, list[tuple[float, float]]] = {}
        for run in runs:
            assert run.answers is not None
            for predicted, given in zip(run.answers.predicted, run.answers.stars, strict=True):
                place = min(int((predicted - 1) / 4 * bins), bins - 1)
                expected.setdefault(place, []).append((predicted, given))
        made = calibration(runs, bins)
        assert len(made) == len(expected)
        assert sum(each.ratings for each in made) == 2 * N_RATINGS
        for each, place in zip(made, sorted(expected), strict=True):
            assert each.ratings == len(expected[place])
            means = np.mean(expected[place], axis=0)
            assert [each.predicted, each.given] == pytest.approx(means.tolist())
            assert each.low < each.given < each.high


def test_runs_do_not_make_users_more(groups: dict[str, list[Evaluation]]) -> None:
    run = groups["mf"][0]
    for one, twice in zip(calibration([run]), calibration([run, run]), strict=True):
        assert (twice.low, twice.high) == pytest.approx((one.low, one.high))
        assert twice.ratings == 2 * one.ratings


def test_a_model_that_only_ranks_has_no_calibration(groups: dict[str, list[Evaluation]]) -> None:
    with pytest.raises(ComparisonError, match="only ranks predicts no stars to calibrate"):
        calibration(groups["popular"])


def test_the_calibration_error_weighs_bins_by_ratings() -> None:
    bins = [Bin(30, 2.0, 2.1, 0, 0), Bin(10, 4.0, 3.6, 0, 0)]
    assert calibration_error(bins) == pytest.approx((30 * 0.1 + 10 * 0.4) / 40)


def test_who_predicts_the_truth_is_calibrated() -> None:
    run = evaluation(0, 0.0)
    bins = calibration([run])
    assert calibration_error(bins) == pytest.approx(0)
    # All 5 stars of a bin are 5: nothing varies, and nothing is claimed.
    assert {each.low for each in bins} == {-np.inf}

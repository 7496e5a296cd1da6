"""The kernel of the half-step: against Gaussian processes solved another way, and in a model."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct

from recae.errors import DataError, RecaeError, RecipeError
from recae.ids import Ids
from recae.leaks import leak_test
from recae.models import AutoRec, Average, Stack, load_model
from recae.models import kernel as module
from recae.models.base import Recommender
from recae.models.kernel import Kernel, Process
from recae.models.ridge import UnsolvableError, ridge_rows
from recae.nn.training import Training
from recae.ratings import Ratings
from recae.recipes import read_recipe
from recae.splits import Holdout, Split, random

RIDGE = 7.0
BOTH = Kernel(local=0.3, width=1.5, times=(30.0, 2_000.0), drift=0.2)


def world() -> Ratings:
    """30 users in sessions, 20 items, half stars; user -50 has moods, as all have."""
    rng = np.random.default_rng(7)
    users, items = np.nonzero(rng.random((30, 20)) < 0.4)
    times = rng.integers(0, 3, len(users)) * 1_000 + rng.integers(0, 60, len(users))
    taste = rng.normal(size=(30, 2)) @ rng.normal(size=(2, 20))
    mood = rng.normal(size=(30, 3))[users, times // 1_000]
    stars = np.clip(np.round(6 + 2 * taste[users, items] + 2 * mood) / 2, 1, 5)
    return Ratings.of(users * 3 - 50, items * 7, stars, times, scale=(1, 5))


RATINGS = world()
SPLIT = random(RATINGS, test=0.2, rng=np.random.default_rng(0))
OWN = SPLIT.train
RNG = np.random.default_rng(1)
VECTORS = RNG.normal(size=(len(OWN.items), 3)).astype(np.float32)
REST = RNG.normal(size=len(OWN)).astype(np.float32)
ALL = np.ones(len(OWN.items), dtype=np.bool_)


def process(kernel: Kernel, known: np.ndarray = ALL, vectors: np.ndarray = VECTORS) -> Process:
    return Process(kernel, RIDGE, vectors, rated=ALL, known=known)


def mine(user: int) -> slice:
    return slice(OWN.matrix.indptr[user], OWN.matrix.indptr[user + 1])


def test_items_are_a_gaussian_process() -> None:
    """scikit-learn's, of the same kernel: what it predicts is <q, p> + b + what neighbours say."""
    ours = process(Kernel(local=0.3, width=1.5))
    width = np.sqrt(ours.median / 2 / 1.5)
    theirs = ConstantKernel(1 / RIDGE) * DotProduct(sigma_0=1.0) + ConstantKernel(0.3) * RBF(width)
    moved = ours.refined(OWN, REST)
    near = ours.scores(OWN, moved.weights)
    for user in range(len(OWN.users)):
        regressor = GaussianProcessRegressor(theirs, alpha=1.0, optimizer=None)
        regressor.fit(VECTORS[OWN.columns[mine(user)]], REST[mine(user)])
        said = VECTORS @ moved.vectors[user] + moved.bias[user] + near[user]
        np.testing.assert_allclose(said, regressor.predict(VECTORS), atol=2e-5)


def dense(user: int, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """K and its part beyond the first line, [N, ratings], of all items at `times` [N]; float64."""
    q, when = VECTORS.astype(np.float64), np.asarray(OWN.times)[mine(user)]
    rated = q[OWN.columns[mine(user)]]
    squared = ((q[:, None] - rated) ** 2).sum(axis=2)
    pairs = ((q[:, None] - q) ** 2).sum(axis=2)[np.triu_indices(len(q), 1)]
    beyond = BOTH.local * np.exp(-BOTH.width * squared / np.median(pairs))
    for tau in BOTH.times:
        beyond += BOTH.drift * np.exp(-np.abs(times[:, None] - when) / tau)
    return (q @ rated.T + 1) / RIDGE + beyond, beyond


def test_items_and_times_are_a_gaussian_process() -> None:
    """The posterior mean written out: K(target, own) (K(own, own) + 1)^-1 rest."""
    ours = process(BOTH)
    moved = ours.refined(OWN, REST)
    items = np.arange(len(OWN.items))
    at = np.linspace(-500, 3_500, len(items)).astype(np.int64)
    for user in range(len(OWN.users)):
        # K(own, own): of all items at the times at which they were rated.
        when = np.zeros(len(items), np.int64)
        when[OWN.columns[mine(user)]] = np.asarray(OWN.times)[mine(user)]
        gram = dense(user, when)[0][OWN.columns[mine(user)]]
        weights = np.linalg.solve(gram + np.eye(len(gram)), REST[mine(user)])
        np.testing.assert_allclose(moved.weights[mine(user)], weights, atol=2e-5)
        said = ours.at(OWN, moved.weights, np.full(len(items), user), items, at)
        everything = said + VECTORS @ moved.vectors[user] + moved.bias[user]
        np.testing.assert_allclose(everything, dense(user, at)[0] @ weights, atol=5e-5)


def test_without_anything_beyond_the_codes_it_is_the_half_step() -> None:
    """Ridge regression on codes and a one; those without ratings do not move."""
    own = OWN.keep(~np.isin(OWN.rows, [0, 7]))
    rest = REST[: len(own)]
    moved = process(Kernel()).refined(own, rest)
    ones = np.column_stack([VECTORS, np.ones(len(VECTORS), np.float32)])
    solved = ridge_rows(own, rest, ones, RIDGE)
    np.testing.assert_allclose(moved.vectors, solved[:, :-1], atol=1e-5)
    np.testing.assert_allclose(moved.bias, solved[:, -1], atol=1e-5)
    assert not moved.vectors[[0, 7]].any()
    assert not moved.bias[[0, 7]].any()
    assert not process(Kernel()).scores(own, moved.weights).any()


def test_who_rated_too_much_takes_the_half_step_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = process(BOTH).refined(OWN, REST)
    most = int(np.sort(OWN.user_counts)[-3])
    monkeypatch.setattr(module, "_MOST", most - 1)
    moved = process(BOTH).refined(OWN, REST)
    many = OWN.user_counts >= most
    ones = np.column_stack([VECTORS, np.ones(len(VECTORS), np.float32)])
    solved = ridge_rows(OWN, REST, ones, RIDGE)
    np.testing.assert_allclose(moved.vectors[many], solved[many, :-1], atol=1e-6)
    np.testing.assert_allclose(moved.bias[many], solved[many, -1], atol=1e-6)
    assert not moved.weights[many[OWN.rows]].any()
    np.testing.assert_array_equal(moved.vectors[~many], whole.vectors[~many])
    np.testing.assert_array_equal(moved.weights[~many[OWN.rows]], whole.weights[~many[OWN.rows]])


def test_many_items_are_scored_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    known = ALL & (np.arange(len(ALL)) != 4)
    weights = process(BOTH, known).refined(OWN, REST).weights
    whole = process(BOTH, known).scores(OWN, weights)
    assert not whole[:, 4].any()
    monkeypatch.setattr(module, "_WHOLE", 8)
    np.testing.assert_allclose(process(BOTH, known).scores(OWN, weights), whole, atol=1e-6)
    nobody = OWN.keep(np.zeros(len(OWN), bool))
    assert not process(BOTH).scores(nobody, np.zeros(0, np.float32)).any()


def test_scores_and_places_agree() -> None:
    ours = process(BOTH, ALL & (np.arange(len(ALL)) != 4))
    weights = ours.refined(OWN, REST).weights
    users, items = np.nonzero(RNG.random((len(OWN.users), len(OWN.items))) < 0.5)
    order = RNG.permutation(len(users))
    users, items = users[order], items[order]
    at = ours.at(OWN, weights, users, items, None)
    np.testing.assert_allclose(at, ours.scores(OWN, weights)[users, items], atol=1e-6)


@pytest.mark.parametrize("times", [[0], [-(10**12), 5], [-(2**63), 2**63 - 1, 0]])
def test_times_may_be_anything(times: list[int]) -> None:
    """Equal ones, negative ones, and those whose difference is no whole number of 64 bits."""
    own = replace(OWN, times=np.resize(np.array(times, np.int64), len(OWN)))
    ours = process(BOTH)
    weights = ours.refined(own, REST).weights
    assert np.isfinite(weights).all()
    at = ours.at(own, weights, OWN.rows, OWN.columns.astype(np.int64), own.times)
    without = ours.at(own, weights, OWN.rows, OWN.columns.astype(np.int64), None)
    assert np.isfinite(at).all()
    sums = np.zeros(len(OWN.users))
    np.add.at(sums, OWN.rows, weights)
    if times == [0]:
        mood = 2 * BOTH.drift * sums[OWN.rows]
        np.testing.assert_allclose(at - without, mood, atol=1e-5)


def test_items_in_one_place_and_a_single_item_have_a_distance() -> None:
    equal = process(BOTH, vectors=np.ones_like(VECTORS))
    assert equal.median == 1
    assert np.isfinite(equal.refined(OWN, REST).vectors).all()
    single = Process(BOTH, RIDGE, VECTORS, rated=ALL & (np.arange(len(ALL)) < 1), known=ALL)
    assert single.median == 1


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e30])
def test_codes_that_are_not_finite_are_told(wrong: float) -> None:
    vectors = VECTORS.copy()
    vectors[OWN.columns[0]] = wrong
    with np.errstate(all="ignore"):
        for kernel in (BOTH, Kernel()):
            with pytest.raises(UnsolvableError, match=r"lower training\.learning_rate"):
                process(kernel, vectors=vectors).refined(OWN, REST)
        with pytest.raises(UnsolvableError, match="raise ridge"):
            ridge_rows(OWN, REST, vectors, RIDGE)


@pytest.mark.parametrize(
    "wrong",
    [{"local": -1.0}, {"local": np.nan}, {"width": 0.0}, {"times": (0.0,)}, {"drift": np.inf}],
)
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Kernel(**wrong)  # type: ignore[arg-type]


# --- in a model


def make(kernel: Kernel = BOTH) -> AutoRec:
    return AutoRec.dual(k=4, ridge=5.0, kernel=kernel, training=Training(steps=40, reports=2))


def fit(model: Recommender, split: Split = SPLIT) -> Recommender:
    return model.fit(split.train, rng=np.random.default_rng(3))


@pytest.fixture(scope="module")
def model() -> Recommender:
    return fit(make())


def without_times(holdout: Holdout) -> Holdout:
    return replace(holdout, target=replace(holdout.target, times=None))


def strangers(history: Ratings) -> Ratings:
    """The same people under other names."""
    return replace(history, users=Ids(history.users.values + 10**6))


def test_a_list_says_what_a_place_without_time_says(model: Recommender) -> None:
    target = SPLIT.test.target
    everything = model.predict(SPLIT.test.history)
    at = model.predict_at(without_times(SPLIT.test))
    np.testing.assert_allclose(at, everything[target.rows, target.columns], atol=2e-6)
    shuffled = replace(SPLIT.test.target, times=np.asarray(target.times)[::-1])
    moved = model.predict_at(replace(SPLIT.test, target=shuffled))
    assert not np.allclose(moved, at, atol=1e-3)


def test_a_rating_is_drawn_to_the_mood_of_its_time() -> None:
    """Everything at 0 was liked, everything at 10^6 was not: so is the next one."""
    items = np.arange(8) * 7
    times = np.repeat([0, 10**6], 4)
    own = Ratings.of([900] * 8, items, np.repeat([5.0, 1.0], 4), times, scale=(1, 5))
    model = fit(make(Kernel(times=(3_600.0,), drift=1.0)))
    target = Ratings.of([900] * 3, [63, 70, 77], [3.0] * 3, [0, 10**6, 10**9], scale=(1, 5))
    holdout = Holdout.of(own, target)
    good, bad, later = model.predict_at(holdout) - model.predict_at(without_times(holdout))
    assert good > 0.3
    assert bad < -0.3
    assert later == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kernel", [BOTH, Kernel(local=0.3), Kernel(times=(30.0,))])
def test_known_or_new_is_the_same(kernel: Kernel) -> None:
    model = fit(make(kernel))
    new = strangers(SPLIT.train)
    assert model.known(new).max() == -1
    np.testing.assert_allclose(model.predict(new), model.predict(SPLIT.train), atol=1e-5)
    target = strangers(SPLIT.test.target)
    np.testing.assert_allclose(
        model.predict_at(Holdout(new, target)),
        model.predict_at(Holdout(SPLIT.train, SPLIT.test.target)),
        atol=1e-5,
    )


def test_known_and_new_ones_may_be_mixed(model: Recommender) -> None:
    """Weights stand at the right ratings whoever else is asked for."""
    fewer = SPLIT.train.keep(np.arange(len(SPLIT.train)) != 30)
    changed = int(SPLIT.train.rows[30])
    assert np.flatnonzero(model.known(fewer) < 0).tolist() == [changed]
    others = np.arange(len(fewer.users)) != changed
    ours, theirs = model.predict(fewer), model.predict(SPLIT.train)
    np.testing.assert_allclose(ours[others], theirs[others], atol=2e-6)
    alone = model.predict(strangers(fewer).take_users(np.array([changed])))
    np.testing.assert_allclose(ours[changed], alone[0], atol=1e-5)
    assert not np.allclose(ours[changed], theirs[changed], atol=1e-3)


def test_who_rated_at_other_times_is_folded_in(model: Recommender) -> None:
    """The weights belong to the times that were learned from; without times they stand."""
    times = np.asarray(SPLIT.train.times).copy()
    times[mine(2)] += np.arange(mine(2).stop - mine(2).start) * 10_000
    moved = replace(SPLIT.train, times=times)
    assert np.flatnonzero(model.known(moved) < 0).tolist() == [2]
    new = strangers(moved)
    np.testing.assert_allclose(model.predict(moved)[2], model.predict(new)[2], atol=1e-5)
    timeless = replace(SPLIT.train, times=None)
    assert model.known(timeless).min() >= 0
    np.testing.assert_allclose(model.predict(timeless), model.predict(SPLIT.train), atol=2e-6)


def test_new_people_need_no_times(model: Recommender) -> None:
    timeless = strangers(replace(SPLIT.train, times=None))
    assert np.isfinite(model.predict(timeless)).all()
    at = model.predict_at(Holdout(timeless, strangers(SPLIT.test.target)))
    np.testing.assert_allclose(
        at, model.predict(timeless)[SPLIT.test.target.rows, SPLIT.test.target.columns], atol=2e-6
    )
    assert len(model.recommend({0: 5.0, 7: 1.0}, n=3)) == 3


def test_items_without_ratings_and_unknown_ones_get_the_fallback(model: Recommender) -> None:
    strange = Ratings.of([-50, -50], [7, 10**9], [3.0, 3.0], [0, 0], scale=(1, 5))
    at = model.predict_at(Holdout.of(SPLIT.train, strange))
    assert np.isfinite(at).all()
    cold = SPLIT.train.keep(SPLIT.train.columns != 3)
    other = make().fit(cold, rng=np.random.default_rng(0))
    fallback = other.fitted.baseline.unknown_item(cold)
    np.testing.assert_allclose(other.predict(cold)[:, 3], np.clip(fallback, 1, 5), atol=0.6)
    assert other.item_factors()[3, :4].tolist() == [0] * 4  # type: ignore[attr-defined]


def test_a_fresh_process_says_the_same(model: Recommender, tmp_path: Path) -> None:
    folder = model.save(tmp_path / "model")
    again = load_model(folder)
    np.testing.assert_array_equal(again.predict_at(SPLIT.test), model.predict_at(SPLIT.test))
    np.save(tmp_path / "said.npy", model.predict(model.history_of({0: 5.0, 7: 2.0})))
    script = """
import sys, numpy as np
from recae.models import load_model
model = load_model(sys.argv[1] + "/model")
said = model.predict(model.history_of({0: 5.0, 7: 2.0}))
np.testing.assert_array_equal(said, np.load(sys.argv[1] + "/said.npy"))
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)


def test_held_out_stars_change_nothing(model: Recommender) -> None:
    assert leak_test(model, SPLIT.test, rng=np.random.default_rng(0)).verdict.startswith("no leak")


@pytest.mark.parametrize("kind", ["average", "stack"])
def test_ensembles_pass_times_on(kind: str) -> None:
    members = Average(member=make(), size=2), Stack(members=(make(), AutoRec.mf(k=4)))
    model = fit(members[kind == "stack"])
    timed, plain = model.predict_at(SPLIT.test), model.predict_at(without_times(SPLIT.test))
    assert not np.allclose(timed, plain, atol=1e-3)
    target = SPLIT.test.target
    everything = model.predict(SPLIT.test.history)[target.rows, target.columns]
    np.testing.assert_allclose(plain, everything, atol=2e-6)
    assert leak_test(model, SPLIT.test, rng=np.random.default_rng(0)).verdict.startswith("no leak")


def test_what_a_kernel_needs_is_told() -> None:
    with pytest.raises(ValueError, match="refined users"):
        AutoRec.item(kernel=BOTH)
    with pytest.raises(ValueError, match="refined users"):
        AutoRec.user(kernel=BOTH)
    timeless = replace(SPLIT.train, times=None)
    with pytest.raises(DataError, match=r"kernel\.times needs times"):
        make().fit(timeless, rng=np.random.default_rng(0))


RECIPE = """
name = "k"
[split]
kind = "random"
[[model]]
kind = "autorec-dual"
[model.kernel]
times = [30, 2000]
"""


def test_recipes_set_kernels(tmp_path: Path) -> None:
    path = tmp_path / "k.toml"
    path.write_text(RECIPE)
    recipe = read_recipe(path, ["model.kernel.local=0.2"])
    (built,) = (model.build() for model in recipe.models)
    assert isinstance(built, AutoRec)
    assert built.kernel == Kernel(local=0.2, times=(30.0, 2_000.0))
    for text, said in {
        "model.kernel.locl=0.2": "did you mean 'local'",
        "model.kernel.local=-1": "not negative",
        "model.kernel.times=[0]": "positive numbers of seconds",
        'model.users="table"': "refined users",
    }.items():
        with pytest.raises(RecipeError, match=said):
            read_recipe(path, [text])


def test_a_recipe_with_moods_needs_times(tmp_path: Path) -> None:
    table = tmp_path / "ratings.csv"
    table.write_text(
        "user,item,rating\n" + "".join(f"{i % 5},{i},{i % 4 + 1}\n" for i in range(40))
    )
    path = tmp_path / "k.toml"
    path.write_text(f'{RECIPE}\n[data]\nsource = "{table}"\n')
    from recae.running import run

    with pytest.raises(RecaeError, match=r"kernel\.times needs times"):
        run(read_recipe(path))

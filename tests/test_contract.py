"""One suite that every model of the registry passes. A new model needs no line here."""

from __future__ import annotations

import subprocess
import sys
from copy import copy
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError as SklearnNotFittedError
from sklearn.utils.validation import check_is_fitted

from recae.errors import DataError, NotFittedError
from recae.ids import Ids
from recae.leaks import leak_test
from recae.models import MODELS, Recommender, load_model
from recae.models.persistence import plain
from recae.models.places import Places
from recae.nn.training import Training
from recae.ratings import Ratings
from recae.splits import Holdout, Split, random, unseen_users

FAST = {"k": 4, "iterations": 3, "size": 2}


def make(name: str) -> Recommender:
    """The model, small and quick."""
    return small(MODELS[name]())


def small(value: Any, name: str = "") -> Any:
    """A model and the models among its settings, smaller."""
    match value:
        case Recommender():
            return type(value)(**{key: small(own, key) for key, own in value.params.items()})
        case Training():
            return replace(value, steps=12, reports=3)
        case tuple():
            return tuple(map(small, value))
    return FAST.get(name, value)


def world(*, text_ids: bool = False) -> Ratings:
    """40 users, 30 items of which one is never rated by the split, half stars from 1 to 5, rated
    within days, some at once."""
    rng = np.random.default_rng(7)
    users, items = np.nonzero(rng.random((40, 30)) < 0.35)
    taste = rng.normal(size=(40, 2)) @ rng.normal(size=(2, 30))
    stars = np.clip(np.round(6 + 2 * taste[users, items] + rng.normal(size=len(users))) / 2, 1, 5)
    times = rng.integers(0, 200, len(users)) * 3_600
    if text_ids:
        names = [f"u{u}" for u in users], [f"i{i}" for i in items]
        return Ratings.of(*names, stars, times, scale=(1, 5))
    return Ratings.of(users * 3 - 50, items * 7, stars, times, scale=(1, 5))


RATINGS = world()
SPLIT = random(RATINGS, test=0.2, validation=0.1, rng=np.random.default_rng(0))


def present(ratings: Ratings) -> Ratings:
    """Without users and items that have no rating."""
    users = ratings.take_users(np.flatnonzero(ratings.user_counts))
    return users.over(Ids(ratings.items.values[ratings.item_counts > 0]))


def fitted(name: str, split: Split = SPLIT, seed: int = 3) -> Recommender:
    return make(name).fit(split.train, rng=np.random.default_rng(seed))


@pytest.fixture(scope="module", params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(name: str) -> Recommender:
    return fitted(name)


def test_predictions_are_finite_and_within_the_scale(model: Recommender) -> None:
    stars = model.predict(SPLIT.test.history)
    assert stars.shape == (len(RATINGS.users), len(RATINGS.items))
    assert stars.dtype == np.float32
    assert np.isfinite(stars).all()
    assert stars.min() >= 1
    assert stars.max() <= 5


def test_predict_at_equals_predict(model: Recommender) -> None:
    target = SPLIT.test.target
    everything = model.predict(SPLIT.test.history)
    at = model.predict_at(SPLIT.test)
    np.testing.assert_allclose(at, everything[target.rows, target.columns], atol=2e-6)


def test_same_seed_same_result_and_refitting_forgets(name: str, model: Recommender) -> None:
    expected = model.predict(SPLIT.test.history)
    again = make(name).fit(RATINGS, rng=np.random.default_rng(8))
    again.fit(SPLIT.train, rng=np.random.default_rng(3))
    np.testing.assert_array_equal(again.predict(SPLIT.test.history), expected)


def test_fitting_leaves_the_randomness_of_the_process_alone(name: str) -> None:
    import torch

    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    expected = torch.rand(3), np.random.random()  # noqa: NPY002
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    fitted(name)
    assert torch.equal(torch.rand(3), expected[0])
    assert np.random.random() == expected[1]  # noqa: NPY002


def test_params_rebuild_the_model(name: str) -> None:
    model = make(name)
    rebuilt = type(model)(**model.params)
    assert rebuilt.params == model.params
    assert set(model.params) == {f.name for f in fields(model) if f.init}
    ours = model.fit(SPLIT.train, rng=np.random.default_rng(3)).predict(SPLIT.test.history)
    theirs = rebuilt.fit(SPLIT.train, rng=np.random.default_rng(3)).predict(SPLIT.test.history)
    np.testing.assert_array_equal(ours, theirs)


def test_scikit_learn_clones_and_sets_it(name: str, model: Recommender) -> None:
    check_is_fitted(model)
    again = clone(model)
    assert type(again) is type(model)
    assert plain(again) == plain(model)
    with pytest.raises(SklearnNotFittedError):
        check_is_fitted(again)
    assert again.set_params(**model.get_params(deep=True)) is again
    assert plain(again) == plain(model)
    with pytest.raises(ValueError, match="no setting 'stpes'"):
        again.set_params(stpes=3)


def test_only_unseen_items_are_recommended_and_exactly_n(model: Recommender) -> None:
    history = SPLIT.test.history
    found = model.recommend(history, n=8)
    assert found.items.shape == (len(history.users), 8)
    seen = history.matrix.toarray() > 0
    for user, items in enumerate(found.items):
        assert len(set(items.tolist())) == 8
        assert not seen[user, items].any()
    assert (np.diff(found.scores, axis=1) <= 0).all()
    assert found.stars.min() >= 1
    assert found.stars.max() <= 5


def test_lists_are_the_best_by_score(model: Recommender) -> None:
    history = SPLIT.test.history
    scores = model.scores(history).copy()
    scores[history.rows, history.columns] = -np.inf
    best = -np.sort(-scores, axis=1)[:, :5]
    np.testing.assert_allclose(model.recommend(history, n=5).scores, best, rtol=1e-5, atol=1e-6)


def test_more_than_there_is(model: Recommender) -> None:
    history = SPLIT.test.history
    found = model.recommend(history, n=10**9)
    unseen = len(history.items) - history.user_counts
    assert found.items.shape == (len(history.users), len(history.items))
    np.testing.assert_array_equal((found.items >= 0).sum(axis=1), unseen)
    assert np.isnan(found.stars[found.items < 0]).all()
    frame = found.to_frame()
    assert len(frame) == unseen.sum()
    assert frame["stars"].notna().all()


def test_allow_deny_and_seen(model: Recommender) -> None:
    history = SPLIT.test.history
    ids = RATINGS.items.values
    allowed = ids[:6].tolist()
    found = model.recommend(history, n=30, allow=allowed, include_seen=True)
    assert set(np.unique(found.items)) == {*range(6), -1}
    assert ((found.items >= 0).sum(axis=1) == 6).all()
    found = model.recommend(history, n=30, deny=allowed, include_seen=True)
    assert ((found.items >= 0).sum(axis=1) == len(ids) - 6).all()
    assert not np.isin(found.items, np.arange(6)).any()
    with pytest.raises(DataError, match="unknown id 99999"):
        model.recommend(history, allow=[99999])
    with pytest.raises(DataError, match="at least 1"):
        model.recommend(history, n=0)


def test_unseen_users_get_lists_and_stars(name: str) -> None:
    split = unseen_users(RATINGS, test=0.25, target=0.3, rng=np.random.default_rng(1))
    model = fitted(name, split)
    assert model.known(split.test.history).max() == -1
    at = model.predict_at(split.test)
    assert np.isfinite(at).all()
    everything = model.predict(split.test.history)
    target = split.test.target
    np.testing.assert_allclose(at, everything[target.rows, target.columns], atol=2e-6)
    counts = model.provenance(split.test)
    assert counts["ordinary"] == 0
    assert sum(counts.values()) == len(target)


def test_an_unchanged_history_is_known_and_a_changed_one_is_not(model: Recommender) -> None:
    history = SPLIT.test.history
    np.testing.assert_array_equal(model.known(history), np.arange(len(history.users)))
    fewer = history.keep(np.arange(len(history)) != 5)
    changed = int(history.rows[5])
    assert np.flatnonzero(model.known(fewer) < 0).tolist() == [changed]
    # Whom nothing happened to keeps the same predictions, also beside somebody who changed.
    others = np.arange(len(history.users)) != changed
    np.testing.assert_allclose(
        model.predict(fewer)[others], model.predict(history)[others], atol=2e-6
    )


def test_a_user_does_not_depend_on_the_others(model: Recommender) -> None:
    history = SPLIT.test.history
    rows = np.array([3, 11])
    alone = model.predict(history.take_users(rows))
    np.testing.assert_allclose(alone, model.predict(history)[rows], atol=2e-6)


def test_one_person_by_a_dict(model: Recommender) -> None:
    ids = RATINGS.items.values.tolist()
    frame = model.recommend({ids[0]: 5, ids[4]: 1.5}, n=4)
    intervals = ["low", "high"] if "low" in frame else []
    assert list(frame.columns) == ["rank", "item", "stars", *intervals, "because"]
    assert frame["rank"].tolist() == [1, 2, 3, 4]
    assert not set(frame["item"]) & {ids[0], ids[4]}
    assert len(model.recommend({}, n=3)) == 3
    with pytest.raises(DataError, match="outside the scale"):
        model.recommend({ids[0]: 9})
    with pytest.raises(DataError, match="no such film"):
        model.recommend({"no such film": 3})


def test_every_order_of_a_model_makes_whole_lists(model: Recommender) -> None:
    """Of unseen items, with the model's own stars, and the first order is the usual one."""
    history = SPLIT.test.history
    stars = model.predict(history)
    for order in model.orders:
        found = model.recommend(history, 6, by=order)
        assert (found.items >= 0).all()
        assert not (history.mask.toarray()[np.arange(40)[:, None], found.items]).any()
        assert (np.diff(found.scores, axis=1) <= 0).all()
        np.testing.assert_allclose(
            found.stars, np.take_along_axis(stars, found.items, axis=1), atol=2e-5
        )
        assert (found.low is None) == (found.high is None)
        if found.low is not None and found.high is not None:
            assert ((found.low <= found.stars) & (found.stars <= found.high)).all()
    usual = model.recommend(history, 6)
    np.testing.assert_array_equal(
        usual.items, model.recommend(history, 6, by=model.orders[0]).items
    )


def test_stars_of_another_scale_are_refused(model: Recommender) -> None:
    other = Ratings.of([1, 1], RATINGS.items.values[:2], [10.0, 90.0], scale=(0, 100))
    for use in (model.predict, model.recommend):
        with pytest.raises(DataError, match="trained on a scale of 1 to 5"):
            use(other)


def test_a_model_learns_the_same_on_every_scale(name: str) -> None:
    """Stars times 20 from 20 to 100, and the same predictions times 20."""
    wide = Ratings.of(
        RATINGS.users.values[RATINGS.rows],
        RATINGS.items.values[RATINGS.columns],
        RATINGS.stars * 20,
        RATINGS.times,
        scale=(20, 100),
    )
    ours = make(name).fit(RATINGS, rng=np.random.default_rng(1)).predict(RATINGS)
    theirs = make(name).fit(wide, rng=np.random.default_rng(1)).predict(wide)
    np.testing.assert_allclose(theirs / 20, ours, atol=2e-3)


def test_effects_are_differences_of_the_models_own_output(model: Recommender) -> None:
    ids = RATINGS.items.values.tolist()
    given = {ids[0]: 5.0, ids[4]: 1.5, ids[9]: 4.0}
    history = model.history_of(given)
    items = np.array([2, 20])
    effects = model.effects(history, items)
    assert effects.shape == (3, 2)

    def said(ratings: Ratings) -> np.ndarray:
        """Stars, or what is ranked by where there are no stars of the model's own."""
        if not model.predicts_stars:
            return model.scores(ratings)[0, items]
        return model._stars_at(ratings, Places(np.zeros(2, np.int64), items))

    for place, item in enumerate(given):
        rest = {key: value for key, value in given.items() if key != item}
        wanted = said(history) - said(model.history_of(rest))
        np.testing.assert_allclose(effects[place], wanted, atol=2e-6)


def test_items_and_users_that_the_model_does_not_know(model: Recommender) -> None:
    """Their predictions are made and finite, and nothing else moves."""
    target = SPLIT.test.target
    strange = Ratings.of([-50, 10**12], [10**12, 7], [3.0, 4.0], scale=(1, 5))
    own = Holdout.of(SPLIT.test.history, strange)
    at = model.predict_at(own)
    assert at.shape == (2,)
    assert np.isfinite(at).all()
    assert model.provenance(own)["fallback"] == 2
    more = Ids.of([*RATINGS.items.values.tolist(), 10**12])
    wider = Holdout(SPLIT.test.history.over(more), target.over(more))
    np.testing.assert_array_equal(model.predict_at(wider), model.predict_at(SPLIT.test))


def test_a_user_without_a_history(model: Recommender) -> None:
    history = Ratings.of_one({}, RATINGS.items, (1, 5))
    assert np.isfinite(model.predict(history)).all()
    assert (model.recommend(history, n=3).items >= 0).all()
    if not model.predicts_stars:
        assert np.ptp(model.scores(history)) > 0, "lists of whatever comes first"


def test_held_out_ratings_change_no_prediction_and_no_list(model: Recommender) -> None:
    report = leak_test(model, SPLIT.test, rng=np.random.default_rng(0))
    assert report.verdict.startswith("no leak: 7 probes")
    size = {probe.name: probe.size for probe in report.probes}
    rounding = size.pop("rows")
    assert set(size.values()) == {0}
    assert rounding < 1e-5


def test_saved_and_loaded(name: str, tmp_path: Path) -> None:
    for text_ids in (False, True):
        split = random(world(text_ids=text_ids), test=0.2, rng=np.random.default_rng(0))
        model = fitted(name, split)
        folder = model.save(tmp_path / f"model-{text_ids}")
        again = load_model(folder)
        assert type(again) is type(model)
        assert plain(again) == plain(model)
        np.testing.assert_array_equal(
            again.predict(split.test.history), model.predict(split.test.history)
        )
        new = unseen_users(world(text_ids=text_ids), rng=np.random.default_rng(2)).test
        np.testing.assert_array_equal(again.predict_at(new), model.predict_at(new))
        assert not [file for file in folder.rglob("*") if file.suffix in (".pkl", ".pt", ".bin")]
    model.save(folder)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model-False", "model-True"]


@pytest.mark.parametrize(("text_ids", "share"), [(False, 0.0), (True, 0.25)])
def test_updated_with_more_ratings_a_new_user_and_new_items(
    name: str, text_ids: bool, share: float, tmp_path: Path
) -> None:
    """A place for each, finite and within the scale; savable; deterministic; and a copy of the
    model before stays what it was."""
    everything = world(text_ids=text_ids)
    rng = np.random.default_rng(5)
    early = rng.random(len(everything)) < 0.8
    early &= (everything.rows != 3) & ~np.isin(everything.columns, [0, 17])
    old = present(everything.keep(early))
    model = make(name).fit(old, rng=np.random.default_rng(3))
    before, saved = copy(model), model.save(tmp_path / "before")
    expected = model.predict(old)

    assert model.update(everything, share=share, rng=np.random.default_rng(4)) is model
    assert model.fitted.users == everything.users
    assert model.fitted.items == everything.items
    assert model.params == before.params
    np.testing.assert_array_equal(model.known(everything), np.arange(len(everything.users)))
    stars = model.predict(everything)
    assert stars.shape == (len(everything.users), len(everything.items))
    assert np.isfinite(stars).all()
    assert stars.min() >= 1
    assert stars.max() <= 5
    assert (model.recommend(everything, n=3).items >= 0).all()

    again = load_model(model.save(tmp_path / "after"))
    np.testing.assert_array_equal(again.predict(everything), stars)
    elsewhere = load_model(saved).update(everything, share=share, rng=np.random.default_rng(4))
    np.testing.assert_array_equal(elsewhere.predict(everything), stars)
    assert before.fitted.items == old.items
    np.testing.assert_array_equal(before.predict(old), expected)


def test_unfitted_models_say_so(name: str, tmp_path: Path) -> None:
    model = make(name)
    for use in (
        lambda: model.predict(RATINGS),
        lambda: model.recommend(RATINGS),
        lambda: model.predict_at(SPLIT.test),
        lambda: model.save(tmp_path / "m"),
        lambda: model.update(RATINGS, rng=np.random.default_rng(0)),
    ):
        with pytest.raises(NotFittedError, match="not fitted"):
            use()
    assert not list(tmp_path.iterdir())
    with pytest.raises(DataError, match="no ratings"):
        model.fit(RATINGS.keep(np.zeros(len(RATINGS), bool)), rng=np.random.default_rng(0))


def test_one_user_and_one_item_are_enough(name: str) -> None:
    tiny = Ratings.of([1, 1, 2], [5, 6, 5], [5.0, 4.0, 5.0], [9, 8, 9], scale=(1, 5))
    model = make(name).fit(tiny, rng=np.random.default_rng(0))
    assert np.isfinite(model.predict(tiny)).all()
    one = Ratings.of([1], [5], [5.0], [9], scale=(1, 5))
    assert np.isfinite(make(name).fit(one, rng=np.random.default_rng(0)).predict(one)).all()


def test_a_fresh_process_without_the_data_predicts_the_same(tmp_path: Path) -> None:
    """Every model in one process, because starting one costs seconds."""
    for name in MODELS:
        model = fitted(name)
        model.save(tmp_path / name)
        history = model.history_of({0: 5.0, 7: 2.0, 63: 4.5})
        np.save(tmp_path / f"{name}.npy", model.predict(history))
    script = """
import sys, numpy as np
from pathlib import Path
from recae.models import load_model
for file in sorted(Path(sys.argv[1]).glob("*.npy")):
    model = load_model(file.with_suffix(""))
    got = model.predict(model.history_of({0: 5.0, 7: 2.0, 63: 4.5}))
    np.testing.assert_array_equal(got, np.load(file), err_msg=file.stem)
    print(file.stem)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == sorted(MODELS)


def test_damaged_models_are_refused(tmp_path: Path) -> None:
    folder = fitted("autorec-dual").save(tmp_path / "model")
    with pytest.raises(DataError, match="no model in"):
        load_model(tmp_path)
    (folder / "arrays.safetensors").write_bytes(b"not tensors")
    with pytest.raises(DataError, match="damaged"):
        load_model(folder)
    (folder / "config.json").write_text('{"format": 99}')
    with pytest.raises(DataError, match="damaged"):
        load_model(folder)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("precious")
    with pytest.raises(DataError, match="holds no model"):
        fitted("bias").save(other)
    assert (other / "thesis.txt").exists()


@pytest.mark.parametrize("wrong", [{"users": "encodr"}, {"baseline": "shrnk"}, {"device": "gpu"}])
def test_misspelt_settings_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MODELS["autorec-dual"](**wrong)


@pytest.mark.parametrize("kind", ["autorec-dual", "mf"])
def test_validation_reports_the_model_that_comes_out(kind: str) -> None:
    """Half-steps and all: what is reported last is what is returned."""
    said: list[float] = []
    model = make(kind).fit(
        SPLIT.train,
        validation=SPLIT.validation,
        rng=np.random.default_rng(0),
        on_epoch=lambda progress: said.append(progress.metrics["val/rmse"]),
    )
    assert SPLIT.validation is not None
    error = model.predict_at(SPLIT.validation) - SPLIT.validation.target.stars
    assert said[-1] == pytest.approx(np.sqrt(np.mean(error.astype(np.float64) ** 2)), abs=1e-6)


@pytest.mark.parametrize("kind", ["autorec-user", "autorec-dual", "autorec-user-paper"])
def test_an_encoded_user_is_scored_alike_known_or_new(kind: str) -> None:
    """What was kept of training users, half-step included, is what their histories give."""
    model = fitted(kind)
    strangers = replace(SPLIT.train, users=Ids(SPLIT.train.users.values + 10**6))
    assert model.known(strangers).max() == -1
    np.testing.assert_allclose(model.predict(strangers), model.predict(SPLIT.train), atol=1e-5)


def test_the_half_step_fits_a_user_better_than_the_code_alone() -> None:
    plain, refined = (
        make("autorec-dual").params | {"refine": refine, "ridge": 1.0} for refine in (False, True)
    )
    errors = []
    for params in (plain, refined):
        model = type(make("autorec-dual"))(**params)
        model.fit(SPLIT.train, rng=np.random.default_rng(3))
        own = SPLIT.train
        at = model.predict(own)[own.rows, own.columns]
        errors.append(float(np.mean((at - own.stars) ** 2)))
    assert errors[1] < errors[0]


def test_settings_within_settings_are_set_and_checked() -> None:
    model = fitted("autorec-dual")
    assert model.get_params()["training__steps"] == 12
    assert "training__steps" not in model.get_params(deep=False)
    with pytest.raises(ValueError, match="no setting 'stpes'"):
        model.set_params(ridge=3.0, training__stpes=3)
    with pytest.raises(ValueError, match="k must be at least 1"):
        model.set_params(ridge=3.0, k=0)
    with pytest.raises(ValueError, match="k is 4 and has no settings of its own"):
        model.set_params(k__steps=1)
    assert model.params["ridge"] == 60.0
    assert np.isfinite(model.predict(RATINGS)).all()
    model.set_params(k=2, training__steps=3, encoder__hidden=(6,))
    assert (model.params["k"], model.params["encoder"].hidden, model.steps) == (2, (6,), 3)
    with pytest.raises(NotFittedError, match="not fitted"):
        model.predict(RATINGS)


def test_scikit_learn_is_not_imported_for_that() -> None:
    script = """
import sys
from recae.models import MODELS
for make in MODELS.values():
    make().set_params(**make().get_params())
assert "sklearn" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

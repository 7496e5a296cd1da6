"""Codes as features: what models say, and what scikit-learn asks of a transformer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import check_is_fitted

from recae.codes import Codes, item_codes
from recae.errors import DataError, NotFittedError
from recae.ids import Ids
from recae.models import MODELS, AutoRec, Popular
from recae.models.encodes import encoding
from recae.nn.training import Training
from recae.ratings import Ratings

QUICK = {"k": 3, "training": Training(steps=4)}


def some_ratings(n_users: int = 20, n_items: int = 12) -> Ratings:
    rng = np.random.default_rng(1)
    rated = rng.random((n_users, n_items)) < 0.5
    rated[:, 0] = True
    users, items = np.nonzero(rated)
    return Ratings.of(users + 1, items + 100, rng.integers(1, 6, len(users)), scale=(1, 5))


RATINGS = some_ratings()


@pytest.fixture(scope="module", params=["mf", "svdpp", "autorec-user", "autorec-dual"])
def model(request: pytest.FixtureRequest) -> AutoRec:
    fitted = MODELS[request.param](**QUICK).fit(RATINGS, rng=np.random.default_rng(0))
    assert isinstance(fitted, AutoRec)
    return fitted


# --- what models say


def test_codes_are_the_factors_in_the_unit_of_learning(model: AutoRec) -> None:
    unit = (RATINGS.scale[1] - RATINGS.scale[0]) / 4
    users, items = model.encode(RATINGS), model.encode_items()
    np.testing.assert_allclose(unit * users, model.user_factors(RATINGS)[:, :3], rtol=1e-6)
    np.testing.assert_array_equal(items, model.item_factors()[:, :3])


def test_new_users_are_folded_in_and_strangers_have_no_code(model: AutoRec) -> None:
    new = replace(RATINGS, users=Ids(RATINGS.users.values + 1000))
    codes = model.encode(new)
    assert codes.shape == (20, 3)
    assert np.isfinite(codes).all()
    assert codes.any(axis=1).all()
    silent = new.keep(np.asarray(new.rows != 4))
    assert not model.encode(silent)[4].any()


def test_stars_outside_the_scale_are_refused(model: AutoRec) -> None:
    loud = Ratings.of([1, 1], [100, 101], [5, 9])
    with pytest.raises(DataError, match="scale of 1 to 5"):
        model.encode(loud)


def test_items_that_were_not_learned_have_no_code(model: AutoRec) -> None:
    codes = item_codes(model, Ids.of([99, 101, 102]))
    np.testing.assert_array_equal(codes[1:], model.encode_items()[1:3])
    assert not codes[0].any()


def test_a_model_without_codes_is_told_so() -> None:
    with pytest.raises(DataError, match="a Popular has no codes"):
        encoding(Popular())
    with pytest.raises(DataError, match="a Popular has no codes"):
        Codes("popular").fit(RATINGS)


# --- the transformer


def test_in_a_pipeline_of_scikit_learn() -> None:
    women = np.arange(20) % 3 == 0
    pipe = make_pipeline(Codes(AutoRec.dual(**QUICK)), LogisticRegression()).fit(RATINGS, women)
    assert pipe.predict_proba(RATINGS).shape == (20, 2)
    assert pipe[:-1].get_feature_names_out().tolist() == ["code0", "code1", "code2"]
    assert "Codes(" in repr(pipe)
    alone = make_pipeline(Codes(AutoRec.dual(**QUICK)))
    np.testing.assert_array_equal(alone.fit_transform(RATINGS), alone.transform(RATINGS))


def test_clone_keeps_settings_and_forgets_what_was_learned() -> None:
    codes = Codes(AutoRec.mf(**QUICK), of="items", seed=3)
    codes.fit(RATINGS)
    check_is_fitted(codes)
    copy = clone(codes)
    assert copy.model_ is None
    assert copy.get_params() | {"model": None} == {"model": None, "of": "items", "seed": 3}
    assert copy.model.params == codes.model.params
    assert isinstance(codes.model, AutoRec)
    with pytest.raises(NotFittedError):
        _ = codes.model.fitted


def test_items_and_users_of_the_same_fit() -> None:
    items = Codes(AutoRec.dual(**QUICK), of="items").fit(RATINGS)
    users = clone(items).set_params(of="users")
    fitted = AutoRec.dual(**QUICK).fit(RATINGS, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(items.transform(RATINGS), fitted.encode_items())
    np.testing.assert_array_equal(users.fit_transform(RATINGS), fitted.encode(RATINGS))


def test_a_frame_is_as_good_and_y_is_not_read() -> None:
    frame = pd.DataFrame(
        {
            "user": RATINGS.users.values[RATINGS.rows],
            "item": RATINGS.items.values[RATINGS.columns],
            "rating": RATINGS.stars,
        }
    )
    codes = Codes(AutoRec.mf(**QUICK))
    one, other = codes.fit_transform(frame), codes.fit_transform(RATINGS, np.arange(20))
    np.testing.assert_array_equal(one, other)


def test_bad_settings() -> None:
    with pytest.raises(ValueError, match="of must be users or items, not 'films'"):
        Codes(of="films").fit(RATINGS)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"model must be one of bias, .*, not 'dual'"):
        Codes("dual").fit(RATINGS)
    with pytest.raises(ValueError, match="there is no setting 'k'"):
        Codes().set_params(k=3)
    with pytest.raises(NotFittedError, match="call fit"):
        Codes().transform(RATINGS)

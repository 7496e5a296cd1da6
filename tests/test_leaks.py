"""`leak_test` against planted leaks of every kind, and against honest models of any library."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import leaky_autorec
import numpy as np
import pandas as pd
import pytest
from leaky_autorec import HonestAutoRec, LeakyAutoRec
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import recae
from recae import splits
from recae.errors import DataError, NotFittedError
from recae.leaks import LeakReport, Procedure, frame_of, from_script, guarded, leak_test
from recae.models import MODELS
from recae.models.base import Floats
from recae.models.linear import Bias, Popular
from recae.models.places import Places
from recae.ratings import Ratings
from recae.splits import Holdout

STAR_PROBES = ["lowest", "highest", "permuted"]


def rng_of(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def some_ratings(n_users: int = 30, n_items: int = 20) -> Ratings:
    """Half of all pairs in half stars, with ids that are no row numbers and a taste to learn."""
    rng = rng_of(3)
    users, items = np.nonzero(rng.random((n_users, n_items)) < 0.5)
    taste = rng.normal(size=(n_users, 2)) @ rng.normal(size=(2, n_items))
    stars = np.clip(np.round(6 + 2 * taste[users, items] + rng.normal(size=len(users))), 1, 10) / 2
    return Ratings.of(users * 10 + 7, items * 3 + 1000, stars, scale=(0.5, 5))


RATINGS = some_ratings()
SPLIT = splits.random(RATINGS, test=0.3, rng=rng_of())
TRAIN, TEST = frame_of(SPLIT.train), frame_of(SPLIT.test.target)


def report_of(what: Any, held_out: Any = SPLIT.test) -> LeakReport:
    return leak_test(what, held_out, rng=rng_of(1))


def sizes(report: LeakReport) -> dict[str, float]:
    return {probe.name: probe.size for probe in report.probes}


def found(report: LeakReport) -> list[str]:
    return [probe.name for probe in report.probes if probe.found]


# --- models of ours


class Peeking(Bias):
    """Answers with the stars that it is asked for."""

    def predict_at(self, holdout: Holdout) -> Floats:
        return holdout.target.stars.copy()


class PeekingAtOrder(Bias):
    """Says more of a rating that is higher than the one before it."""

    def predict_at(self, holdout: Holdout) -> Floats:
        stars = holdout.target.stars
        return super().predict_at(holdout) + 0.01 * (np.diff(stars, prepend=stars[0]) > 0)


class Greedy(Bias):
    """Takes the test ratings into the history, the leak of a widely copied AutoRec."""

    def predict_at(self, holdout: Holdout) -> Floats:
        both = holdout.history.matrix + holdout.target.matrix
        history = Ratings(
            both, None, holdout.history.users, holdout.history.items, holdout.history.scale
        )
        target = holdout.target
        return self._clip(self._stars_at(history, Places(target.rows, target.columns)))


class Counting(Bias):
    """Says more to users of whom more ratings are held out."""

    def predict_at(self, holdout: Holdout) -> Floats:
        return super().predict_at(holdout) + 0.1 * holdout.target.user_counts[holdout.target.rows]


class Remembering(Popular):
    """Only ranks, and by what it was last asked to predict."""

    def predict_at(self, holdout: Holdout) -> Floats:
        self.asked = holdout.target
        return super().predict_at(holdout)

    def scores(self, history: Ratings) -> Floats:
        return super().scores(history) + self.asked.matrix.toarray()


class Wavering(Bias):
    """Never says the same twice."""

    def predict_at(self, holdout: Holdout) -> Floats:
        self.rng = getattr(self, "rng", rng_of())
        noise = self.rng.normal(0, 0.1, len(holdout.target))
        return np.asarray(super().predict_at(holdout) + noise, dtype=np.float32)


def fitted(model: Any) -> Any:
    return model.fit(SPLIT.train, rng=rng_of())


@pytest.mark.parametrize("name", ["bias", "popular"])
def test_honest_models_do_not_leak(name: str) -> None:
    report = report_of(fitted(MODELS[name]()))
    assert report.verdict == "no leak: 7 probes, largest movement 0 stars"
    names = ["repeat", *STAR_PROBES, "lists", "rows", "overlap"]
    assert sizes(report) == dict.fromkeys(names, 0)


@pytest.mark.parametrize("model", [Peeking(), PeekingAtOrder(), Greedy()])
def test_models_that_read_held_out_stars(model: Bias) -> None:
    report = report_of(fitted(model))
    assert set(found(report)) & set(STAR_PROBES)
    assert "lists" not in found(report)
    assert report.verdict.startswith("leak: the predictions move by up to ")
    assert "predict from training ratings alone" in report.verdict


def test_the_size_is_the_largest_change_and_its_place_is_named() -> None:
    before = SPLIT.test.target.stars.copy()
    report = report_of(fitted(Peeking()))
    size = sizes(report)
    assert size["lowest"] == before.max() - 0.5
    assert size["highest"] == 5 - before.min()
    lowest = report.probes[1]
    (place,) = np.flatnonzero((TEST["user"] == lowest.user) & (TEST["item"] == lowest.item))
    assert TEST["stars"][place] - 0.5 == lowest.size
    np.testing.assert_array_equal(SPLIT.test.target.stars, before)


def test_a_leak_that_only_permuted_stars_show() -> None:
    """Held-out stars that fall from one to the next tell it as little as equal ones do."""
    history = Ratings.of([1, 1, 2], [1, 2, 1], [3, 4, 1], scale=(1, 5))
    target = Ratings.of([1] * 5, range(3, 8), [5, 4, 3, 2, 1], scale=(1, 5))
    model = PeekingAtOrder().fit(history, rng=rng_of())
    report = leak_test(model, Holdout.of(history, target), rng=rng_of())
    assert found(report) == ["permuted"]
    assert report.leaks[0].size == pytest.approx(0.01, abs=1e-4)


def test_who_is_asked_for_is_a_leak_of_its_own() -> None:
    report = report_of(fitted(Counting()))
    assert found(report) == ["rows"]
    assert "half of the other held-out pairs are not asked for" in report.verdict
    assert "stars are made others" not in report.verdict


def test_lists_that_know_held_out_stars() -> None:
    report = report_of(fitted(Remembering()))
    assert found(report) == ["lists"]
    users = TEST["user"].nunique()
    assert report.leaks[0].size == users
    assert f"the lists of {users} users (user {RATINGS.users.values[0]} first)" in report.verdict


def test_what_was_trained_on_is_not_held_out() -> None:
    """Of the users whose history and targets are what was trained on, everything counts."""
    some = RATINGS.users.values[5]
    kept = SPLIT.train.users.values[SPLIT.train.rows] != some
    theirs = RATINGS.users.values[RATINGS.rows] == some
    assert (RATINGS.stars[theirs] > 0).all()
    users, items, stars = (
        np.concatenate(
            [frame_of(SPLIT.train.keep(kept))[name], frame_of(RATINGS.keep(theirs))[name]]
        )
        for name in ("user", "item", "stars")
    )
    mixed = Ratings.of(users, items, stars, scale=RATINGS.scale)
    report = report_of(Bias().fit(mixed, rng=rng_of()))
    assert found(report) == ["overlap"]
    probe = report.probes[-1]
    assert probe.size == (TEST["user"] == some).sum() > 1
    assert (probe.user, probe.item) == (some, TEST["item"][TEST["user"] == some].iloc[0])
    assert f"training has seen {probe.size:.0f} held-out ratings (user {some}" in report.verdict
    assert report.retrained == 0


def test_who_was_trained_on_otherwise_is_told() -> None:
    """Whether it was with what is held out, nobody can tell."""
    others = RATINGS.keep(np.diff(RATINGS.rows, prepend=-1) == 0)
    report = report_of(Bias().fit(others, rng=rng_of()), SPLIT.test)
    changed = np.flatnonzero(
        (abs(others.matrix - SPLIT.train.matrix).sum(axis=1) > 0)
        & (SPLIT.test.target.user_counts > 0)
    )
    assert report.retrained == len(changed) > 20
    assert report.verdict.startswith("no leak: 7 probes")
    assert f"but {len(changed)} of the users were trained on with other histories" in report.verdict
    strangers = splits.unseen_users(RATINGS, test=0.3, rng=rng_of())
    assert report_of(Bias().fit(strangers.train, rng=rng_of()), strangers.test).retrained == 0


def test_ids_of_text() -> None:
    users, items = (np.array([f"{kind}{x}" for x in TRAIN[kind]]) for kind in ("user", "item"))
    named = Ratings.of(users, items, TRAIN["stars"].to_numpy(), scale=RATINGS.scale)
    holdout = splits.part_of_each(named, rng=rng_of())
    report = report_of(Peeking().fit(named, rng=rng_of()), holdout)
    assert found(report) == [*STAR_PROBES, "overlap"]
    assert {type(probe.user) for probe in report.leaks} == {str}
    assert report.probes[-1].size == len(holdout.target)
    report = report_of(mean_by("user", leak=True), holdout)
    assert isinstance(report.leaks[0].item, str)


def test_without_a_fixed_seed_there_is_no_verdict() -> None:
    report = report_of(fitted(Wavering()))
    assert not report.leaks
    assert not report.deterministic
    assert report.verdict.startswith("no verdict: two runs on the same ratings differ by up to 0.")
    assert report.verdict.endswith("fix the seed")


def test_a_large_leak_is_found_through_noise() -> None:
    class Both(Wavering):
        def predict_at(self, holdout: Holdout) -> Floats:
            return np.asarray(super().predict_at(holdout) + 3 * holdout.target.stars)

    report = report_of(fitted(Both()))
    assert not report.deterministic
    assert set(found(report)) <= set(STAR_PROBES)
    assert report.verdict.startswith("leak: the predictions move")


# --- anybody's


def test_the_widely_copied_autorec_is_caught_and_passes_once_mended() -> None:
    report = report_of(LeakyAutoRec)
    assert set(found(report)) == {*STAR_PROBES, "rows"}
    assert report.verdict.startswith("leak: the predictions move by up to ")
    # The same cause: what is read of a pair is gone with it.
    assert "not asked for" not in report.verdict
    assert report_of(HonestAutoRec).verdict == "no leak: 6 probes, largest movement 0 stars"


def mean_by(column: str, *, leak: bool) -> Procedure:
    """What a user, or an item, gets or gives in the mean."""

    def run(train: pd.DataFrame, test: pd.DataFrame) -> Any:
        seen = pd.concat([train, test]) if leak else train
        means = seen.groupby(column)["stars"].mean()
        return test[column].map(means).fillna(train["stars"].mean())

    return run


@pytest.mark.parametrize("column", ["user", "item"])
def test_means_over_train_and_test(column: str) -> None:
    assert set(found(report_of(mean_by(column, leak=True)))) == {*STAR_PROBES, "rows"}
    assert not report_of(mean_by(column, leak=False)).leaks


def scaled(train: pd.DataFrame, test: pd.DataFrame) -> Any:
    """Fits the scale on everything, then forgets what the stars of test were."""
    everything = pd.concat([train["stars"], test["stars"]])
    return np.full((len(test), 1), everything.mean())


def masked(train: pd.DataFrame, test: pd.DataFrame) -> Any:
    """Says more where many ratings of an item are held out, as SVD++ of a qualifying set."""
    return 3 + 0.1 * test.groupby("item")["user"].transform("count")


def unsure(train: pd.DataFrame, test: pd.DataFrame) -> Any:
    return np.random.default_rng().uniform(1, 5, len(test))


def test_what_procedures_may_do_wrong() -> None:
    assert set(STAR_PROBES[:2]) <= set(found(report_of(scaled)))
    assert found(report_of(masked)) == ["rows"]
    report = report_of(unsure)
    assert (report.leaks, report.deterministic) == ((), False)


def test_pairs_in_train_and_test() -> None:
    train = pd.concat([TRAIN, TEST.iloc[[4, 9]]])
    report = report_of(mean_by("user", leak=False), (train, TEST))
    probe = report.probes[-1]
    assert found(report) == ["overlap"]
    assert (probe.size, probe.user, probe.item) == (2, TEST["user"][4], TEST["item"][4])
    assert f"2 held-out ratings (user {probe.user}, item {probe.item} first)" in report.verdict
    one = report_of(mean_by("user", leak=False), (pd.concat([TRAIN, TEST.iloc[[4]]]), TEST))
    assert "has seen 1 held-out rating (" in one.verdict


def test_a_rounding_error_of_another_length_is_no_leak() -> None:
    def run(train: pd.DataFrame, test: pd.DataFrame) -> Any:
        return np.full(len(test), 3 + 1e-6 * len(test))

    report = report_of(run)
    assert report.verdict.startswith("no leak: 6 probes, largest movement 4")
    assert report.verdict.endswith("e-05 stars")


def test_a_model_of_scikit_learn() -> None:
    """X holds user and item; every run fits a copy, so that the object stays as it was."""
    regressor = make_pipeline(OneHotEncoder(handle_unknown="ignore"), Ridge())
    report = report_of(regressor)
    assert report.verdict.startswith("no leak: 6 probes")
    assert not hasattr(regressor[0], "categories_")
    assert report_of(Ridge(), (TRAIN, TEST)).verdict.startswith("no leak")


def test_frames_are_handed_over_as_they_are() -> None:
    """Columns, index and whole stars stay, and what a procedure does to them stays inside."""
    train = TRAIN.assign(stars=(TRAIN["stars"] * 2).astype(int), at=1)
    test = TEST.assign(stars=(TEST["stars"] * 2).astype(int), at=2)
    test.index = test.index[::-1] + 50
    given = []

    def run(seen: pd.DataFrame, asked: pd.DataFrame) -> Any:
        given.append((seen.copy(), asked.copy()))
        seen["stars"] = asked["stars"] = 0
        return asked["at"]

    before = train.copy(), test.copy()
    assert not report_of(run, (train, test)).leaks
    assert len(given) == 6
    for seen, asked in given:
        pd.testing.assert_frame_equal(seen, before[0])
        pd.testing.assert_frame_equal(
            asked.drop(columns="stars"), test.loc[asked.index].drop(columns="stars")
        )
        assert asked["stars"].dtype == test["stars"].dtype
        assert asked["stars"].between(1, 10).all()
    pd.testing.assert_frame_equal(given[0][1], before[1])
    assert [len(asked) for _, asked in given] == [len(test)] * 5 + [(len(test) + 1) // 2]
    pd.testing.assert_frame_equal(train, before[0])
    pd.testing.assert_frame_equal(test, before[1])


def test_times_are_handed_over() -> None:
    timed = Ratings.of([1, 2], [3, 4], [5.0, 1.0], [70, 60])
    assert frame_of(timed).to_dict("list") == {
        "user": [1, 2],
        "item": [3, 4],
        "stars": [5.0, 1.0],
        "time": [70, 60],
    }


# --- misuse and display


def test_refusals() -> None:
    def returning(value: Any) -> Procedure:
        return lambda train, test: value

    for what, said in (
        (returning([1.0, 2.0]), rf"shape \(2,\) for {len(TEST)} held-out ratings"),
        (returning("many"), "a str, does not hold numbers alone"),
        (returning(np.full(len(TEST), np.nan)), "not finite"),
        (3, "no fit and predict, nor is it a function"),
        (SimpleNamespace, "no fit and predict, nor is it a function"),
        (Bias, "Bias is a class of ours: fit one"),
    ):
        with pytest.raises(DataError, match=said):
            report_of(what)
    with pytest.raises(NotFittedError, match="not fitted"):
        report_of(Bias())
    with pytest.raises(DataError, match="tested on a Holdout"):
        report_of(fitted(Bias()), (TRAIN, TEST))
    with pytest.raises(DataError, match="test has no column 'stars', its columns are user, item"):
        report_of(scaled, (TRAIN, TEST[["user", "item"]]))
    nothing = Holdout(SPLIT.train, RATINGS.keep(np.zeros(len(RATINGS), dtype=bool)))
    for what in (scaled, fitted(Bias())):
        with pytest.raises(DataError, match="no rating is held out"):
            report_of(what, nothing)


def test_it_shows_itself() -> None:
    report = report_of(fitted(Peeking()))
    lines = str(report).splitlines()
    assert lines[0] == report.verdict
    assert [line.split()[0] for line in lines[1:]] == list(sizes(report))
    assert "(user " in lines[2]
    record = report.to_dict()
    assert (record["leak"], record["deterministic"]) == (True, True)
    assert record["probes"][2]["name"] == "highest"
    assert type(record["probes"][2]["user"]) is int
    assert recae.leak_test is leak_test


# --- scripts


def test_what_a_script_calls_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", ["here"])
    (tmp_path / "beside.py").write_text("TWO = 2")
    script = tmp_path / "mine.py"
    script.write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from beside import TWO\n"
        "@dataclass\n"
        "class Mine:\n"
        "    k: int = TWO\n"
        "if __name__ == '__main__':\n"
        "    raise ValueError\n"
    )
    assert from_script(script, "Mine")().k == 2
    with pytest.raises(DataError, match=r"mine\.py has nothing called 'Yours'"):
        from_script(script, "Yours")
    with pytest.raises(DataError, match="no such file"):
        from_script(tmp_path / "none.py", "Mine")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def", "SyntaxError"),
        ("x = 1\n\nx / 0", "ZeroDivisionError in line 3: division by zero"),
        ("import sys\nsys.exit()", "SystemExit in line 2"),
        ("import no_such_module", "ModuleNotFoundError in line 1: No module named"),
    ],
)
def test_scripts_that_do_not_run(text: str, said: str, tmp_path: Path) -> None:
    script = tmp_path / "broken.py"
    script.write_text(text)
    with pytest.raises(DataError, match=f"broken.py raised {said}"):
        from_script(script, "anything")


def test_mistakes_of_ours_keep_their_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    def run() -> None:
        with guarded(Path("x.py")):
            print("said")
            raise DataError("as it is")

    with pytest.raises(DataError, match=r"^as it is$"):
        run()
    assert capsys.readouterr() == ("", "said\n")


def test_the_example_tells_how_much_too_good_it_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        leaky_autorec.main(["--seeds", "one"])
    assert left.value.code == 2
    errors = {}
    for kind in (HonestAutoRec, LeakyAutoRec):
        model = kind(epochs=200)
        model.fit(TRAIN)
        errors[kind] = np.sqrt(np.mean((model.predict(TEST) - TEST["stars"]) ** 2))
    assert errors[LeakyAutoRec] < errors[HonestAutoRec]


@pytest.mark.slow
def test_the_document_shows_what_the_example_prints(capsys: pytest.CaptureFixture[str]) -> None:
    leaky_autorec.main([])
    printed = capsys.readouterr().out
    page = (Path(__file__).parents[1] / "docs" / "leaks.md").read_text("utf-8")
    for name in ("HonestAutoRec", "LeakyAutoRec"):
        (shown,) = re.findall(rf"^\| `{name}`[^|]*\| ([0-9., ]+) \|", page, flags=re.MULTILINE)
        said = re.findall(rf"{name}, seed \d: RMSE ([0-9.]+)", printed)
        errors = [float(error) for error in said]
        assert [float(error) for error in shown.split(", ")] == pytest.approx(errors, abs=0.003)

"""The comparison of features: its short cuts are exact, and the table says what was measured."""

from __future__ import annotations

import few_labels
import numpy as np
import pytest


def test_fewer_dimensions_predict_the_same() -> None:
    rng = np.random.default_rng(0)
    near, far = rng.standard_normal((12, 40)), rng.standard_normal((30, 40))
    told = rng.random((12, 2)) < 0.5
    short, shorter = few_labels.shortened(near, far)
    assert short.shape == (12, 12)
    np.testing.assert_allclose(
        few_labels.predicted(short, told, shorter, 1.0),
        few_labels.predicted(near, told, far, 1.0),
        atol=1e-3,
    )
    assert few_labels.shortened(near[:, :5], far[:, :5])[0].shape == (12, 5)


def test_what_can_be_told_is_told() -> None:
    points = np.random.default_rng(0).standard_normal((200, 3))
    labels = np.column_stack([points[:, 0] > 0, np.arange(200) % 2 == 0])
    known, others = few_labels.drawn_labels(200, 60, 0)
    assert not set(known) & set(others)
    assert len(known) == 60
    assert few_labels.auc(points, labels[:, :1], known, others) > 0.97
    assert 0.6 < few_labels.auc(points, labels, known, others) < 0.9


def test_a_label_of_which_nothing_is_seen_is_a_guess() -> None:
    near, far = np.zeros((4, 2)), np.zeros((3, 2))
    chances = few_labels.predicted(near, np.zeros((4, 1), dtype=bool), far, 1.0)
    np.testing.assert_allclose(chances, 0.1)


def test_the_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from recae.models import AutoRec
    from recae.nn.training import Training

    def quick() -> AutoRec:
        return AutoRec.mf(k=3, training=Training(steps=2))

    monkeypatch.setitem(few_labels.MODELS, "mf", quick)
    tasks = ["ml-latest-small-genres", "ml-100k-gender"]
    asked = ["--codes", "mf", "--labels", "10", "--repeats", "2", "--seeds", "0,1"]
    few_labels.main([*tasks, *asked])
    out, err = capsys.readouterr()
    rows = [line.split(" | ") for line in out.splitlines()]
    assert [row[2] for row in rows[2:]] == [*few_labels.PLAIN, "mf", "mf and SVD"]
    assert all(0.4 < float(row[3]) < 0.9 for row in rows[2:])
    assert "[" in rows[-1][-1]
    assert "ml-100k-gender is skipped" in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [(["films"], "no task 'films'"), (["--codes", "dual"], "no model 'dual'")],
)
def test_mistakes_in_the_call(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        few_labels.main(words)
    assert sentence in capsys.readouterr().err

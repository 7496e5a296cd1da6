"""Agreement of lists, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recae.comparison.agreement import agreements
from recae.errors import ComparisonError
from recae.evaluation import Evaluation
from recae.ids import Ids
from tests.test_facets import answers

PROTOCOL = {"holdout": "one", "scale": [1.0, 5.0], "n": 2, "relevant": 4.0}


def listed(*lists: list[int]) -> Evaluation:
    asked = answers([0, 1, 2], [0, 1, 8], lists=np.array(lists))
    return Evaluation({}, {}, PROTOCOL, Ids.of(range(3)), {}, asked)


def test_means_over_the_users_who_have_a_list() -> None:
    one, other = listed([1, 2], [3, 4], [-1, -1]), listed([1, 2], [4, 5], [-1, -1])
    (found,) = agreements({"one": [one], "other": [other]})
    assert (found.one, found.other) == ("one", "other")
    assert found.overlap == pytest.approx((1 + 1 / 3) / 2)
    # 3 4 against 4 5 at p = 0.9: nothing at depth 1, half at depth 2 and from there on.
    assert found.rank_biased == pytest.approx((1 + 0.1 / 0.9 * 0.5 * 0.81 + 0.5 * 0.81) / 2)


def test_a_group_agrees_with_itself_by_its_first_two_runs() -> None:
    same, changed = listed([1, 2], [3, 4], [5, 6]), listed([1, 2], [3, 4], [7, 8])
    groups = {"a": [same, changed, listed([0, 1], [0, 1], [0, 1])], "b": [same]}
    found = {(each.one, each.other): each.overlap for each in agreements(groups)}
    assert found == {("a", "a"): pytest.approx(2 / 3), ("a", "b"): 1}


def test_nobody_has_a_list() -> None:
    nothing = listed([-1, -1], [-1, -1], [-1, -1])
    (found,) = agreements({"a": [nothing, nothing]})
    assert np.isnan([found.overlap, found.rank_biased]).all()


def test_what_cannot_be_told_is_refused() -> None:
    one = listed([1, 2], [3, 4], [5, 6])
    with pytest.raises(ComparisonError, match="tell of no single rating or list"):
        agreements({"a": [one], "b": [replace(one, answers=None)]})
    with pytest.raises(ComparisonError, match="n differs"):
        agreements({"a": [one], "b": [replace(one, protocol=PROTOCOL | {"n": 5})]})

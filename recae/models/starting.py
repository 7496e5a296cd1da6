"""What a member of the family begins with where it goes on from an earlier one.

The weights of the network before, by what users and items are called. A table has none for those
that are new, and begins where the model before would fold them in:

    p_u = mean + half-step of u around it,    q_i = mean + half-step of i around it

A half-step is that of ALS, `recae.models.ridge`; of users it is the one by which new users of a
table are predicted, so that an update without any step says of them what the model before says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from recae.errors import DataError
from recae.ids import Ids, Rows
from recae.models.base import Floats, Lesson
from recae.models.bridge import numpy_of
from recae.models.ridge import ridge_rows, with_ones
from recae.models.updating import old_places, same_levels, schedule
from recae.nn.carrying import carry
from recae.nn.heads import Nade
from recae.nn.network import Network
from recae.nn.sides import Side, Sum, Table
from recae.ratings import Ratings

if TYPE_CHECKING:
    from recae.models.autorec import AutoRec


def begin(model: AutoRec, network: Network, lesson: Lesson) -> None:
    """Weights of `network`, the new one of `model`. Raises DataError where side data are missing
    that were read before."""
    assert lesson.past is not None
    before = cast("AutoRec", lesson.past.model)
    _check_side_data(model, before)
    at, old = dict(old_places(lesson.fitted, before.fitted)), before._get().network
    if isinstance(network.head, Nade) and isinstance(old.head, Nade):
        levels = same_levels(numpy_of(network.head.levels), numpy_of(old.head.levels))
        at["levels"] = torch.from_numpy(levels)
    carry(old, network, at)
    users, items = _table(network.rows), _table(network.columns)
    if users is not None:
        trained = schedule(model.training, lesson.past) is not None
        own = lesson.train.over(before.fitted.items)
        _begin_users(users, _to_fold_in(before, own, trained=trained), before, own)
    # Where predictions are bent there is no half-step to be solved for.
    if items is not None and not model._bent:
        new = np.flatnonzero(before.fitted.items.find(lesson.train.items.values) < 0)
        if len(new):
            _begin_items(items, new, model, before, lesson.train)


def _check_side_data(model: AutoRec, before: AutoRec) -> None:
    for of, now, then in zip(("users", "items"), model._codings, before._codings, strict=True):
        if then is not None and now is None:
            raise DataError(
                f"the model reads side data of {of}, and these ratings have none: bring them "
                f"along by with_features({of}=...), or fit a new model"
            )


def _to_fold_in(before: AutoRec, own: Ratings, *, trained: bool) -> Rows:
    """Users who are new; where nothing is trained, also those whose history is another, of which
    nothing else would tell. For training, what was learned of them is the better start: of a
    history with a few more ratings a half-step knows less."""
    rows = before.fitted.users.find(own.users.values) if trained else before.known(own)
    return np.flatnonzero(rows < 0)


def _begin_users(table: Table, new: Rows, before: AutoRec, own: Ratings) -> None:
    theirs = own.take_users(new)
    expected = before._expected(theirs)
    folded = before._half_step(theirs, expected)
    old = _table(before._get().network.rows)
    assert old is not None
    _put(table, new, old, folded.vectors - expected.vectors, folded.bias - expected.bias)


def _begin_items(table: Table, new: Rows, model: AutoRec, before: AutoRec, train: Ratings) -> None:
    own = train.over(before.fitted.items)
    users = before._users(own)
    old = _table(before._get().network.columns)
    assert old is not None
    mean = numpy_of(old.vectors.mean(dim=0)), numpy_of(old.row_bias.mean())
    expected = (users.vectors @ mean[0] + users.bias)[train.rows] + mean[1]
    rest = train.with_stars(model._residuals(train) - expected)
    theirs = rest.over(Ids(train.items.values[new])).transposed()
    solved = ridge_rows(theirs, theirs.stars, with_ones(users.vectors), model.ridge)
    _put(table, new, old, solved[:, :-1], solved[:, -1])


def _put(table: Table, rows: Rows, old: Table, vectors: Floats, bias: Floats) -> None:
    """Rows that lie so far from the mean of the table before."""
    with torch.no_grad():
        for parameter, mean, moved in (
            (table.vectors, old.vectors.mean(dim=0), vectors),
            (table.row_bias, old.row_bias.mean(), bias),
        ):
            parameter[torch.from_numpy(rows)] = mean + torch.from_numpy(moved).to(mean)


def _table(side: Side) -> Table | None:
    """The free vectors of a side, if it has any."""
    side = side.table if isinstance(side, Sum) else side
    return side if isinstance(side, Table) else None

"""Where rows of tables begin of which the model before has no vectors: where it would fold them in.

    p_u = mean + half-step of u around it,    q_i = mean + half-step of i around it

A half-step is that of ALS, `recae.models.ridge`; of users it is the one by which new users of a
table are predicted, so that an update without any step says of them what the model before says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from recae.ids import Ids, Rows
from recae.models.base import Floats
from recae.models.bridge import numpy_of
from recae.models.ridge import ridge_rows, with_ones
from recae.nn.network import Network
from recae.nn.sides import Side, Sum, Table
from recae.ratings import Ratings

if TYPE_CHECKING:
    from recae.models.autorec import AutoRec


def begin(
    model: AutoRec, before: AutoRec, network: Network, train: Ratings, *, trained: bool
) -> None:
    """Rows of users and of items that are new.

    trained: it goes on learning, and what was learned of a user is a better start than what the
        half-step makes of a history with a few more ratings. Else nothing but that half-step tells
        anything of those, and users with other histories than before begin like new ones.
    """
    users, items = _table(network.rows), _table(network.columns)
    if users is not None:
        own = train.over(before.fitted.items)
        at = before.fitted.users.find(own.users.values) if trained else before.known(own)
        _begin_users(users, np.flatnonzero(at < 0), before, own)
    # Where predictions are bent there is no half-step to be solved for.
    if items is not None and not model._bent:
        new = np.flatnonzero(before.fitted.items.find(train.items.values) < 0)
        if len(new):
            _begin_items(items, new, model, before, train)


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

"""Digests of rating histories: is this still the history that was learned from?"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from recae.ids import Ids
from recae.ratings import Ratings


def history_digests(history: Ratings, *, timed: bool = False) -> NDArray[np.uint64]:
    """[U]: a 64-bit digest of each user's (item id, stars) pairs, whatever the item numbering;
    timed: of (item id, stars, time).

    A sum of well-mixed words (splitmix64) per rating: cheap, and independent of order.
    """
    item_words = _words(history.items)[history.columns]
    star_words = history.stars.astype(np.float32).view(np.uint32).astype(np.uint64)
    words = _splitmix(item_words ^ _splitmix(star_words))
    if timed:
        assert history.times is not None
        words = _splitmix(words ^ _splitmix(history.times.view(np.uint64)))
    totals = np.concatenate([np.zeros(1, np.uint64), np.cumsum(words, dtype=np.uint64)])
    starts = history.matrix.indptr
    return np.asarray(totals[starts[1:]] - totals[starts[:-1]])


def _words(ids: Ids) -> NDArray[np.uint64]:
    if ids.values.dtype.kind == "i":
        return ids.values.astype(np.int64).view(np.uint64)
    digests = (hashlib.blake2b(x.encode(), digest_size=8).digest() for x in ids.values.tolist())
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def _splitmix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))

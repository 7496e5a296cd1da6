"""Titles found while they are typed."""

from __future__ import annotations

import re

import numpy as np

from recae.catalog import fold
from recae.ids import Rows

_WORD = re.compile(r"\w+")


class TitleIndex:
    """Titles by popularity. Made once; a search goes through plain strings."""

    def __init__(self, titles: list[str], popularity: Rows) -> None:
        """titles: of each row; popularity [rows]: what comes first among equals."""
        self._rows: list[int] = np.argsort(-popularity, kind="stable").tolist()
        # A space before every word, so that the beginning of a word can be told from its middle.
        self._texts = [_words(titles[row]) for row in self._rows]

    def find(self, typed: str, n: int) -> list[int]:
        """At most n rows whose titles hold all words that are typed, without regard to case,
        accents and punctuation: first those in which they begin words, then the others, and the
        better known first. Nothing typed: the best known."""
        wanted = _words(typed).split()
        if not wanted:
            return self._rows[:n]
        begun = [f" {word}" for word in wanted]
        first: list[int] = []
        others: list[int] = []
        for place, text in enumerate(self._texts):
            if all(word in text for word in begun):
                first.append(place)
                if len(first) == n:
                    break
            elif len(others) < n and all(word in text for word in wanted):
                others.append(place)
        return [self._rows[place] for place in (first + others)[:n]]


def _words(text: str) -> str:
    return "".join(f" {word}" for word in _WORD.findall(fold(text).replace("'", "")))

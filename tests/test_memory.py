"""The peak of memory is that of the time since it was forgotten."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from recae import memory


def test_what_was_held_counts_until_it_is_forgotten() -> None:
    before = memory.peak_megabytes()
    held = np.ones(30_000_000)
    high = memory.peak_megabytes()
    assert high > before - 1
    assert high > held.nbytes / 1e6
    del held
    assert memory.peak_megabytes() >= high - 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets a peak")
def test_a_forgotten_peak_is_gone() -> None:
    held = np.ones(30_000_000)
    high = memory.peak_megabytes()
    del held
    memory.forget_peak()
    assert memory.peak_megabytes() < high - 100


def test_without_proc_the_process_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_STATUS", memory.Path("/nowhere/at/all"))
    assert memory.peak_megabytes() > 10

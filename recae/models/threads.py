"""How many threads compute."""

from __future__ import annotations

import torch
from threadpoolctl import threadpool_limits


def compute_in_one_thread() -> None:
    """From now on torch and BLAS compute in the thread that calls them, for processes that answer
    several people at once."""
    torch.set_num_threads(1)
    threadpool_limits(1)

"""From numpy to torch and back, and the device in between."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from recae.errors import RecaeError
from recae.nn.sparse import Structure


def check_device(device: str) -> None:
    """Raises ValueError for what is no setting of a device: `auto`, `cpu`, `cuda` or `cuda:1`."""
    if device not in ("auto", "cpu") and not device.startswith("cuda"):
        raise ValueError(f"device must be auto, cpu or cuda, not {device!r}")


def device_of(setting: str) -> torch.device:
    """`auto`: CUDA where there is one, else CPU. Raises RecaeError for CUDA where there is none."""
    if setting.startswith("cuda") and not torch.cuda.is_available():
        raise RecaeError("there is no CUDA device here: set device to auto or cpu")
    if setting != "auto":
        return torch.device(setting)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def structure_of(matrix: sparse.csr_array, device: torch.device) -> Structure:
    """Where the entries of a CSR matrix are."""
    starts, columns = torch.from_numpy(matrix.indptr), torch.from_numpy(matrix.indices)
    return Structure.of(starts.to(device), columns.to(device), matrix.shape[1])


def numpy_of(tensor: torch.Tensor) -> NDArray[Any]:
    """The values, without their gradient."""
    return np.asarray(tensor.detach().cpu().numpy())

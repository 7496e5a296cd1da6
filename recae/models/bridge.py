"""From ratings to tensors and back, and the seed and device that learning runs with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from recae.errors import RecaeError
from recae.features import Coding, Features
from recae.ids import Ids
from recae.nn.network import Learner
from recae.nn.sides import Codes
from recae.nn.sparse import Matrix, Structure

Floats = NDArray[np.float32]

_NETWORK = "network."


def check_device(name: str) -> None:
    """Raises ValueError for what is no device."""
    if name not in ("auto", "cpu") and not name.startswith("cuda"):
        raise ValueError(f"device must be auto, cpu or cuda, not {name!r}")


def device_of(name: str) -> torch.device:
    """`auto`: CUDA where there is one, else CPU. Raises RecaeError for CUDA that is not there."""
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise RecaeError("there is no CUDA device here: set device to auto or cpu")
    if name != "auto":
        return torch.device(name)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def seeded(rng: np.random.Generator, device: torch.device) -> Iterator[None]:
    """torch's own randomness, drawn from `rng` and put back as it was."""
    seed = int(rng.integers(2**63))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def structure(matrix: sparse.csr_array, device: torch.device) -> Structure:
    """Where a matrix has entries."""
    starts, columns = torch.from_numpy(matrix.indptr), torch.from_numpy(matrix.indices)
    return Structure.of(starts.to(device), columns.to(device), matrix.shape[1])


def matrix_of(matrix: sparse.csr_array, device: torch.device) -> Matrix:
    """The same with its values."""
    return Matrix.of(structure(matrix, device), torch.from_numpy(matrix.data).to(device))


def coded(coding: Coding | None, features: Features | None, ids: Ids) -> sparse.csr_array | None:
    """Side data of `ids` as an encoder reads them, [ids, F]; None where it reads none."""
    if coding is None:
        return None
    if features is None:
        return sparse.csr_array(np.zeros((len(ids), len(coding.names)), np.float32))
    return coding.matrix(features.over(ids))


def arrays(codes: Codes) -> tuple[Floats, Floats]:
    """Vectors and biases."""
    return numpy_of(codes.vectors), numpy_of(codes.bias)


def numpy_of(tensor: torch.Tensor) -> Floats:
    """As an array on the CPU."""
    return np.asarray(tensor.detach().cpu().numpy())


def weights_of(network: Learner) -> dict[str, NDArray[Any]]:
    """What a network learned, by name, to be saved."""
    return {_NETWORK + name: numpy_of(value) for name, value in network.state_dict().items()}


def load_weights(network: Learner, saved: dict[str, NDArray[Any]]) -> None:
    """Put back what `weights_of` gave, among other arrays."""
    weights = {
        name.removeprefix(_NETWORK): torch.from_numpy(array)
        for name, array in saved.items()
        if name.startswith(_NETWORK)
    }
    network.load_state_dict(weights)


def weight_in(saved: dict[str, NDArray[Any]], name: str) -> torch.Tensor:
    """One of them, before there is a network to be put into."""
    return torch.from_numpy(saved[_NETWORK + name])

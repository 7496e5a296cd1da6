"""Encoders: networks that read a row's observed entries and return its code. One file each."""

from recae.nn.encoders.dense import ACTIVATIONS, Dense

__all__ = ["ACTIVATIONS", "Dense"]

"""Rows, columns and tensors: the networks and their training. Knows no users, items or ids."""

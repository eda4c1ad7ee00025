"""Rotations of space."""

import numpy as np


def rotation(axis, angle):
    """Rodrigues' formula in a right-handed frame."""
    x, y, z = axis
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k

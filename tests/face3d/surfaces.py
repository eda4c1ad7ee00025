"""Surfaces of known shape."""

import numpy as np


def sphere(count, reach, radius, centre, turn=0.0):
    """Points and outward normals f32[count,count,3] of a sphere with azimuths within `reach`, turned about y."""
    azimuth, elevation = np.meshgrid(np.linspace(-reach, reach, count), np.linspace(-np.pi / 2, np.pi / 2, count))
    azimuth = azimuth + turn
    normal = [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
    normal = np.stack(normal, -1).astype(np.float32)
    return normal * radius + np.array(centre, np.float32), normal


def plane(rows, columns, left, top, right, bottom):
    """An upright sheet f32[rows,columns,3] at depth 0 whose first and last points lie at these x and y."""
    x, y = np.meshgrid(np.linspace(left, right, columns), np.linspace(top, bottom, rows))
    return np.stack([x, y, 0 * x], -1).astype(np.float32)

"""Packages of torch that are compared with, where they are installed."""

import importlib

import pytest

_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor a, Tensor b, float c) -> Tensor",
)
_kept = []  # torch forgets a library with its object


def load(name):
    """Imports a package and returns torch; skips the test where one of both is missing."""
    torch = pytest.importorskip("torch")
    try:
        importlib.import_module("torchvision")
    except RuntimeError:  # a torchvision built for CUDA beside a torch for CPU lacks the operators that it declares
        _kept.append(torch.library.Library("torchvision", "DEF"))
        for operator in _OPERATORS:
            _kept[-1].define(operator)
    except ImportError:
        pass
    pytest.importorskip(name)
    return torch

"""The convolutions and resampling filters of StyleGAN2, channel by channel with scipy."""

import numpy as np
import scipy.signal

FIR = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64.0


def per_channel(x, kernel, combine):
    """Applies `combine(channel, 2-D kernel)` and sums over input channels."""
    n, c, d = x.shape[0], x.shape[3], kernel.shape[3]
    return np.stack(
        [
            np.stack([sum(combine(x[i, :, :, a], kernel[:, :, a, b]) for a in range(c)) for b in range(d)], -1)
            for i in range(n)
        ]
    )


def zero_inserted(x):
    wide = np.zeros((2 * x.shape[0], 2 * x.shape[1]))
    wide[::2, ::2] = x
    return wide


def upsample(image):
    """Zero insertion, then the filter with gain 4, for one channel [H,W]."""
    return scipy.signal.convolve2d(np.pad(zero_inserted(image), ((2, 1), (2, 1))), 4 * FIR, "valid")


def downsample(image):
    """The filter, then every other sample, for one channel [H,W]."""
    return scipy.signal.convolve2d(np.pad(image, 1), FIR, "valid")[::2, ::2]


def convolve(x, kernel, stride=1):
    return per_channel(x, kernel, lambda a, k: scipy.signal.correlate2d(a, k, "same")[::stride, ::stride])


def convolve_up(x, kernel):
    def combine(a, k):
        full = scipy.signal.convolve2d(zero_inserted(a)[:-1, :-1], k)  # a stride-2 transposed convolution
        return scipy.signal.convolve2d(np.pad(full, 1), 4 * FIR, "valid")

    return per_channel(x, kernel, combine)


def convolve_down(x, kernel):
    def combine(a, k):
        blurred = scipy.signal.convolve2d(np.pad(a, 2), FIR, "valid")
        return scipy.signal.correlate2d(blurred, k, "valid")[::2, ::2]

    return per_channel(x, kernel, combine)

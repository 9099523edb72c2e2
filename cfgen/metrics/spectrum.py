"""Is the change fine noise or a shape?"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from cfgen.types import Images


def high_frequency_share(change: Images, cutoff: float = 1 / 8) -> Float[Tensor, " batch"]:
    """Return the share of squared change above a frequency, in [0, 1]; NaN without any change.

    sum_(|f| > cutoff) |D_f|^2 / sum_f |D_f|^2, where D is the discrete Fourier transform of the
    change d = x' - x and |f| = sqrt(f_y^2 + f_x^2) in cycles a pixel, at most sqrt(1/2); by
    Parseval's theorem the denominator is the squared change. Lower is smoother: white noise has
    1 - pi cutoff^2 = 0.95 above 1/8, a finding hardly any.

    Args:
        change: of the images; it is taken to continue periodically beyond the edges, which
            counts a jump between opposite edges as fine detail.
        cutoff: cycles a pixel.

    >>> stripes = torch.tensor([0.5, -0.5]).repeat(4).expand(1, 1, 8, 8)
    >>> high_frequency_share(stripes).tolist(), high_frequency_share(stripes + 0.5).tolist()
    ([1.0], [0.5])
    """
    height, width = change.shape[-2:]
    energy = torch.fft.fft2(change[:, 0]).abs().square()
    rows = torch.fft.fftfreq(height, device=change.device)[:, None]
    columns = torch.fft.fftfreq(width, device=change.device)
    high = (rows.square() + columns.square()).sqrt() > cutoff
    total = energy.flatten(1).sum(1)
    return torch.where(total > 0, (energy * high).flatten(1).sum(1) / total, torch.nan)

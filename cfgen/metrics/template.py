"""Is every image changed in its own way, or all by one template?"""

from __future__ import annotations

import math

import torch

from cfgen.types import Images

_AT_ONCE = 256


def mean_pairwise_cosine(changes: Images) -> float:
    """Return the mean cosine of the angle between any two changes of a set, of one direction.

    mean_(i < j) <u_i, u_j> with u_i = d_i / |d_i|, in [-1 / (n - 1), 1]: 1 for one template at
    any positive strength, about 0 for changes that have nothing in common; lower is more
    personal. Computed as (|sum_i u_i|^2 - n) / (n (n - 1)). Images that did not change are left
    out; NaN for fewer than two others.

    >>> round(mean_pairwise_cosine(torch.tensor([[[[1.0, 0.0]]], [[[1.0, 1.0]]]])), 4)
    0.7071
    """
    flat = changes.flatten(1)
    total = torch.zeros(flat.shape[1], dtype=torch.float64, device=flat.device)
    n = 0
    for part in flat.split(_AT_ONCE):
        norms = part.double().norm(dim=1, keepdim=True)
        moved = (norms > 0)[:, 0]
        total += (part[moved] / norms[moved]).sum(0)
        n += int(moved.sum())
    return (float(total.square().sum()) - n) / (n * (n - 1)) if n > 1 else math.nan


def share_explained_by_mean(changes: Images) -> float:
    """Return the share of the changes' energy that the best multiple of their mean explains.

    1 - sum_i |d_i - a_i m_i|^2 / sum_i |d_i|^2, where m_i is the mean of all changes but d_i and
    a_i = <d_i, m_i> / |m_i|^2 the coefficient that leaves least. In [0, 1]: 1 for one template at
    any strength, about 0 for changes that have nothing in common; lower is more personal. NaN
    for fewer than two changes, or where nothing changed. A mean without any change explains
    nothing.

    All from the products with the sum s of all changes: with m_i = (s - d_i) / (n - 1) the share
    is sum_i <d_i, s - d_i>^2 / |s - d_i|^2 over sum_i |d_i|^2.

    >>> round(share_explained_by_mean(torch.tensor([[[[1.0, 0.0]]], [[[1.0, 1.0]]]])), 4)
    0.5
    """
    flat = changes.flatten(1)
    own = torch.cat([part.double().square().sum(1) for part in flat.split(_AT_ONCE)])
    if len(flat) < 2 or not own.any():
        return math.nan
    total = flat.sum(0, dtype=torch.float64)
    along = torch.cat([part.double() @ total for part in flat.split(_AT_ONCE)])
    product = along - own
    rest = total.square().sum() - 2 * along + own
    explained = torch.where(rest > 0, product.square() / rest, 0.0)
    return float(explained.sum() / own.sum())

"""What of an image a network is shown: all of it, only the lungs, or only what is outside them.

A judge of the lungs cannot follow a change of the border, and one of the border measures how much
of the classes stands where no finding is. Each view is a plain function of images and of their
lung probabilities, differentiable in both but for the box, which is found from the hard mask.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, max_pool2d

from cfgen.types import Images

View = Literal["whole", "lungs", "border"]
Boxes = Float[Tensor, "batch 4"]
"""Left, top, right and bottom edge, as shares of the width and the height."""

DILATION = 0.03
"""Of the lung mask, as a share of the side: a dense finding at the pleura is seldom in it."""
LUNGS_MARGIN = 0.04
BORDER_MARGIN = 0.06
"""How far a box goes beyond the lungs on every side, as a share of the image's side."""
FEWEST = 0.02
"""Share of a row (or column) that has to be lung for the box to reach it: stray pixels do not."""
CROP = 0.1
"""How far a random crop moves each edge of a box at most, as a share of the box's side."""
_LEAST_DEVIATION = 0.01


def lung_box(lungs: Images, margin: float) -> Boxes:
    """The box around both lungs, with a margin; the whole image where no lung is seen.

    Args:
        lungs: probability of lung; above 0.5 is lung.
        margin: beyond the lungs, as a share of the side; the box ends where the image does.

    Example:
        >>> lungs = torch.zeros(1, 1, 10, 10)
        >>> lungs[..., 2:5, 1:9] = 1
        >>> lung_box(lungs, margin=0.0)
        tensor([[0.1000, 0.2000, 0.9000, 0.5000]])
    """
    across, down = _rows_and_columns(lungs)
    low, high = (torch.stack(ends, 1) for ends in zip(_ends(across), _ends(down), strict=True))
    box = torch.cat([(low - margin).clamp(min=0), (high + margin).clamp(max=1)], 1)
    return torch.where(_seen(lungs)[:, None], box, torch.tensor([0.0, 0, 1, 1], device=box.device))


def _rows_and_columns(lungs: Images) -> tuple[Bool[Tensor, "batch w"], Bool[Tensor, "batch h"]]:
    """Which columns and which rows have lung in them."""
    mask = lungs[:, 0] > 0.5
    height, width = mask.shape[1:]
    return mask.sum(1) > FEWEST * height, mask.sum(2) > FEWEST * width


def _seen(lungs: Images) -> Bool[Tensor, " batch"]:
    across, down = _rows_and_columns(lungs)
    return across.any(1) & down.any(1)


def _ends(there: Bool[Tensor, "batch side"]) -> tuple[Tensor, Tensor]:
    """Where the first true cell begins and the last one ends, as shares of the side."""
    side = there.shape[1]
    first = there.float().argmax(1)
    last = there.flip(1).float().argmax(1)
    return first / side, (side - last) / side


def random_crop(boxes: Boxes) -> Boxes:
    """Move each edge of each box at random, in or out by at most `CROP` of the box's side."""
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    return boxes + CROP * sides * (2 * torch.rand_like(boxes) - 1)


def lungs_view(images: Images, lungs: Images, boxes: Boxes) -> Images:
    """The lungs alone, equalised, and scaled to fill the image.

    m (x - mean) / std, where m rises from 0 to 1 as the lung probability, dilated by `DILATION`
    (its greatest value nearby), does from 1/4 to 3/4, and mean and standard deviation are weighted
    by m. So outside the lungs all is exactly 0, and inside the exposure of the film is gone. That
    is the equalising; it is by moments, not by ranks, so that gradients pass. The box is then
    stretched to the image's height and width, one apart from the other: the lungs' size and
    proportions, which tell a child's age, are gone as well. What is left of their outline is the
    mask's edge.

    Args:
        images: in [0, 1].
        lungs: probability of lung; where none is seen the whole image is shown, equalised.
        boxes: where to look, see `lung_box`.
    """
    soft = (2 * _dilated(lungs) - 0.5).clamp(0, 1)
    mask = torch.where(_seen(lungs)[:, None, None, None], soft, 1.0)
    weight = mask / mask.sum((2, 3), keepdim=True)
    centred = images - (weight * images).sum((2, 3), keepdim=True)
    variance = (weight * centred.square()).sum((2, 3), keepdim=True)
    equalised = mask * centred / (variance + _LEAST_DEVIATION**2).sqrt()
    return _crop(equalised, boxes)


def _dilated(lungs: Images) -> Images:
    reach = max(1, round(DILATION * lungs.shape[-1]))
    tall = max_pool2d(lungs, (2 * reach + 1, 1), stride=1, padding=(reach, 0))
    return max_pool2d(tall, (1, 2 * reach + 1), stride=1, padding=(0, reach))


def _crop(images: Images, boxes: Boxes) -> Images:
    """What is in each image's box, at the image's own height and width; 0 beyond the image."""
    low, high = boxes[:, :2], boxes[:, 2:]
    scale, centre = high - low, low + high - 1  # the grid's coordinates run from -1 to 1
    matrix = torch.cat([torch.diag_embed(scale), centre[:, :, None]], 2)
    grid = affine_grid(matrix, list(images.shape), align_corners=False)
    return grid_sample(images, grid, align_corners=False)


def border_view(images: Images, boxes: Boxes, fill: float) -> Images:
    """What is outside a box around both lungs; `fill` inside it.

    A hole of the lungs' own form would tell that form, which a pneumonia changes. Of a rectangle
    only its place and size leak. Where no lung is seen the box is the whole image, and nothing is
    shown.

    Args:
        images: in [0, 1].
        boxes: what to hide, see `lung_box`.
        fill: the constant to put there.
    """
    height, width = images.shape[-2:]
    x = (torch.arange(width, device=images.device) + 0.5) / width
    y = (torch.arange(height, device=images.device) + 0.5) / height
    left, top, right, bottom = boxes[:, :, None].unbind(1)
    across, down = (x > left) & (x < right), (y > top) & (y < bottom)
    return torch.where((down[:, :, None] & across[:, None])[:, None], fill, images)

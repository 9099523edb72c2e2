"""Spaces to search in: how an image becomes a code and a changed code an image."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from cfgen.types import Codes, Images, Rows, portions


class Encoded(NamedTuple):
    """A batch of images in a space.

    Attributes:
        codes: where the search starts.
        residual: what the code cannot say of the image; added to whatever is decoded.
        decodes: forward passes of a decoder that this took.
    """

    codes: Codes
    residual: Images
    decodes: int


@runtime_checkable
class Space(Protocol):
    """What a search needs to know of a space."""

    decodes: int
    """Forward passes of a decoder that one call of `decode` costs."""

    def encode(self, images: Images) -> Encoded:
        """Codes of images in [0, 1], and their residuals."""
        ...

    def decode(self, codes: Codes, residual: Images) -> Images:
        """Images of codes, in [0, 1]."""
        ...

    def project(self, codes: Codes) -> Codes:
        """The nearest codes that are allowed, of whichever rows."""
        ...

    def take(self, rows: Rows) -> Space:
        """The space of some rows of the batch, where images have spaces of their own."""
        ...


def spread(
    values: Float[Tensor, " batch"], like: Float[Tensor, "any ..."]
) -> Float[Tensor, "batch ..."]:
    """One value a code, such that codes with as many dimensions can be multiplied with them."""
    return values.view(-1, *[1] * (like.ndim - 1))


def lengths(codes: Codes) -> Float[Tensor, " batch"]:
    """Euclidean norm of each code, above zero so that it can be divided by."""
    return torch.linalg.vector_norm(codes.flatten(1), dim=1).clamp(min=1e-12)


def encode(space: Space, images: Images, width: int) -> Encoded:
    """Codes of images, of at most `width` at a time."""
    parts = [space.take(rows).encode(images[rows]) for rows in portions(len(images), width)]
    codes = torch.cat([part.codes for part in parts])
    residual = torch.cat([part.residual for part in parts])
    return Encoded(codes, residual, parts[0].decodes)


class PixelSpace:
    """The trivial space: an image is its own code."""

    decodes = 0

    def encode(self, images: Images) -> Encoded:
        """The images, and a residual of zero."""
        return Encoded(images.clone(), torch.zeros_like(images), decodes=0)

    def decode(self, codes: Codes, residual: Images) -> Images:
        """The codes."""
        return codes

    def project(self, codes: Codes) -> Codes:
        """The codes clamped to [0, 1]."""
        return codes.clamp(0, 1)

    def take(self, rows: Rows) -> PixelSpace:
        """All images share this space."""
        return self


@runtime_checkable
class Coder(Protocol):
    """An autoencoder, as a latent space needs it."""

    def encode(self, images: Images) -> Codes:
        """Codes of images in [0, 1]."""
        ...

    def decode(self, code: Codes) -> Images:
        """Images of codes."""
        ...


class LatentSpace:
    """The code of an autoencoder.

    Residual decoding gives x' = clip(x + D(z') - D(z0)) with z0 = E(x): the autoencoder's blur
    cancels, and an unmoved code gives back exactly x. Plain decoding gives x' = clip(D(z')).

    Args:
        autoencoder: anything that encodes and decodes.
        residual: whether decoding is residual.
    """

    decodes = 1

    def __init__(self, autoencoder: Coder, *, residual: bool = True) -> None:
        self.autoencoder = autoencoder
        self.residual = residual

    def encode(self, images: Images) -> Encoded:
        """Codes, and x - D(E(x)) where decoding is residual."""
        with torch.no_grad():
            codes = self.autoencoder.encode(images)
            if not self.residual:
                return Encoded(codes, torch.zeros_like(images), decodes=0)
            return Encoded(codes, images - self.autoencoder.decode(codes), decodes=1)

    def decode(self, codes: Codes, residual: Images) -> Images:
        """Decode, add the residual, clamp to [0, 1]."""
        return (self.autoencoder.decode(codes) + residual).clamp(0, 1)

    def project(self, codes: Codes) -> Codes:
        """Every code is allowed."""
        return codes

    def take(self, rows: Rows) -> LatentSpace:
        """All images share this space."""
        return self


class EditSpace:
    """How strongly an edit is applied, place by place: a space of strengths.

    x'(a) = D(z0 + a * e), with D the decoding of the inner space, e an edit of each image's code
    z0 and a a field of strengths in [0, `strongest`], the same for all channels of the code, on a
    grid that may be coarser than the code (bilinear between its places). A search in it can choose
    where how much of the edit is to be seen, and nothing else: whatever it finds, the edit has
    proposed. That leaves a classifier's noise no room.

    Args:
        inner: where the edit is.
        encoded: the images in it.
        edit: of their codes, as strong as strength 1 is to be.
        start: strengths to start from, one field an image.
        strongest: greatest strength allowed.
    """

    def __init__(
        self,
        inner: Space,
        encoded: Encoded,
        edit: Codes,
        start: Float[Tensor, "batch 1 rows columns"],
        strongest: float,
    ) -> None:
        self.inner, self.encoded, self.edit = inner, encoded, edit
        self.start, self.strongest = start, strongest
        self.decodes = inner.decodes

    def encode(self, images: Images) -> Encoded:
        """The strengths to start from; the images are those that the space was made for."""
        return Encoded(self.start, self.encoded.residual, decodes=0)

    def decode(self, codes: Codes, residual: Images) -> Images:
        """The images with their edits at these strengths."""
        size = self.edit.shape[-2:]
        field = interpolate(codes, size, mode="bilinear", align_corners=False)
        edited = self.inner.project(self.encoded.codes + field * self.edit)
        return self.inner.decode(edited, residual)

    def project(self, codes: Codes) -> Codes:
        """The strengths clamped to [0, strongest]."""
        return codes.clamp(0, self.strongest)

    def take(self, rows: Rows) -> EditSpace:
        """The space of some images' edits."""
        codes, residual, decodes = self.encoded
        chosen = Encoded(codes[rows], residual[rows], decodes)
        return EditSpace(self.inner, chosen, self.edit[rows], self.start[rows], self.strongest)


class Region(NamedTuple):
    """Where, and how far, an image may change.

    Attributes:
        mask: 1 where change is allowed, 0 where it is not, or between; None for everywhere.
        bound: the greatest change of any pixel, in (0, 1].
    """

    mask: Float[Tensor, "#batch 1 height width"] | None = None
    bound: float = 1.0

    def confine(self, images: Images, factual: Images) -> Images:
        """Take back what is changed outside the mask or beyond the bound."""
        change = (images - factual).clamp(-self.bound, self.bound)
        return factual + (change if self.mask is None else self.mask * change)

    def take(self, rows: Rows) -> Region:
        """Return the region of some rows of the batch."""
        if self.mask is None or len(self.mask) == 1:
            return self
        return self._replace(mask=self.mask[rows])


EVERYWHERE = Region()

"""The form of a study: one HTML page that works offline and knows nothing of what it shows."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image as Picture

from cfgen.types import Image
from evaluation.pages import as_data, environment, grey_levels
from evaluation.reading.answers import CONFIDENCES
from evaluation.reading.key import number_of
from evaluation.writing import make_folder, write_file

_TEMPLATES = Path(__file__).parent / "templates"
FORM = Path("form/reading.html")
KEYS = "QWETYUIOP"
"""Letters that stand for the findings; R and A stand for real and altered."""


def write_form(folder: Path, images: Sequence[Image], classes: Sequence[str], study: str) -> Path:
    """Write the form of a study; return its path.

    All images are inside the page, 8-bit grey PNG of one size and without any metadata, called by
    their place only.

    Args:
        folder: of the study.
        images: in the order in which they are shown, in [0, 1].
        classes: names of the findings to choose from.
        study: the seal of the key, which every answer carries.

    Raises:
        ValueError: the folder cannot be written.
    """
    keys = [KEYS[place] if place < len(KEYS) else "" for place in range(len(classes))]
    page = (
        environment(_TEMPLATES)
        .get_template("reading.html.j2")
        .render(
            study=study,
            findings=list(zip(classes, keys, strict=True)),
            confidences=CONFIDENCES,
            films=[
                {"item": number_of(place), "source": as_data(png(image), "png")}
                for place, image in enumerate(images, start=1)
            ],
        )
    )
    make_folder((folder / FORM).parent)
    write_file(folder / FORM, page)
    return folder / FORM


def png(image: Image) -> bytes:
    """Return an image in [0, 1] as an 8-bit grey PNG file without metadata."""
    buffer = io.BytesIO()
    Picture.fromarray(grey_levels(image)).save(buffer, "PNG")
    return buffer.getvalue()

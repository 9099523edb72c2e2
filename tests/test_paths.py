import torch

from cfgen.goals import make_goal
from cfgen.methods import search, settings_of
from cfgen.paths import along
from cfgen.spaces import LatentSpace, PixelSpace

STRENGTHS = torch.tensor([0.0, 0.5, 1.0, 1.5])


def test_a_path_begins_at_the_factual_and_passes_the_counterfactual(bundle, phantoms):
    for space in (PixelSpace(), LatentSpace(bundle.autoencoder)):
        path = along(space, phantoms[0], phantoms[1], STRENGTHS)
        torch.testing.assert_close(path[0], phantoms[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(path[2], phantoms[1], atol=1e-5, rtol=0)
        assert path.min() >= 0
        assert path.max() <= 1


def test_in_pixels_it_is_a_cross_fade_that_goes_on_and_is_clipped(phantoms):
    path = along(PixelSpace(), phantoms[0], phantoms[1], STRENGTHS)
    change = phantoms[1] - phantoms[0]
    torch.testing.assert_close(path[1], phantoms[0] + change / 2)
    torch.testing.assert_close(path[3], (phantoms[0] + 1.5 * change).clamp(0, 1))


class Squares:
    """An autoencoder whose codes are the squares of the pixels: nothing is lost, lines bend."""

    def encode(self, images):
        return images.square()

    def decode(self, code):
        return code.clamp(min=0).sqrt()


def test_in_codes_it_is_a_line_of_the_codes(phantoms):
    path = along(LatentSpace(Squares()), phantoms[0], phantoms[1], STRENGTHS)
    start, end = phantoms[0].square(), phantoms[1].square()
    torch.testing.assert_close(path[1], (0.5 * start + 0.5 * end).sqrt())
    torch.testing.assert_close(path[3], (1.5 * end - 0.5 * start).clamp(0, 1).sqrt())


def test_the_path_in_codes_is_not_the_cross_fade(bundle, phantoms):
    goal = make_goal(bundle.classifier, phantoms[:1])
    found = search(bundle, goal, phantoms[:1], "latent", settings_of("latent", {"steps": 20}))
    ends = (phantoms[0], found.images[0])
    latent = along(LatentSpace(bundle.autoencoder), *ends, STRENGTHS)
    pixel = along(PixelSpace(), *ends, STRENGTHS)
    assert (latent[1] - pixel[1]).abs().max() > 1e-5

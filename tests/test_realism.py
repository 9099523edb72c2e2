"""A run's counterfactuals together: flat images, whose place among real ones is known."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from cfgen.data.pixels import UnreadableImage
from cfgen.data.samples import Sample
from evaluation.measures.distances import distances
from evaluation.measures.image import FeatureNetwork, Instruments, measure
from evaluation.measures.real import RealImages, look
from evaluation.measures.realism import SAME_PATIENT, identity, judges_on_real, take, templates
from evaluation.sections import sections
from tests.written_runs import SIZE, Darkener, brightness_classifier, flat, sample, write


def instruments():
    judge = brightness_classifier()
    return Instruments(
        classifier=judge, judges={"left": judge}, features=FeatureNetwork("net", judge)
    )


def real(means, patients=None):
    """Flat images of the class BRIGHT, of these means; one more cannot be read."""
    patients = patients or range(len(means))
    image_of = {f"{i}.png": flat(mean) for i, mean in enumerate(means)}
    samples = [
        Sample(path, "BRIGHT", "test", f"p{patient}")
        for path, patient in zip(image_of, patients, strict=True)
    ]

    def read(sample):
        if sample.path not in image_of:
            raise UnreadableImage("cut short")
        return image_of[sample.path]

    return RealImages({"BRIGHT": [*samples, Sample("bad.png", "BRIGHT", "test")]}, read)


def draw(mean, n, seed):
    return (mean + 0.02 * np.random.default_rng(seed).normal(size=n)).tolist()


def test_distances_tell_real_from_unchanged(tmp_path):
    pairs = zip(map(flat, draw(0.3, 30, 0)), map(flat, draw(0.7, 30, 1)), strict=True)
    run = write(tmp_path, [sample(i, *pair) for i, pair in enumerate(pairs)], batch=8)
    taken = take(run, instruments(), batch_size=16)
    seen = look(real(draw(0.7, 100, 2)), instruments(), 16)
    found = distances(taken, seen)
    assert list(found["frechet"]["net"]) == list(found["kernel"]["net"]) == ["BRIGHT"]
    ratios, kernel = found["frechet"]["net"]["BRIGHT"], found["kernel"]["net"]["BRIGHT"]
    assert (ratios["n"], ratios["n_real"]) == (kernel["n"], kernel["n_real"]) == (30, 100)
    assert ratios["ratio"] < 5 < 100 < ratios["ratio_factual"]
    assert kernel["distance"] < 3 * kernel["real_high"] < kernel["factual"]
    coverage = found["coverage"]["net"]["BRIGHT"]
    assert (coverage["n"], coverage["n_real"]) == (30, 100)
    assert coverage["precision"] > 0.7 > coverage["precision_factual"] == 0
    assert coverage["recall"] > 0.7 > coverage["recall_factual"] == 0
    assert coverage["real_precision"] == pytest.approx(coverage["precision"], abs=0.2)
    few = look(real([0.7, 0.7, 0.7]), instruments(), 16)
    assert distances(taken, few) == {"frechet": {}, "kernel": {}, "coverage": {}}
    some = look(real([0.66, 0.68, 0.7, 0.72]), instruments(), 16)
    assert set(distances(taken, some)["frechet"]) == {"net"}
    assert distances(taken, some)["coverage"] == {}
    assert len(sections(found)) == 3


def test_sets_are_compared_in_the_codes_of_the_autoencoder_too(tmp_path):
    """Codes that are the images themselves: the block means of flat ones are their brightness."""
    means = draw(0.7, 12, 1)
    run = write(tmp_path, [sample(i, flat(0.3), flat(mean)) for i, mean in enumerate(means)])
    both = replace(instruments(), autoencoder=Darkener(0.1))
    taken = take(run, both, batch_size=16)
    assert list(taken.features) == ["net", "autoencoder"]
    images = taken.features["autoencoder"][1]
    assert images.numpy() == pytest.approx(np.tile(np.array(means)[:, None], 16), abs=1e-5)
    found = distances(taken, look(real(draw(0.7, 40, 2)), both, 16))
    assert all(list(views) == ["net", "autoencoder"] for views in found.values())
    # One dimension seen sixteen times: all distances grow by 16, those of real images too.
    ratios = [views["BRIGHT"]["ratio"] for views in found["frechet"].values()]
    assert ratios[0] == pytest.approx(ratios[1], rel=0.05)
    assert list(identity(taken)["BRIGHT"]) == ["pixels", "features"]


def test_the_followed_have_their_place_among_real_images(tmp_path):
    """Log-odds rise with the brightness, so that places are those of the brightness."""
    images = [0.55, 0.7, 0.8, 0.45, 0.95]
    rows = [sample(i, flat(0.3), flat(mean)) for i, mean in enumerate(images)]
    rows.append(sample(9, flat(0.7), flat(0.99), target="BRIGHT", outcome="already there"))
    run = write(tmp_path, rows)
    measured = measure(run, instruments()).rows
    joined = [{**row, **own} for row, own in zip(run.samples, measured, strict=True)]
    means = [0.4, 0.52, 0.6, 0.65, 0.68, 0.72, 0.74, 0.78, 0.82, 0.9]
    seen = look(real(means, [0, 0, *range(1, 9)]), instruments(), batch_size=4)
    assert seen["BRIGHT"].patients[:3] == ["p0", "p0", "p1"]
    found = judges_on_real(joined, seen, ["left"])["left"]["BRIGHT"]
    assert (found["right"]["mean"], found["right"]["n"]) == (pytest.approx(0.9), 10)
    assert found["followed"] == 4
    # The median of .55, .7, .8 and .95 lies between the seventh and the eighth of the real.
    assert found["median_log_odds"] == pytest.approx(20 * 0.75 - 10, abs=1e-3)
    assert (found["percentile"], found["within"]) == (70, True)
    dark = look(real([0.1] * 19 + [0.9]), instruments(), 8)
    assert judges_on_real(joined, dark, ["left"])["left"]["BRIGHT"]["percentile"] == 95


def test_a_judge_that_follows_none_has_no_place(tmp_path):
    run = write(tmp_path, [sample(1, flat(0.3), flat(0.4))])
    joined = [{**run.samples[0], **measure(run, instruments()).rows[0]}]
    found = judges_on_real(joined, look(real([0.7, 0.8]), instruments(), 8), ["left"])
    known = found["left"]["BRIGHT"]
    assert (known["followed"], known["percentile"], known["within"]) == (0, None, None)
    json.dumps(found, allow_nan=False)
    assert "| -" in sections({"on_real": found})[0]


def test_a_template_is_one_and_what_was_there_already_does_not_count(tmp_path):
    noise = torch.rand(3, 1, SIZE, SIZE) * 0.1
    rows = [sample(i, flat(0.3), flat(0.3) + 0.1 * i) for i in (1, 2, 3)]
    rows += [sample(10 + i, flat(0.7), flat(0.7) - noise[i]) for i in range(3)]
    rows.append(sample(20, flat(0.3), 1 - flat(0.3, 0.9), outcome="already there"))
    found = templates(take(write(tmp_path, rows), instruments(), 4))
    assert found["BRIGHT"]["n"] == 3
    assert found["BRIGHT"]["pairwise_cosine"] == pytest.approx(1)
    assert found["BRIGHT"]["explained_by_mean"] == pytest.approx(1)
    # Uniform noise on [0, a] has 3/4 of its energy in its mean: what all have in common.
    assert found["DARK"]["pairwise_cosine"] == pytest.approx(0.75, abs=0.02)


def test_identity_is_by_the_nearest_factual_of_the_run(tmp_path):
    rows = [
        sample(1, flat(0.1), flat(0.15), patient="a"),
        sample(2, flat(0.3), flat(0.35), patient="b"),
        sample(3, flat(0.4), flat(0.9), patient="c"),
        sample(4, flat(0.42), flat(0.95), patient="c"),
        sample(5, flat(0.92), flat(0.93), patient="d"),
    ]
    found = identity(take(write(tmp_path, rows), instruments(), 2))
    for space in ("pixels", "features"):
        assert (found["BRIGHT"][space]["mean"], found["BRIGHT"][space]["n"]) == (0.5, 4)
        assert (found["DARK"][space]["mean"], found["DARK"][space]["n"]) == (1, 1)
        assert (found[SAME_PATIENT][space]["mean"], found[SAME_PATIENT][space]["n"]) == (1, 2)
    strangers = write(tmp_path / "b", [sample(1, flat(0.1), flat(0.2))])
    assert list(identity(take(strangers, instruments(), 2))) == ["BRIGHT"]

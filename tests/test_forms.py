"""Forms of the networks: what they compute stays the same, and a probe chooses among them."""

import shutil

import pytest
import torch
import torchvision
import yaml
from torch import nn

from cfgen.cli import OUT_OF_TIME, main
from cfgen.data.preprocessing import preprocessing_of
from cfgen.data.sources import open_source
from cfgen.methods import settings_of
from cfgen.models.classifier import wrap_network
from cfgen.models.forms import FORMS, PARTS, Compiled, Form, network_of, place, shaped
from cfgen.spaces import Region
from evaluation.passes import counting
from evaluation.runs import read_forms, read_run, write_forms
from evaluation.search import Task, probe, shaping
from evaluation.search.probe import Trial, affordable, agrees, choose, pass_of
from evaluation.search.ranks import Ranks
from evaluation.search.shaping import put_on
from evaluation.search.work import Work

COMPILER = any(map(shutil.which, ("g++", "clang++", "c++")))
needs_compiler = pytest.mark.skipif(not COMPILER, reason="no C++ compiler here")
unheard = pytest.mark.filterwarnings("ignore")  # those of torch.compile of its own code


def with_statistics(network):
    """The network, its batch norms as if it had been trained."""
    torch.manual_seed(3)
    for one in network.modules():
        if isinstance(one, nn.BatchNorm2d):
            assert one.running_mean is not None
            assert one.running_var is not None
            one.running_mean.uniform_(-0.5, 0.5)
            one.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(one.weight, 0.5, 1.5)
            nn.init.uniform_(one.bias, -0.5, 0.5)
    return network.eval().requires_grad_(False)


def small_network():
    torch.manual_seed(4)
    layers = (nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3))
    return with_statistics(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()))


def norms_of(network):
    return sum(isinstance(one, nn.BatchNorm2d) for one in network.modules())


def answers(network, images):
    """Output, and the gradient of its squares at the images."""
    given = images.clone().requires_grad_()
    output = network(given)
    return output.detach(), torch.autograd.grad(output.square().sum(), given)[0]


def assert_same(network, plain, images):
    for found, expected in zip(answers(network, images), answers(plain, images), strict=True):
        scale = float(expected.abs().max())
        assert scale > 0
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * scale)


def networks_of(bundle):
    return {part: network_of(bundle, part) for part in PARTS}


@pytest.fixture
def residual_network():
    torch.manual_seed(2)
    return with_statistics(torchvision.models.resnet18(weights=None, num_classes=2)).double()


@pytest.fixture
def film():
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def shared(bundle):
    """A bundle whose classifier has batch norms as after training."""
    with_statistics(bundle.classifier.network)
    return bundle


def test_a_folded_network_is_the_plain_one(residual_network, film):
    folded = shaped(residual_network, ["folded"])
    assert (norms_of(residual_network), norms_of(folded)) == (20, 0)
    assert_same(folded, residual_network, film.double())


def test_the_bundles_classifier_folds_and_gives_features_as_before(shared, phantoms):
    classifier, plain = shared.classifier, shared.classifier.network
    features = classifier.features(phantoms)
    expected = answers(classifier, phantoms)
    place(shared, "classifier", shaped(plain, ["folded"]))
    assert norms_of(classifier.network) < norms_of(plain)
    for found, known in zip(answers(classifier, phantoms), expected, strict=True):
        torch.testing.assert_close(found, known, rtol=1e-4, atol=1e-4 * float(known.abs().max()))
    torch.testing.assert_close(classifier.features(phantoms), features, rtol=1e-4, atol=1e-5)


def test_what_cannot_be_traced_as_a_whole_folds_piece_by_piece(phantoms):
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = small_network()

        def forward(self, images):
            return self.inner(images) if images.mean() < 2 else images

    network = Branching().eval()
    folded = shaped(network, ["folded"])
    assert (norms_of(network), norms_of(folded)) == (1, 0)
    assert_same(folded, network, phantoms)


def test_channels_last_is_the_plain_network(residual_network, film):
    network = shaped(residual_network, ["channels-last"])
    last = [weight for weight in network.parameters() if weight.ndim == 4]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in last)
    assert all(weight.is_contiguous() for weight in residual_network.parameters())
    assert_same(network, residual_network, film.double())


def test_autocast_is_near_and_returns_single_precision(bundle, phantoms):
    one = pass_of(bundle, "prior", False, phantoms)
    loaded = network_of(bundle, "prior")
    expected, found = one.ask(loaded), one.ask(shaped(loaded, ["autocast"]))
    assert found[0].dtype == torch.float32
    assert not torch.equal(found[0], expected[0])
    assert agrees(found, expected, exact=False)
    assert not agrees(found, expected, exact=True)


@needs_compiler
@unheard
def test_a_compiled_network_is_compiled_once_for_batches_of_any_size(bundle):
    plain = small_network()
    wrapped = wrap_network(Compiled(plain), bundle.classes, 16)
    images = torch.rand(32, 1, 16, 16, generator=torch.Generator().manual_seed(6))
    torch._dynamo.reset()
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for size in (20, 32, 16, 17, 15, 2, 1):
        assert_same(wrapped, plain, images[:size])
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before + 1


@needs_compiler
@unheard
def test_passes_of_compiled_networks_are_counted(bundle):
    images = torch.rand(16, 1, 64, 64, generator=torch.Generator().manual_seed(7))
    bundle.classifier.network = Compiled(small_network())
    with counting(bundle) as tally:
        answers(bundle.classifier, images)
    assert tally.passes["classifier + backward"] == 16


def test_hooks_count_the_passes_of_any_form(bundle, phantoms):
    for part in ("encoder", "decoder", "prior"):
        place(bundle, part, Relayed(network_of(bundle, part)))
    with counting(bundle) as tally:
        pass_of(bundle, "prior", False, phantoms).ask(network_of(bundle, "prior"))
        pass_of(bundle, "decoder", True, phantoms).ask(network_of(bundle, "decoder"))
    assert (tally.passes["encoder"], tally.passes["prior"]) == (8, 4)
    assert tally.passes["decoder + backward"] == 4


class Relayed(nn.Module):
    """A network inside another module, as compiled ones are."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, *given, **named):
        return self.network(*given, **named)


@pytest.mark.parametrize("name", ["folded", "channels-last"])
def test_a_form_that_changes_nothing_is_none(name):
    dense = nn.Sequential(nn.Linear(3, 2)).eval()
    with pytest.raises(ValueError, match="got none"):
        shaped(dense, [name])


def fake(shares, differing=()):
    """Trials whose outcome is known, and a list of what was tried."""
    seen = []

    def tried(_best, forms):
        seen.append(forms)
        share = shares.get(forms, 1.0)
        return None if share is None else Trial(share, forms not in differing)

    return tried, seen


ALL = ("folded", "channels-last", "autocast", "compiled")


def test_forms_are_kept_where_they_are_worth_it():
    tried, seen = fake({("folded",): 0.95, ("folded", "channels-last"): 0.96})
    assert choose(ALL, tried) == ("folded",)
    assert seen[1] == ("folded", "channels-last")


def test_what_disagrees_is_dropped_however_fast_it_is():
    tried, _ = fake({("folded",): 0.01}, differing=[("folded",)])
    assert choose(ALL, tried) == ()


def test_what_cannot_be_made_is_left_out():
    tried, seen = fake({("folded",): None, ("compiled",): 0.5})
    assert choose(("folded", "compiled"), tried) == ("compiled",)
    assert seen == [("folded",), ("compiled",)]


def test_a_form_that_changes_results_is_worth_more_or_is_not_kept():
    pair = ("autocast", "compiled")
    tried, seen = fake({("compiled",): 0.9, ("compiled", "autocast"): 0.6})
    assert choose(pair, tried) == ("compiled", "autocast")
    assert seen == [("compiled",), ("compiled", "autocast")]
    tried, _ = fake({("compiled",): 0.9, ("compiled", "autocast"): 0.85})
    assert choose(pair, tried) == ("compiled",)


def test_autocast_and_compiled_are_tried_as_a_pair_where_neither_is_worth_it_alone():
    pair = ("autocast", "compiled")
    tried, seen = fake({("compiled",): 0.97, ("autocast",): 0.9, pair: 0.55})
    assert choose(pair, tried) == pair
    assert seen == [("compiled",), ("autocast",), pair]
    tried, _ = fake({pair: 0.55}, differing=[pair])
    assert choose(pair, tried) == ()


def test_a_trial_takes_no_more_than_the_least_gain_pays_for():
    assert affordable("classifier", 0.1, 17.0) == ()
    assert affordable("classifier", 0.1, 19.0) == ("folded", "channels-last")
    assert affordable("classifier", 0.1, 1000.0) == ("folded", "channels-last", "compiled")
    assert affordable("decoder", 0.1, 19.0) == ()


def test_agreement_is_to_rounding_or_near():
    output, gradient = torch.ones(2, 3), torch.ones(2, 1, 4, 4)
    off = output.clone()
    off[0, 0] += 0.01
    assert agrees((output, gradient * 1.01), (output, gradient), exact=True)
    assert not agrees((off, gradient), (output, gradient), exact=True)
    assert agrees((off, gradient), (output, gradient), exact=False)
    assert not agrees((output, gradient * 1.1), (output, gradient), exact=True)
    assert not agrees((output * torch.nan,), (output,), exact=False)


def test_a_probe_puts_what_it_chooses_into_its_place(shared, phantoms, monkeypatch):
    loaded, expected = networks_of(shared), shared.classifier(phantoms)
    norms = norms_of(shared.classifier)
    monkeypatch.setattr(
        probe.Pass, "seconds", lambda _, network: 1.0 if norms_of(network) < norms else 2.0
    )
    task = Task(shared, "latent", settings_of("latent", {"steps": 2}), None, 0.9, Region())
    chosen = probe.probe(task, phantoms, torch.arange(4), 600)
    assert chosen == {"classifier": ["folded"], "encoder": [], "decoder": []}
    assert network_of(shared, "decoder") is loaded["decoder"]
    assert norms_of(shared.classifier.network) < norms_of(loaded["classifier"])
    torch.testing.assert_close(shared.classifier(phantoms), expected)


def test_all_stays_as_loaded_where_memory_ends_on_the_way(shared, phantoms, monkeypatch):
    loaded, norms = networks_of(shared), norms_of(shared.classifier)
    tried = []

    def seconds(one, network):
        if one.part == "decoder":
            raise RuntimeError("out of memory")
        tried.append(norms_of(network))
        return 1.0 if norms_of(network) < norms else 2.0

    monkeypatch.setattr(probe.Pass, "seconds", seconds)
    task = Task(shared, "latent", settings_of("latent", {"steps": 2}), None, 0.9, Region())
    with pytest.raises(RuntimeError, match="out of memory"):
        probe.probe(task, phantoms, torch.arange(4), 600)
    assert min(tried) < norms
    assert networks_of(shared) == loaded


def test_what_a_probe_tries_in_vain_is_taken_away_and_said(shared, phantoms, monkeypatch, caplog):
    def broken(_network):
        raise RuntimeError("no compiler")

    monkeypatch.setitem(FORMS, "compiled", Form(broken, tuple(PARTS)))
    monkeypatch.setitem(FORMS, "folded", Form(lambda _: small_network(), ("classifier",)))
    monkeypatch.setattr(probe.Pass, "seconds", lambda *_: 1.0)
    caplog.set_level("INFO")
    loaded = networks_of(shared)
    task = Task(shared, "latent", settings_of("latent", {"steps": 2}), None, 0.9, Region())
    chosen = probe.probe(task, phantoms, torch.arange(4), 100_000)
    assert chosen == {"classifier": [], "encoder": [], "decoder": []}
    assert networks_of(shared) == loaded
    assert "classifier: folded: left out, its output differs" in caplog.text
    assert "decoder: compiled cannot be had here: no compiler" in caplog.text


def test_forms_are_put_on_and_an_exact_one_that_fails_is_left_out(
    shared, phantoms, monkeypatch, caplog
):
    def broken(_network):
        raise RuntimeError("no compiler")

    monkeypatch.setitem(FORMS, "compiled", Form(broken, tuple(PARTS)))
    expected = shared.classifier(phantoms)
    before = networks_of(shared)
    put_on(shared, {"classifier": ["folded", "compiled"], "prior": ["autocast"]}, 4)
    assert "the classifier goes on without the form compiled: no compiler" in caplog.text
    assert norms_of(shared.classifier.network) < norms_of(before["classifier"])
    torch.testing.assert_close(shared.classifier(phantoms), expected)
    assert isinstance(network_of(shared, "prior"), FORMS["autocast"].make)  # pyright: ignore[reportArgumentType]
    assert network_of(shared, "decoder") is before["decoder"]


def test_a_form_that_changes_results_and_cannot_be_had_is_refused(bundle, monkeypatch):
    def broken(_network):
        raise RuntimeError("no bfloat16")

    loaded = network_of(bundle, "prior")
    monkeypatch.setitem(FORMS, "autocast", Form(broken, ("prior",), exact=False))
    with pytest.raises(ValueError, match=r"form autocast, .* got no bfloat16; go on where"):
        put_on(bundle, {"prior": ["autocast"]}, 4)
    assert network_of(bundle, "prior") is loaded


def test_forms_are_written_and_read(tmp_path):
    assert read_forms(tmp_path) is None
    forms = {"classifier": ["folded", "compiled"], "encoder": [], "prior": ["autocast"]}
    write_forms(tmp_path, forms)
    assert read_forms(tmp_path) == forms
    assert list(yaml.safe_load((tmp_path / "forms.yaml").read_text())) == list(forms)


@pytest.mark.parametrize(
    "content",
    [
        "[unclosed",
        "folded",
        "classifier: folded",
        "decoder: [folded]",
        "other: [compiled]",
        "prior: [[autocast]]",
    ],
)
def test_what_is_no_list_of_forms_is_refused(content, tmp_path):
    (tmp_path / "forms.yaml").write_text(content)
    with pytest.raises(ValueError, match=r"expected the forms of a run's networks .*forms\.yaml"):
        read_forms(tmp_path)


@pytest.fixture
def asked(tiny_bundle_path, tmp_path):
    """A quick search of eight phantoms in two pools into a run's folder."""
    given = ("--bundle", tiny_bundle_path, "--data", "phantom", "--split", "test", "--limit", 8)
    how = ("--method", "latent", "--settings.steps", 2, "--batch_size", 1)
    return ["search", *map(str, (*given, *how, "--out", tmp_path / "run"))]


@pytest.fixture
def put(monkeypatch):
    """The forms that were put on, command by command."""
    seen = []

    def noting(bundle, forms, width):
        seen.append(forms)
        put_on(bundle, forms, width)

    monkeypatch.setattr(shaping, "put_on", noting)
    return seen


def never(*_given):
    raise AssertionError("expected no probe, got one")


def test_a_short_run_stays_as_loaded(asked, put, tmp_path, monkeypatch):
    monkeypatch.setattr(shaping, "probe", never)
    assert main(asked) == 0
    assert put == [{}]
    assert read_forms(tmp_path / "run") is None


def test_a_long_run_is_probed_once_and_keeps_its_forms(asked, put, tmp_path, monkeypatch):
    given = []

    def probed(_task, images, seeds, left):
        given.append((images.shape, len(seeds), left))
        return {"classifier": ["folded"], "decoder": []}

    monkeypatch.setattr(shaping, "LONG", 8)
    monkeypatch.setattr(shaping, "probe", probed)
    assert main([*asked, "--timeout", "1e-6"]) == OUT_OF_TIME
    assert (given, put) == ([((1, 1, 64, 64), 1, 8)], [])
    monkeypatch.setattr(shaping, "probe", never)
    assert main(asked) == 0
    assert put == [{"classifier": ["folded"], "decoder": []}]
    assert len(read_run(tmp_path / "run").samples) == 8
    assert main(asked) == 0
    assert len(put) == 1  # with nothing left to search, none is made


def test_where_memory_does_not_suffice_for_a_probe_a_run_stays_as_loaded(
    asked, tmp_path, monkeypatch, caplog
):
    def too_large(*_given):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(shaping, "LONG", 1)
    monkeypatch.setattr(shaping, "probe", too_large)
    assert main(asked) == 0
    assert "not enough memory to try forms" in caplog.text
    assert read_forms(tmp_path / "run") == {}


def test_a_further_process_puts_on_what_the_first_one_has_chosen(bundle, put, tmp_path):
    forms = {"classifier": ["folded"]}
    second = Ranks(1, 2, "cpu", send=lambda _: forms, wait=lambda: None)
    task = Task(bundle, "latent", settings_of("latent"), None, 0.9, Region())
    source = open_source("phantom", bundle.classes, size=bundle.size)
    loaded = bundle.classifier.network
    work = Work(task, source, [], preprocessing_of(bundle.preprocessing, tmp_path), tmp_path)
    shaping.shape(work, [[]], set(), 2, second)
    assert put == [forms]
    assert norms_of(bundle.classifier.network) < norms_of(loaded)


def test_a_run_that_was_begun_as_loaded_ends_so(asked, put, tmp_path, monkeypatch):
    assert main([*asked, "--timeout", "1e-6"]) == OUT_OF_TIME
    monkeypatch.setattr(shaping, "LONG", 1)
    monkeypatch.setattr(shaping, "probe", never)
    assert main(asked) == 0
    assert put == [{}, {}]
    assert read_forms(tmp_path / "run") is None

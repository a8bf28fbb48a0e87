"""The table of models: what is hidden, at which width, and that nothing of the libraries' own outputs is lost."""

import resource

import pytest
import timm
import torch
import torchvision
from torch import nn

from study.nets import net as nets
from study.nets import weights
from study.nets.build import BUILDERS, build
from study.nets.compression.factorize import factorize
from study.nets.compression.quantize import quantize
from study.nets.fold import folded
from study.spec import models
from study.spec.config import Build
from study.spec.datasets import MODELS
from study.spec.errors import UsageError
from study.spec.knobs import KNOBS
from study.sweep.plan import costs

STATS = ((0.5,) * 3, (0.25,) * 3)
SMALL = {  # of each model a net of seconds
    "cnn": Build(model="cnn"),
    "cnn8": Build(model="cnn8", width_multiplier=0.5),
    "resnet18": Build(model="resnet18", width_multiplier=0.25, stem="small"),
    "wrn50_2": Build(model="wrn50_2", width_multiplier=0.125),
    "vgg16": Build(model="vgg16", width_multiplier=0.25),
    "vit": Build(model="vit", width=64, depth=2, patch_size=8),
}


def made(config, classes=10, seed=0):
    return build(config, (3, 32, 32), classes, STATS, seed)


def on_meta(config, classes=10):
    """The net without memory for its weights: shapes alone."""
    with torch.device("meta"):
        return made(config, classes)


def images(n=2, side=32):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(1))


def test_every_model_of_the_table_has_a_builder():
    assert tuple(BUILDERS) == MODELS == tuple(models.MODELS)


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (Build(model="cnn"), 3),
        (Build(model="resnet18"), 8 * 2 + 3),
        (Build(model="wrn50_2"), 16 * 3 + 4),
        (Build(model="wrn101_2"), 33 * 3 + 4),
        (Build(model="vgg16"), 12),
        (Build(model="vit", width=64, depth=3), 3 * 6),
        (Build(model="vit_b8"), 12 * 6),
        (Build(model="swin_t"), (2 + 2 + 6 + 2) * 6),
    ],
)
def test_all_layers_but_the_first_and_the_head_are_hidden(config, count):
    """Heads are known by their place: as many classes as a hidden layer is wide change nothing."""
    for classes in (10, 64):
        net = on_meta(config, classes)
        assert len(net.hidden) == count
        every = list(nets.weighted(net))
        assert every[-1] not in net.hidden
        assert every[0] not in net.hidden
        assert nets.matrix(nets.head(net)).shape[0] == classes
        merging = [name for name in every if "reduction" in name]
        assert len(merging) == (3 if config.model == "swin_t" else 0)
        assert set(every) - set(net.hidden) == {every[0], every[-1], *merging}
        assert len(nets.weight_matrices(net)) == count, "q, k, v are three layers and three matrices"


def test_the_net_of_paper_c_takes_images_as_they_come_and_hides_its_first_convolution_too():
    """Six convolutions and a dense layer on 4 x 4 positions: 549,994 weights and biases on images of 28 pixels."""
    net = build(Build(model="cnn8"), (1, 28, 28), 10, ((0.5,), (0.25,)), 0)
    assert net.hidden == (*(f"conv{i}" for i in range(1, 7)), "dense")
    assert channels(net) == [32, 32, 64, 64, 128, 128]
    convolutions = sum(9 * i * o + o for i, o in [(1, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128)])
    assert sum(p.numel() for p in net.parameters()) == convolutions + 2048 * 128 + 128 + 1280 + 10
    given = []
    net.body.conv1.register_forward_pre_hook(lambda m, x: given.append(tuple(x[0].shape)))
    net(torch.rand(2, 1, 28, 28))
    assert given == [(2, 1, 28, 28)], "neither enlarged nor given three channels"


def channels(net):
    return [m.out_channels for m in net.body.modules() if isinstance(m, nn.Conv2d)]


def test_a_quarter_of_the_width():
    quarter = on_meta(Build(model="resnet18", width_multiplier=0.25))
    stages = [getattr(quarter.body, f"layer{i}") for i in (1, 2, 3, 4)]
    assert [{m.out_channels for m in s.modules() if isinstance(m, nn.Conv2d)} for s in stages] == [
        {16},
        {32},
        {64},
        {128},
    ]
    assert channels(quarter)[0] == 16
    assert quarter.body.fc.in_features == 128
    wide = on_meta(Build(model="wrn50_2", width_multiplier=0.25)).body.layer1[0]
    assert [c.out_channels for c in (wide.conv1, wide.conv2, wide.conv3)] == [32, 32, 64]
    assert channels(on_meta(Build(model="vgg16", width_multiplier=0.25))) == [16] * 2 + [32] * 2 + [64] * 3 + [128] * 6
    assert channels(on_meta(Build(model="cnn", width_multiplier=2.0))) == [64, 128, 128, 256]
    assert min(channels(on_meta(Build(model="resnet18", width_multiplier=0.001)))) == 1


def test_at_another_width_weights_are_drawn_as_at_the_published_one():
    """Kaiming normal by outputs: deviation sqrt(2 / (out kh kw)) in each convolution of the narrow net too."""
    for model in ("resnet18", "vgg16"):
        for factor in (1.0, 0.5):
            for conv in (
                m for m in made(Build(model=model, width_multiplier=factor)).modules() if isinstance(m, nn.Conv2d)
            ):
                if conv.weight.numel() > 10_000:
                    expected = (2 / (conv.out_channels * conv.kernel_size[0] ** 2)) ** 0.5
                    assert float(conv.weight.detach().std()) == pytest.approx(expected, rel=0.05)


def test_the_small_stem_leaves_every_pixel_to_the_blocks():
    sides = []
    for stem in ("published", "small"):
        net = made(Build(model="resnet18", width_multiplier=0.25, stem=stem)).eval()
        net.body.layer1.register_forward_pre_hook(lambda m, given: sides.append(tuple(given[0].shape[1:])))
        net(images())
    assert sides == [(16, 8, 8), (16, 32, 32)]


def test_patches_are_of_the_size_that_is_asked_for():
    net = on_meta(Build(model="vit", width=64, depth=1, patch_size=8))
    assert net.body.patch_embed.proj.weight.shape == (64, 3, 8, 8)
    assert net.body.pos_embed.shape == (1, 1 + 16, 64)
    with pytest.raises(ValueError, match="patch_size must be at most the image's 32 pixels, got 64"):
        on_meta(Build(model="vit", width=64, patch_size=64))


@torch.no_grad()
def test_a_split_vit_gives_what_timms_own_gives_from_the_same_draws():
    config = Build(model="vit", width=64, depth=2)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        own = timm.models.VisionTransformer(
            img_size=32, patch_size=4, num_classes=10, embed_dim=64, depth=2, num_heads=2
        )
    net = made(config, seed=5)
    x = images()
    assert torch.equal(net.eval()(x), own.eval()((x - 0.5) / 0.25))


@torch.no_grad()
@pytest.mark.parametrize("side", [64, 70])
def test_a_split_swin_gives_what_torchvisions_own_gives(side):
    """70 pixels: no window fits, so that frames, shifts and their masks are all at work."""
    torch.manual_seed(0)
    own = torchvision.models.swin_t(weights=None, num_classes=10).eval()
    net = made(Build(model="swin_t")).eval()
    weights.place(net, own.state_dict(), "torchvision's")
    assert torch.equal(net.body(images(side=side)), own(images(side=side)))


@pytest.mark.parametrize("model", SMALL)
def test_weights_come_from_the_seed_alone(model):
    torch.manual_seed(7)
    a, state = made(SMALL[model], seed=1), torch.get_rng_state()
    b = made(SMALL[model], seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(nets.head(a).weight, nets.head(made(SMALL[model], seed=2)).weight)


def unrest(net):
    """BatchNorms as training leaves them: statistics and scales of their own."""
    stream = torch.Generator().manual_seed(3)
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            for tensor, low in (
                (m.running_var, 0.5),
                (m.weight.data, 0.5),
                (m.running_mean, -0.2),
                (m.bias.data, -0.2),
            ):
                tensor.copy_(low + torch.rand(tensor.shape, generator=stream))
    return net.eval()


@torch.no_grad()
@pytest.mark.parametrize("model", SMALL)
@pytest.mark.parametrize("rank", [0, 3])
def test_attacks_meet_the_same_net_with_its_norms_folded(model, rank):
    net = made(SMALL[model])
    net = unrest(factorize(net, rank, 0) if rank else net)
    small, x = folded(net, images(4)), images(4)
    left = [m for m in small.modules() if isinstance(m, nn.BatchNorm2d)]
    assert left == []
    assert (small is net) == (model in ("cnn8", "vgg16", "vit")), "those have no BatchNorm"
    assert torch.allclose(small(x), net(x), atol=1e-4 * float(net(x).abs().max()))


@torch.no_grad()
@pytest.mark.parametrize("model", [*SMALL, pytest.param("swin_t", marks=pytest.mark.slow)])
def test_a_low_rank_net_is_the_dense_net_of_its_products(model):
    dense = made(SMALL.get(model, Build(model=model))).eval()
    low = factorize(dense, 4, 0).eval()
    ranks = {name: int(torch.linalg.matrix_rank(W)) for name, W in nets.weight_matrices(low).items()}
    assert all(
        r == min(4, *nets.matrix(m).shape) for r, m in zip(ranks.values(), nets.layers(low).values(), strict=True)
    )
    for name, layer in nets.layers(low).items():
        nets.set_matrix(nets.layers(dense)[name], nets.matrix(layer))
    x = images()
    assert torch.allclose(low(x), dense(x), atol=1e-4 * float(dense(x).abs().max()))


@torch.no_grad()
@pytest.mark.parametrize("model", ["vit", pytest.param("swin_t", marks=pytest.mark.slow)])
def test_every_layer_of_a_transformer_is_called_so_that_its_inputs_can_be_quantized(model):
    net = made(SMALL.get(model, Build(model=model))).eval()
    eight = quantize(net, 8, [images(4)])
    layers = nets.weighted(eight)
    called = set()
    for name, layer in layers.items():
        layer.register_forward_hook(lambda m, given, out, name=name: called.add(name))
    x = images()
    assert torch.allclose(eight(x), net(x), atol=0.1 * float(net(x).abs().max()))
    assert called == set(layers)


@torch.no_grad()
@pytest.mark.parametrize("model", [name for name in models.MODELS if name != "fcn"])
def test_what_a_plan_believes_of_a_model_is_what_is_counted_on_it(model):
    """Multiply-adds and parameters, within 2 % of the layers' own (a vit's first and last layers are left out)."""
    config = Build(model=model, width=192, depth=6) if model in ("vit", "attention_block") else Build(model=model)
    settings = {name: knob.default for name, knob in KNOBS.items()} | {"width": config.width, "depth": config.depth}
    net, madds = on_meta(config).eval(), []
    for layer in nets.weighted(net).values():
        layer.register_forward_hook(lambda m, given, out: madds.append(out.numel() // len(m.weight) * m.weight.numel()))
    side = net.size or 32
    net.body(torch.zeros(1, 3, side, side, device="meta"))
    assert costs.multiplications(model, "cifar10", settings) == pytest.approx(sum(madds), rel=0.02)
    parameters = sum(p.numel() for p in net.parameters())
    assert costs.parameters(model, "cifar10", settings) == pytest.approx(parameters, rel=0.02)


def test_a_plan_counts_the_width_and_the_stem():
    settings = {name: knob.default for name, knob in KNOBS.items()}
    one = costs.multiplications("resnet18", "cifar10", settings)
    assert costs.multiplications("resnet18", "cifar10", settings | {"width_multiplier": 0.25}) == one / 16
    assert costs.multiplications("resnet18", "cifar10", settings | {"stem": "small"}) == 16 * one
    four = costs.multiplications("vit", "cifar10", settings)
    assert costs.multiplications("vit", "cifar10", settings | {"patch_size": 8}) == four / 4


def test_what_a_model_does_not_take_is_refused_where_it_is_built():
    with pytest.raises(UsageError, match="stem: it goes with model resnet18, wrn50_2, wrn101_2, got vgg16"):
        made(Build(model="vgg16", stem="small"))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["resnet18", "wrn50_2", "wrn101_2", "vgg16", "vit_b8", "swin_t"])
def test_two_images_go_through_a_model_of_full_size_and_back_within_24_gigabytes(model):
    net = made(Build(model=model))
    nn.functional.cross_entropy(net(images()), torch.tensor([0, 1])).backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in net.parameters())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 24e6  # kilobytes

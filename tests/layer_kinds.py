"""A small net of every kind of layer, on images (1, 8, 8) of ten classes, by the row of docs/extending.md's table that
speaks of it; with the multiply-adds of an image, done by hand."""

import torch
from torch import nn
from torch.nn.functional import relu
from torch.nn.utils import parametrizations, parametrize

from tests.foreign_cases import CLASSES, Kind

NORMED = 4608 + 36 * 9 * 48 + 16 * 9 * 48 + 80
DENSE = 64 * 16 + 2 * 16 * 16 + 160
TOKENS = 8 * 64 + 2 * 8 * 8 * 12 + 80


def after(middle, high=8, wide=8, channels=8):
    """The multiply-adds of `convolutional`, whose middle layer takes so many and gives such images."""
    return 64 * 8 * 9 + middle + (high - 2) * (wide - 2) * 9 * channels * 6 + 60


def stem():
    return nn.Conv2d(1, 8, 3, padding=1)


def convolutional(*middle, channels=8):
    """A stem, `middle` beside a layer of its own, pooling, a head."""

    def way(net, x):
        return net.head(relu(net.last(relu(net.middle(relu(net.stem(x)))))).mean((2, 3)))

    layers = {"stem": stem(), "middle": nn.Sequential(*middle), "last": nn.Conv2d(channels, 6, 3)}
    return Kind(way, **layers, head=nn.Linear(6, CLASSES))


def tokens(adding, **layers):
    """Eight rows of eight pixels as tokens, to which something is added, two dense layers, the mean token, a head."""

    def way(net, x):
        h = net.embed(x[:, 0])
        h = h + adding(net, h)
        return net.head((h + net.fc2(relu(net.fc1(h)))).mean(1))

    return Kind(way, embed=nn.Linear(8, 8), **layers, fc1=nn.Linear(8, 12), fc2=nn.Linear(12, 8),
                head=nn.Linear(8, CLASSES))  # fmt: skip


def normed(first, second):
    """A stem, two convolutions with norms, pooling, a head."""

    def way(net, x):
        h = relu(net.n1(net.a(relu(net.stem(x)))))
        return net.head(relu(net.n2(net.b(h))).mean((2, 3)))

    layers = {"stem": stem(), "a": nn.Conv2d(8, 6, 3), "n1": first, "b": nn.Conv2d(6, 8, 3), "n2": second}
    return Kind(way, **layers, head=nn.Linear(8, CLASSES))


def dense(b, c, *more):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), b, nn.ReLU(), c, nn.ReLU(), *more,
                         nn.Linear(16, CLASSES))  # fmt: skip


def residual():
    def way(net, x):
        h = relu(net.stem(x))
        return net.head(relu(h + net.b(relu(net.a(h)))).mean((2, 3)))

    layers = {"stem": stem(), "a": nn.Conv2d(8, 6, 3, padding=1), "b": nn.Conv2d(6, 8, 3, padding=1)}
    return Kind(way, **layers, head=nn.Linear(8, CLASSES))


def joined():
    """Channels beside each other, and a norm of them all."""

    def way(net, x):
        h = relu(net.stem(x))
        return net.head(relu(net.b(relu(net.norm(torch.cat([h, relu(net.a(h))], 1))))).mean((2, 3)))

    layers = {"stem": stem(), "a": nn.Conv2d(8, 6, 3, padding=1), "norm": nn.BatchNorm2d(14), "b": nn.Conv2d(14, 8, 3)}
    return Kind(way, **layers, head=nn.Linear(8, CLASSES))


def parted(between, channels):
    """A convolution of twelve channels, of which something by their places makes others."""

    def way(net, x):
        return net.head(relu(net.last(between(net.a(relu(net.stem(x)))))).mean((2, 3)))

    layers = {"stem": stem(), "a": nn.Conv2d(8, 12, 3, padding=1), "last": nn.Conv2d(channels, 6, 3, padding=1)}
    return Kind(way, **layers, head=nn.Linear(6, CLASSES))


def shuffled(h):
    return h.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2).relu()


def gated(h):
    u, v = h.chunk(2, 1)
    return u * v.sigmoid()


def split_twice():
    """Joined, multiplied by halves, split and joined again."""

    def way(net, x):
        a = relu(net.a(relu(net.stem(x))))
        u, v = torch.cat([a, relu(net.b(a))], 1).chunk(2, 1)
        left, right = (u * v).chunk(2, 1)
        return net.head(torch.cat([relu(net.c(left)), right, a], 1).mean((2, 3)))

    layers = {"stem": stem(), **{name: nn.Conv2d(n, 8, 3, padding=1) for name, n in (("a", 8), ("b", 8), ("c", 4))}}
    return Kind(way, **layers, head=nn.Linear(20, CLASSES))


def of_one_weight(net, first, second):
    net.get_submodule(second).weight = net.get_submodule(first).weight
    return net


def two_names():
    def way(net, x):
        return net.head(relu(net.again(relu(net.b(relu(net.a(x.flatten(1))))))))

    net = Kind(way, a=nn.Linear(64, 16), b=nn.Linear(16, 16), head=nn.Linear(16, CLASSES))
    net.again = net.b
    return net


def called_twice():
    b = nn.Linear(16, 16)
    return dense(b, b)


def read():
    def way(net, x):
        return net.head(relu(nn.functional.linear(relu(net.a(x.flatten(1))), net.b.weight, net.b.bias)))

    return Kind(way, a=nn.Linear(64, 16), b=nn.Linear(16, 16), head=nn.Linear(16, CLASSES))


class Standardised(nn.Conv2d):
    """Filters of mean 0 and norm 1, whatever is stored."""

    def forward(self, x):
        W = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return self._conv_forward(x, W / (W.square().sum((1, 2, 3), keepdim=True) + 1e-9).sqrt(), self.bias)


class Squashed(nn.Module):
    """Weights between -1 and 1."""

    def forward(self, W):
        return W.tanh()


def squashed(layer):
    parametrize.register_parametrization(layer, "weight", Squashed())
    return layer


class Volume(nn.Conv3d):
    """Channels as a third side."""

    def forward(self, x):
        return super().forward(x[:, None])[:, 0]


def hooked(net, layer):
    """Inputs scaled, outputs clipped and tripled, by hooks."""
    net.get_submodule(layer).register_forward_pre_hook(lambda m, given: (given[0] / 2,))
    net.get_submodule(layer).register_forward_hook(lambda m, given, out: out.clamp(-0.2, 0.2) * 3)
    return net


def convolution(**how):
    return lambda: convolutional(nn.Conv2d(8, 8, 3, **how))


def memory(kind):
    return lambda: tokens(lambda net, h: net.memory(h)[0], memory=kind(8, 8, batch_first=True))


def normalised(kind):
    return lambda: dense(kind(nn.Linear(16, 16)), nn.Linear(16, 16))


ROWS = {
    "residual path": {"residual": (residual, 4608 + 2 * 64 * 9 * 48 + 80)},
    "BatchNorm, InstanceNorm": {
        "BatchNorm2d": (lambda: normed(nn.BatchNorm2d(6), nn.BatchNorm2d(8)), NORMED),
        "InstanceNorm2d": (lambda: normed(nn.InstanceNorm2d(6, affine=True), nn.InstanceNorm2d(8)), NORMED),
    },
    "LayerNorm, GroupNorm": {
        "LayerNorm": (lambda: tokens(lambda net, h: net.norm(h), norm=nn.LayerNorm(8)), TOKENS),
        "GroupNorm": (lambda: normed(nn.GroupNorm(2, 6), nn.GroupNorm(2, 8)), NORMED),
    },
    "PReLU": {
        "one slope": (lambda: convolutional(nn.Conv2d(8, 8, 3, padding=1), nn.PReLU()), after(64 * 9 * 64)),
        "a slope per channel": (lambda: convolutional(nn.Conv2d(8, 8, 3, padding=1), nn.PReLU(8)), after(64 * 9 * 64)),
        "one slope before a flattening": (
            lambda: nn.Sequential(stem(), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.PReLU(), nn.Flatten(), nn.Linear(216, 10)),
            4608 + 36 * 9 * 48 + 2160,
        ),
    },
    "channels joined (`cat`)": {"joined": (joined, 4608 + 64 * 9 * 48 + 36 * 9 * 112 + 80)},
    "channels split, shuffled or multiplied by halves": {
        "gated": (lambda: parted(gated, 6), 4608 + 64 * 9 * 96 + 64 * 9 * 36 + 60),
        "shuffled": (lambda: parted(shuffled, 12), 4608 + 64 * 9 * 96 + 64 * 9 * 72 + 60),
        "maxout": (
            lambda: parted(lambda h: h.unflatten(1, (6, 2)).amax(2), 6), 4608 + 64 * 9 * 96 + 64 * 9 * 36 + 60,
        ),
        "split twice": (split_twice, 4608 + 64 * 9 * (64 + 64 + 32) + 200),
    },
    "Dropout": {"Dropout": (lambda: dense(nn.Linear(16, 16), nn.Linear(16, 16), nn.Dropout(0.3)), DENSE)},
    "Conv2d in groups, depthwise": {
        "two groups": (convolution(padding=1, groups=2), after(64 * 8 * 4 * 9)),
        "depthwise": (convolution(padding=1, groups=8), after(64 * 8 * 9)),
        "circular, strided, in groups": (
            convolution(padding=1, stride=2, groups=2, padding_mode="circular"), after(16 * 9 * 32, 4, 4),
        ),
    },
    "Conv2d to or from one channel": {
        "to one": (lambda: convolutional(nn.Conv2d(8, 1, 3, padding=1), channels=1), after(64 * 72, channels=1)),
        "from one": (
            lambda: convolutional(nn.Conv2d(8, 1, 3, padding=1), nn.ReLU(), nn.Conv2d(1, 8, 3, padding=1)),
            after(2 * 64 * 72),
        ),
    },
    "Conv2d strided, dilated, padded `same`, `circular`, `reflect`, `replicate`": {
        "strided": (convolution(padding=1, stride=(1, 2)), after(32 * 9 * 64, 8, 4)),
        "dilated, same": (convolution(padding="same", dilation=2), after(64 * 9 * 64)),
        "circular": (convolution(padding=1, padding_mode="circular"), after(64 * 9 * 64)),
        "reflect": (convolution(padding=1, padding_mode="reflect"), after(64 * 9 * 64)),
        "replicate": (convolution(padding=(2, 1), padding_mode="replicate"), after(80 * 9 * 64, 10)),
    },
    "two layers of one weight": {
        "Linear": (lambda: of_one_weight(dense(nn.Linear(16, 16), nn.Linear(16, 16)), "3", "5"), DENSE),
        "Conv2d": (
            lambda: of_one_weight(
                convolutional(nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3)), "middle.0", "middle.2"
            ),
            after(36 * 9 * 64 + 16 * 9 * 64, 4, 4),
        ),
    },
    "a layer called twice, or of two names": {
        "called twice": (called_twice, DENSE), "two names": (two_names, DENSE),
    },
    "a layer whose weight is read while it is never called": {"read": (read, 64 * 16 + 256 + 160)},
    "a layer with a forward pass of its own": {
        "weight standardisation": (lambda: convolutional(Standardised(8, 8, 3, padding=1)), after(64 * 9 * 64)),
    },
    "a layer with forward hooks": {
        "a hooked Linear": (lambda: hooked(dense(nn.Linear(16, 16), nn.Linear(16, 16)), "3"), DENSE),
        "a hooked Conv2d": (lambda: hooked(convolution(padding=1)(), "middle.0"), after(64 * 9 * 64)),
    },
    "`weight_norm`": {"weight_norm": (normalised(parametrizations.weight_norm), DENSE)},
    "`spectral_norm`, other parametrizations": {
        "spectral_norm": (normalised(parametrizations.spectral_norm), DENSE),
        "squashed": (normalised(squashed), DENSE),
    },
    "ConvTranspose2d": {
        "ConvTranspose2d": (lambda: convolutional(nn.ConvTranspose2d(8, 8, 3)), after(64 * 9 * 64, 10, 10)),
    },
    "Conv1d, Conv3d, LSTM, GRU, Bilinear, Embedding, a bare parameter": {
        "Conv3d": (
            lambda: convolutional(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), Volume(1, 1, 3, padding=1)),
            after(64 * 9 * 64 + 512 * 27),
        ),
        "Conv1d": (lambda: tokens(lambda net, h: net.along(h), along=nn.Conv1d(8, 8, 3, padding=1)), TOKENS + 8 * 192),
        "LSTM": (memory(nn.LSTM), TOKENS + 8 * 4 * 128),
        "GRU": (memory(nn.GRU), TOKENS + 8 * 3 * 128),
        "Bilinear": (lambda: tokens(lambda net, h: net.pair(h, h), pair=nn.Bilinear(8, 8, 8)), TOKENS + 8 * 512),
        "Embedding": (lambda: tokens(lambda net, h: net.place(torch.arange(8)), place=nn.Embedding(8, 8)), TOKENS),
        "a bare parameter": (
            lambda: tokens(lambda net, h: relu(h @ net.W), W=nn.Parameter(torch.randn(8, 8))), TOKENS + 8 * 64,
        ),
    },
    "MultiheadAttention, TransformerEncoderLayer": {
        "MultiheadAttention": (
            lambda: tokens(
                lambda net, h: net.mix(h, h, h, need_weights=False)[0],
                mix=nn.MultiheadAttention(8, 2, batch_first=True),
            ),
            TOKENS + 8 * 4 * 64 + 2 * 64 * 8,
        ),
        "TransformerEncoderLayer": (
            lambda: tokens(lambda net, h: net.layer(h), layer=nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)),
            TOKENS + 8 * 4 * 64 + 2 * 64 * 8 + 8 * 2 * 128,
        ),
    },
}  # fmt: skip

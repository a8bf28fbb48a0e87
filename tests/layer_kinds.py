"""A small net of every kind of layer, on images (1, 8, 8) of ten classes: the rows of a table in docs/extending.md."""

import torch
from torch import nn
from torch.nn.functional import relu
from torch.nn.utils import parametrizations

SHAPE, CLASSES = (1, 8, 8), 10


class Kind(nn.Module):
    """Layers in the order in which they are given, called by a function of the module and images."""

    def __init__(self, way, **layers):
        super().__init__()
        self.way = way
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self.way(self, x)


def convolutional(middle, channels=8, **more):
    """A stem, `middle` beside two layers of its own, pooling, a head."""

    def way(net, x):
        h = relu(net.middle(relu(net.stem(x))))
        return net.head(relu(net.last(h)).mean((2, 3)))

    return Kind(way, stem=nn.Conv2d(1, 8, 3, padding=1), middle=middle, last=nn.Conv2d(channels, 6, 3),
                head=nn.Linear(6, CLASSES), **more)  # fmt: skip


def tokens(way, width=8, **layers):
    """Eight rows of eight pixels as tokens, `way` among them, two dense layers, the mean token, a head."""

    def whole(net, x):
        h = way(net, net.embed(x[:, 0]))
        return net.head((h + net.fc2(relu(net.fc1(h)))).mean(1))

    return Kind(whole, embed=nn.Linear(8, width), **layers, fc1=nn.Linear(width, 12), fc2=nn.Linear(12, width),
                head=nn.Linear(width, CLASSES))  # fmt: skip


def residual():
    def way(net, x):
        h = relu(net.stem(x))
        h = relu(h + net.b(relu(net.a(h))))
        return net.head(h.mean((2, 3)))

    return Kind(way, stem=nn.Conv2d(1, 8, 3, padding=1), a=nn.Conv2d(8, 6, 3, padding=1), b=nn.Conv2d(6, 8, 3, padding=1),
                head=nn.Linear(8, CLASSES))  # fmt: skip


def normed(*norms):
    def way(net, x):
        h = relu(net.n1(net.a(relu(net.stem(x)))))
        return net.head(relu(net.n2(net.b(h))).mean((2, 3)))

    return Kind(way, stem=nn.Conv2d(1, 8, 3, padding=1), a=nn.Conv2d(8, 6, 3), n1=norms[0], b=nn.Conv2d(6, 8, 3), n2=norms[1],
                head=nn.Linear(8, CLASSES))  # fmt: skip


def dense(b, c, *more):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), b, nn.ReLU(), c, nn.ReLU(), *more,
                         nn.Linear(16, CLASSES))  # fmt: skip


def two_names():
    b, c = nn.Linear(16, 16), nn.Linear(16, 16)
    c.weight = b.weight
    return dense(b, c)


def tied_convolutions():
    net = normed(nn.Identity(), nn.Identity())
    net.a, net.b = nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3)
    net.b.weight = net.a.weight
    return net


def called_twice():
    b = nn.Linear(16, 16)
    return dense(b, b)


def one_layer_of_two_names():
    net = Kind(lambda n, x: n.head(relu(n.again(relu(n.b(relu(n.a(x.flatten(1)))))))),
               a=nn.Linear(64, 16), b=nn.Linear(16, 16), head=nn.Linear(16, CLASSES))  # fmt: skip
    net.again = net.b
    return net


def read_not_called():
    return Kind(lambda n, x: n.head(relu(nn.functional.linear(relu(n.a(x.flatten(1))), n.b.weight, n.b.bias))),
                a=nn.Linear(64, 16), b=nn.Linear(16, 16), head=nn.Linear(16, CLASSES))  # fmt: skip


class Mixing(nn.MultiheadAttention):
    pass


def attention():
    return tokens(lambda net, h: h + net.mix(h, h, h, need_weights=False)[0],
                  mix=nn.MultiheadAttention(8, 2, batch_first=True))  # fmt: skip


def transformer():
    return tokens(lambda net, h: net.layer(h), layer=nn.TransformerEncoderLayer(8, 2, 16, batch_first=True))


def embeddings():
    def way(net, h):
        return h + net.place(torch.arange(8)) + net.bias

    return tokens(way, place=nn.Embedding(8, 8), bias=nn.Parameter(torch.randn(1, 8, 8)))


def upsampling():
    return convolutional(nn.ConvTranspose2d(8, 8, 3))


def one_dimensional():
    return tokens(lambda net, h: h + relu(net.along(h)), along=nn.Conv1d(8, 8, 3, padding=1))


def volumes():
    net = convolutional(nn.Conv2d(8, 8, 3, padding=1), deep=nn.Conv3d(1, 1, 3, padding=1))
    net.way = lambda n, x: n.head(
        relu(n.last(relu(n.middle(relu(n.deep(relu(n.stem(x))[:, None])[:, 0]))))).mean((2, 3))
    )
    return net


def recurrent(kind):
    return lambda: tokens(lambda net, h: h + net.memory(h)[0], memory=kind(8, 8, batch_first=True))


def bilinear():
    return tokens(lambda net, h: h + net.pair(h, h), pair=nn.Bilinear(8, 8, 8))


def bare():
    return tokens(lambda net, h: h + relu(h @ net.W), W=nn.Parameter(torch.randn(8, 8)))


def parametrized(wrap):
    return lambda: dense(wrap(nn.Linear(16, 16)), nn.Linear(16, 16))


NETS = {
    "residual": residual,
    "grouped": lambda: convolutional(nn.Conv2d(8, 8, 3, padding=1, groups=2)),
    "depthwise": lambda: convolutional(nn.Conv2d(8, 8, 3, padding=1, groups=8)),
    "to one channel": lambda: convolutional(nn.Conv2d(8, 1, 3, padding=1), 1),
    "from one channel": lambda: convolutional(
        nn.Sequential(nn.Conv2d(8, 1, 3, padding=1), nn.ReLU(), nn.Conv2d(1, 8, 3, padding=1))
    ),
    "two layers of one weight": two_names,
    "two convolutions of one weight": tied_convolutions,
    "a layer called twice": called_twice,
    "one layer of two names": one_layer_of_two_names,
    "read, not called": read_not_called,
    "ConvTranspose2d": upsampling,
    "Conv1d": one_dimensional,
    "Conv3d": volumes,
    "MultiheadAttention": attention,
    "TransformerEncoderLayer": transformer,
    "LayerNorm": lambda: tokens(lambda net, h: net.norm(h), norm=nn.LayerNorm(8)),
    "GroupNorm": lambda: normed(nn.GroupNorm(2, 6), nn.GroupNorm(2, 8)),
    "InstanceNorm2d": lambda: normed(nn.InstanceNorm2d(6, affine=True), nn.InstanceNorm2d(8)),
    "BatchNorm2d": lambda: normed(nn.BatchNorm2d(6), nn.BatchNorm2d(8)),
    "Dropout": lambda: dense(nn.Linear(16, 16), nn.Linear(16, 16), nn.Dropout(0.3)),
    "Embedding": embeddings,
    "weight_norm": parametrized(parametrizations.weight_norm),
    "spectral_norm": parametrized(parametrizations.spectral_norm),
    "circular": lambda: convolutional(nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular")),
    "reflect": lambda: convolutional(nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect")),
    "replicate": lambda: convolutional(nn.Conv2d(8, 8, 3, padding=1, padding_mode="replicate")),
    "padding same": lambda: convolutional(nn.Conv2d(8, 8, 3, padding="same", dilation=2)),
    "dilated": lambda: convolutional(nn.Conv2d(8, 8, 3, padding=2, dilation=2)),
    "strided": lambda: convolutional(nn.Conv2d(8, 8, 3, padding=1, stride=(1, 2))),
    "Bilinear": bilinear,
    "LSTM": recurrent(nn.LSTM),
    "GRU": recurrent(nn.GRU),
    "a bare parameter": bare,
}

"""Two nets of nobody's library, a residual one with BatchNorm and a transformer, and a study that trains what it
compresses."""

import torch
from torch import nn

from search_spaces.audit import SETTINGS
from study.spec.studies import Arm, Preset, Study


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.short = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        return torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))) + self.short(x))


class ResNet(nn.Module):
    """A stem, two blocks, pooling, a head."""

    def __init__(self, channels, classes):
        super().__init__()
        self.stem, self.bn = nn.Conv2d(channels, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8)
        self.blocks = nn.Sequential(Block(8, 8, 1), Block(8, 16, 2))
        self.fc = nn.Linear(16, classes)

    def forward(self, x):
        return self.fc(self.blocks(torch.relu(self.bn(self.stem(x)))).mean((2, 3)))


class Attention(nn.Module):
    """Two heads over tokens (N, T, width)."""

    def __init__(self, width):
        super().__init__()
        self.q, self.k, self.v, self.proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x):
        n, tokens, width = x.shape
        q, k, v = (layer(x).view(n, tokens, 2, -1).transpose(1, 2) for layer in (self.q, self.k, self.v))
        mixed = torch.softmax(q @ k.transpose(-1, -2) * (width / 2) ** -0.5, -1) @ v
        return self.proj(mixed.transpose(1, 2).reshape(n, tokens, width))


class ViT(nn.Module):
    """Patches of 2 x 2 pixels, one block, the mean token, a head."""

    def __init__(self, shape, classes, width=16):
        super().__init__()
        self.patch = nn.Conv2d(shape[0], width, 2, 2)
        self.place = nn.Parameter(0.02 * torch.randn(1, shape[1] * shape[2] // 4, width))
        self.norm1, self.attn, self.norm2 = nn.LayerNorm(width), Attention(width), nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2) + self.place
        x = x + self.attn(self.norm1(x))
        x = x + self.fc2(nn.functional.gelu(self.fc1(self.norm2(x))))
        return self.head(self.norm(x).mean(1))


def resnet(shape, classes):
    return ResNet(shape[0], classes)


def vit(shape, classes):
    return ViT(shape, classes)


WAYS = {"keep_prob": (0.5,), "prune_ratio": (0.5,), "factorize_ratio": (0.5,), "bits": (4,)}
TINY = {"test_size": 40, "attack_iterations": 3, "gap_iterations": 2, "second_images": 20, "audit_queries": 5}


def trains(ways):
    """The net as it is and one level of each way, all trained in the sweep."""
    axes = [{"frobenius": (0.0,)}, *({"frobenius": (0.0,), way: WAYS[way]} for way in ways)]
    arms = tuple(Arm(name=[*a][-1], family="compressed", axes=a) for a in axes)
    settings = SETTINGS | TINY | {"epochs": 6, "learning_rate": 0.01, "batch_size": 64, "train_size": 700}
    laptop = Preset(
        arms=arms, seeds=(0,), settings=settings | {"eps_linf": (8 / 255, 16 / 255), "judged_linf": 16 / 255}
    )
    return Study(name="trained", question="What does a sweep find of the same net?", presets={"laptop": laptop})


ALL = trains(WAYS)
SOME = trains([way for way in WAYS if way != "prune_ratio"])

"""Bytes that live at once in a forward pass, counted by hand: image 8 x 8, 256 bytes in float32."""

import pytest
import torch
from torch import nn

from study.nets.compression.quantize import quantize
from study.nets.net import Net
from study.trial.measures.memory import inference_bytes

IMAGE = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
X = 256  # the normalised image, which the shell holds to the end


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x):
        return torch.relu(self.conv(x)) + x


class Forgetful(nn.Module):
    """Makes a large tensor of which nothing is left, and a view, which is none."""

    def forward(self, x):
        large = x.expand(1, 100, 8, 8).contiguous()
        del large
        return x.view(1, 64)[:, :10]


def net(*body):
    return Net(nn.Sequential(*body), (0.5,), (0.25,), ()).eval()


@pytest.mark.parametrize(
    ("body", "bytes_"),
    [
        ([nn.Flatten()], 2 * X),  # the difference to the mean while it is divided
        # 4 channels before and after the ReLU
        ([nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10)], X + 2 * 1024),
        # in place: 4 channels and the logits
        ([nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(256, 10)], X + 1024 + 40),
        ([nn.Conv2d(1, 4, 3, padding=1), nn.MaxPool2d(8), nn.Flatten()], X + 1024 + 16 + 4 * 8),  # values, where
        ([Residual(), nn.Flatten()], X + 2 * 256),
        ([Forgetful()], X + 25600),
    ],
)
def test_live_bytes_by_hand(body, bytes_):
    made = net(*body)
    assert inference_bytes(made, IMAGE) == bytes_
    assert inference_bytes(made, IMAGE) == bytes_, "the same again"


def test_a_batch_takes_as_much_for_each_image():
    made = net(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10))
    assert inference_bytes(made, IMAGE.expand(7, 1, 8, 8)) == 7 * (X + 2 * 1024)


def test_simulated_rounding_takes_memory_of_its_own():
    made = net(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10))
    simulated = quantize(made, 8, [IMAGE])
    # the rounded activations in float32, and of each a byte that says whether it was inside the range
    assert inference_bytes(simulated, IMAGE) == X + 1024 + 1024 + 256

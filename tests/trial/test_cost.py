"""What a net costs, on numbers done by hand."""

import math
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from study.nets.build import build
from study.nets.compression import shipped
from study.nets.compression.factorize import factorize
from study.nets.compression.mask import mask_weights
from study.nets.compression.quantize import quantize
from study.nets.compression.remove import remove_rows
from study.nets.data import load
from study.nets.net import Net
from study.spec.config import Build, Cost, Load, Train
from study.trial import train as training
from study.trial.adversary import passes
from study.trial.measures.cost import cost, latencies, macs, parameters, stored_bytes, tensor_bytes
from study.trial.state import State

DATA = load(Load(train_size=250, test_size=60), 0)
IMAGE = DATA.test.x[:1]


def small_net(rank=0):
    """64 pixels, 8 hidden units, 10 classes: 512 + 80 weights."""
    net = build(Build(width=8, depth=1), DATA.shape, 10, (DATA.mean, DATA.std), 0)
    return factorize(net, rank, 0) if rank else net


def masked(keep):
    return mask_weights(small_net(), keep, "magnitude", 0)


def quantized(net, bits, kind="tensor", aware=False):
    return quantize(net, bits, [DATA.train.x], kind, aware=aware)


@pytest.mark.parametrize(
    ("net", "kept", "bytes_", "multiplications"),
    [
        (small_net, 592, 592 * 4, 592),
        (lambda: small_net(rank=2), 2 * (64 + 8) + 80, 4 * 224, 224),
        (lambda: remove_rows(small_net(), 0.5), 64 * 4 + 4 * 10, 4 * 296, 296),
        # masks: a bitmap of 512 bits and 128 weights of 4 bytes against 2048 bytes; the head is dense
        (lambda: masked(0.25), 128 + 80, 64 + 512 + 320, 592),
        # 500 of 512 weights and a bitmap are more than 2048 bytes
        (lambda: masked(500 / 512), 500 + 80, 2048 + 320, 592),
        # two scales of weights, one scale and zero point of the head's input: 16 bytes
        (lambda: quantized(small_net(), 4), 592, 256 + 40 + 16, 592),
        (lambda: quantized(small_net(), 1), 592, 64 + 10 + 16, 592),
        (lambda: quantized(small_net(), 16), 592, 1024 + 160 + 16, 592),
        # a scale of each of 8 and 10 rows, and the head's input
        (lambda: quantized(small_net(), 4, "channel"), 592, 256 + 40 + 4 * 18 + 8, 592),
        (lambda: quantized(small_net(rank=2), 8, "channel"), 224, 224 + 4 * (2 + 8 + 10) + 8, 224),
        # a range that moved in training is shipped as the scale and zero point that it ends at
        (lambda: quantized(small_net(), 4, aware=True), 592, 256 + 40 + 16, 592),
        # 461 weights of a byte with a bitmap of 64 are more than 512
        (lambda: quantized(masked(0.9), 8), 461 + 80, 512 + 80 + 16, 592),
        # one bit knows no zero: the bitmap, and ceil(461 / 8) bytes
        (lambda: quantized(masked(0.9), 1), 461 + 80, 64 + 58 + 10 + 16, 592),
    ],
)
def test_costs_by_hand(net, kept, bytes_, multiplications):
    found = net()
    assert (parameters(found), stored_bytes(found), macs(found, IMAGE)) == (kept, bytes_, multiplications)


class Tied(nn.Module):
    """Two layers of one tensor, or one layer in two places."""

    def __init__(self, module=False):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(64, 16), nn.Linear(16, 16, bias=False), nn.Linear(16, 10)
        self.third = self.second if module else nn.Linear(16, 16, bias=False)
        self.third.weight = self.second.weight

    def forward(self, x):
        x = x.flatten(1)
        for layer in (self.first, self.second, self.third):
            x = layer(x).relu()
        return self.head(x)


@pytest.mark.parametrize("module", [False, True])
def test_tied_weights_are_one_tensor_to_every_count_and_in_the_file(module):
    hidden = ("first", "second") if module else ("first", "second", "third")
    net = Net(Tied(module), (0.0,), (1.0,), hidden).eval()
    counts = 1024 + 256 + 160, 1024 + 2 * 256 + 160
    assert (parameters(net), macs(net, IMAGE)) == (counts[0] + 26, counts[1])
    pruned = mask_weights(net, 0.5, "bernoulli", 0)
    assert parameters(pruned) == sum(int(p.count_nonzero()) for p in pruned.parameters())
    inputs = 2 if module else 3
    for bits in (8, 1):
        assert stored_bytes(quantized(net, bits)) == counts[0] * bits // 8 + 4 * 26 + 4 * 3 + 8 * inputs
    for made in (net, pruned, quantized(net, 8), quantized(net, 8, aware=True), quantized(pruned, 1)):
        tensors, facts = shipped.pack(made.eval())
        assert sum(W.numel() * W.element_size() for W in tensors.values()) - 8 == stored_bytes(made)
        other = Net(Tied(module), (0.0,), (1.0,), hidden)
        if facts["inputs"]:
            other = quantized(other, facts["weights"]["body.first.weight"]["bits"])
            for layer in (m for m in list(other.modules()) if parametrize.is_parametrized(m)):
                parametrize.remove_parametrizations(layer, "weight")
        shipped.fill(other, tensors, facts)
        assert torch.allclose(other.eval()(IMAGE), made(IMAGE), atol=1e-6)


def test_weights_that_are_zero_at_one_bit_take_a_bitmap_without_a_mask_too():
    net = small_net()
    with torch.no_grad():
        net.body.layer1.weight[:4] = 0
    made = quantized(net, 1)
    tensors, _ = shipped.pack(made)
    assert stored_bytes(made) == 64 + 32 + 10 + 16 == sum(W.numel() * W.element_size() for W in tensors.values()) - 8
    silent = quantize(masked(0.9), 1, [DATA.train.x], one_bit="as_printed")
    tensors, _ = shipped.pack(silent)
    assert stored_bytes(silent) == 64 + 10 + 16 == sum(W.numel() * W.element_size() for W in tensors.values()) - 8


def test_the_last_byte_of_a_tensor_is_filled_up():
    assert tensor_bytes(9, None, 1) == 2
    assert tensor_bytes(9, 3, 4) == min(5, 2 + 2)


def test_convolutions_count_at_every_position_and_biases_and_norms_in_float32():
    body = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 64, 10)
    )
    net = Net(body, (0.0,), (1.0,), ())
    weights = 4 * 9 + 2560
    assert macs(net, IMAGE) == 64 * 36 + 2560
    assert parameters(net) == weights + (4 + 10) + 8
    assert stored_bytes(net) == 4 * (weights + 14 + 8 + 8), "running mean and variance are shipped too"


@pytest.mark.parametrize(
    ("how", "count"),
    [
        ({}, 250),
        # half of each batch of 100, 100 and 50 goes through 7 steps first
        ({"adversarial_ratio": 0.5, "train_steps": 7}, 250 + 7 * (50 + 50 + 25)),
        ({"adversarial_ratio": 0.5, "train_attack": "fgsm_rs"}, 250 + 125),
        ({"adversarial_ratio": 0.5, "train_attack": "free", "train_steps": 4}, 4 * 250),
    ],
)
def test_training_passes_are_those_that_the_net_really_makes(how, count):
    net, config = small_net(), Train(epochs=2, train_eps=0.1, **how)
    seen = []
    hook = net.register_forward_hook(lambda m, given, out: seen.append(len(given[0]) if out.requires_grad else 0))
    progress = training.start(net, config)
    for _ in training.epochs(net, DATA, config, 0, progress):
        pass
    hook.remove()
    assert progress.passes == sum(seen) == 2 * count
    assert passes(config, 100) + passes(config, 100) + passes(config, 50) == count


def test_the_measure_names_what_can_be_repeated_and_what_cannot():
    state = State(seed=0, data=DATA, net=quantized(masked(0.5), 4), seconds={"train_seconds": 2.5})
    rows = {r["measure"]: r for r in cost(state, Cost(repeats=7))}
    repeatable = {name for name, r in rows.items() if r["deterministic"]}
    assert repeatable == {"stored_bytes", "macs", "inference_bytes", "training_passes"}
    assert not [name for name in rows if name.startswith("integer_")], "4 bits have no kernels here"
    assert rows["training_seconds"]["value"] == 2.5
    assert rows["latency_seconds"]["n"] == 7
    assert 0 < rows["latency_seconds"]["value"] < math.inf


def test_a_net_of_8_bits_is_timed_on_integer_kernels_where_these_predict_the_same(monkeypatch):
    state = State(seed=0, data=DATA, net=quantized(small_net(), 8))
    names = ("integer_latency_seconds", "integer_inference_bytes")
    rows = {r["measure"]: r for r in cost(state, Cost(repeats=3))}
    assert [(rows[name]["deterministic"], rows[name].get("n")) for name in names] == [(False, 3), (False, None)]
    assert 0 < rows[names[0]]["value"] < math.inf
    monkeypatch.setattr(sys.modules[cost.__module__], "integer", lambda net: lambda x: -net(x))
    rows = {r["measure"]: r for r in cost(state, Cost(repeats=3))}
    assert not rows.keys() & set(names), "kernels that give another net are not this net's cost"


def test_energy_stands_in_the_table_where_the_machine_counts_it(monkeypatch):
    state = State(seed=0, data=DATA, net=quantized(small_net(), 8))
    counts = iter(range(10**9))
    monkeypatch.setattr(sys.modules[cost.__module__], "meter", lambda device: lambda: float(next(counts)))
    monkeypatch.setattr("study.trial.measures.energy.SECONDS", 0.0)
    rows = {r["measure"]: r for r in cost(state, Cost(repeats=4))}
    for name in ("inference_joules", "integer_inference_joules"):
        assert (rows[name]["n"], rows[name]["value"], rows[name]["deterministic"]) == (4, 1 / 4, False)


def test_what_the_first_optimiser_of_a_process_imports_is_no_training_time():
    code = """
import sys
from study.spec.config import Build, Load, Train, Trial
from study.trial.run import run
next(run(Trial(seed=0, stages=(Load(train_size=60), Build(width=8), Train(epochs=1)), measures=())))
before = set(sys.modules)
for _ in run(Trial(seed=0, stages=(Load(train_size=60), Build(width=8), Train(epochs=1)), measures=())):
    pass
print(len([name for name in set(sys.modules) - before if name.startswith("torch.")]))
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(told.stdout) < 10, "torch._dynamo is hundreds of modules, and takes seconds"


def test_timing_does_not_change_the_net():
    net = quantized(small_net(), 2)
    before = net(DATA.test.x)
    assert len(latencies(net, IMAGE, 3)) == 3
    with torch.no_grad():
        net.body.layer1.parametrizations.weight.original.mul_(2)
    assert not torch.equal(net(DATA.test.x), before), "the weights that were kept for the timing are still in use"

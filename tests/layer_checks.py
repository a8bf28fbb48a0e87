"""What it means that a net is compressed, penalised, measured and shipped rightly: it equals a twin made by hand.

Each check takes a net whose weighted layers are all Linear and Conv2d layers with biases.
"""

import copy
import math

import pytest
import torch
from torch import nn

from study.nets import handed, masks
from study.nets import net as nets
from study.nets.compression import decompose, factorize, mask, quantize, remove, scores, shares
from study.nets.data import load
from study.nets.products import multiply_adds
from study.spec.config import Build, Decompose, Load, Prune, Quantize, Structure, Train, Trial
from study.sweep.export import files
from study.trial import penalty
from study.trial import train as training
from study.trial.freeze import frozen
from study.trial.measures.cost import parameters, stored_bytes
from study.trial.measures.structure import structure
from study.trial.state import State
from tests.foreign_cases import SHAPE, made

DATA = load(Load(train_size=60, test_size=60), 0)
X = DATA.test.x[:6]


@torch.no_grad()
def given(body):
    """The net, with norms that have seen something."""
    net = made(body())
    for module in net.modules():
        if isinstance(module, (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)):
            for p in (*module.parameters(), *(b for b in module.buffers() if b.is_floating_point())):
                p.uniform_(0.5, 1.5)
    return net


def distinct(net):
    """The hidden weights, each once, by the first name that it has."""
    found = {}
    for name in net.hidden:
        W = net.body.get_submodule(name).weight
        if not any(W is other for other in found.values()):
            found[name] = W
    return found


def grouped(layer):
    return getattr(layer, "groups", 1)


def alike(one, other):
    with torch.no_grad():
        torch.testing.assert_close(one.eval()(X), other.eval()(X), rtol=1e-4, atol=1e-5)


def kept_alone(net, out):
    """What is no hidden layer, head or stem keeps every bit."""
    theirs = {id(p) for layer in nets.weighted(net).values() for p in layer.parameters()}
    mine = out.state_dict()
    for name, W in [*net.named_parameters(), *net.named_buffers()]:
        if id(W) not in theirs:
            assert torch.equal(mine[name], W), name


@torch.no_grad()
def largest(W, share):
    return W.abs() >= W.abs().flatten().sort(descending=True).values[max(1, round(share * W.numel())) - 1]


def check_masks(net):
    for kind in mask.RULES:
        scored = scores.taylor(net, [DATA.test[:20]]) if kind == "taylor" else None
        out = mask.draw(net, mask.probabilities(net, 0.3, kind, scores=scored), 3)
        twin = copy.deepcopy(net)
        for layer, W in distinct(twin).items():
            found = out.masks[f"{layer}.weight"]
            if kind == "magnitude":
                assert torch.equal(found.bool(), largest(W, 0.3))
            W.data *= found
        alike(out, twin)
        kept_alone(net, out)
        gone = sum(int((W == 0).sum()) for W in distinct(out).values())
        assert parameters(out) == sum(p.numel() for p in net.parameters()) - gone
        whole = sum(W.numel() for W in distinct(net).values())
        assert abs(gone / whole - 0.7) < 4 * math.sqrt(0.21 / whole)
    if not net.bound:
        trained(out, Train(epochs=1, batch_size=30, weight_decay=0.0))
        assert all(bool((W == 0)[out.masks[f"{n}.weight"] == 0].all()) for n, W in distinct(out).items())


def trained(net, config):
    progress = training.start(net, config)
    for _ in training.epochs(net, DATA, config, 0, progress):
        pass


@torch.no_grad()
def check_removal(net):
    """The places that are gone are told by the biases that are; the net with zeros in these places has its logits."""
    out = remove.remove_rows(net, 0.5, SHAPE)
    for layer in net.hidden:
        rows = nets.matrix(net.body.get_submodule(layer)).shape[0]
        assert nets.matrix(out.body.get_submodule(layer)).shape[0] == max(1, round(0.5 * rows))
    twin = copy.deepcopy(net)
    smaller = dict(out.named_modules())
    for where, module in twin.named_modules():
        bias = module._parameters.get("bias")
        if bias is not None and len(bias) != len(smaller[where].bias):
            gone = ~torch.isin(bias, smaller[where].bias)
            assert int(gone.sum()) == len(bias) - len(smaller[where].bias)
            module.weight[gone], bias[gone] = 0.0, 0.0
    alike(out, twin)
    assert parameters(out) < parameters(net)


def check_factors(net):
    made_ways = {"rank": factorize.factorize(net, 2, 0)}
    made_ways |= {how: decompose.decompose(net, 0.5, how, 0, 5)[0] for how in decompose.METHODS}
    rest = sum(p.numel() for p in net.parameters()) - sum(W.numel() for W in distinct(net).values())
    for how, out in made_ways.items():
        twin, counts = copy.deepcopy(net), []
        for layer, W in distinct(twin).items():
            new, groups = out.body.get_submodule(layer), grouped(net.body.get_submodule(layer))
            m, n = W.flatten(1).shape
            counts.append(min(2, m // groups, n) * (m + n * groups))
            if how == "svd":
                nearest(W.detach().flatten(1), nets.matrix(new).detach(), groups, getattr(new, "A", W).shape[1])
            W.data = nets.matrix(new).detach().view_as(W)
        alike(out, twin)
        kept_alone(net, out)
        held = [W.numel() for n in distinct(net) for W in masks.stored(out.body.get_submodule(n)).values()]
        assert parameters(out) == rest + sum(counts if how == "rank" else held) < parameters(net)


def nearest(W, product, groups, rank):
    """No matrix of this rank lies nearer, in each group."""
    for part, found in zip(W.chunk(groups), product.chunk(groups), strict=True):
        torch.testing.assert_close(
            (part - found).norm(), torch.linalg.svdvals(part)[rank:].norm(), rtol=1e-3, atol=1e-4
        )


@torch.no_grad()
def levels(W, bits):
    """The nearest of 2^bits multiples of the scale."""
    if bits == 1:
        return W.sign() * W.abs().mean()
    scale, half = W.abs().max() / (2 ** (bits - 1) - 0.5), 2 ** (bits - 1)
    return (W * (1 / scale)).round().clamp(-half, half - 1) * scale


@torch.no_grad()
def check_bits(net):
    for bits in (8, 4, 1):
        out, twin = quantize.quantize(net, bits, [X]), copy.deepcopy(net)
        tensors = {id(layer.weight): layer.weight for layer in nets.weighted(twin).values()}
        for W in tensors.values():
            W.copy_(levels(W, bits))
        inputs = [*nets.weighted(twin).values()][1:]
        for layer, seen in zip(inputs, [met(twin, layer) for layer in inputs], strict=True):
            layer.register_forward_pre_hook(rounding(*spread(seen, bits), bits))
        alike(out, twin)
        rest = sum(p.numel() for p in twin.body.parameters()) - sum(W.numel() for W in tensors.values())
        rest += sum(b.numel() for b in twin.body.buffers() if b.is_floating_point())
        packed = sum(math.ceil(W.numel() * bits / 8) + 4 for W in tensors.values())
        assert stored_bytes(out) == packed + 8 * len(inputs) + 4 * rest


def met(net, layer):
    """What a layer is given, in each of its calls."""
    seen = []
    hook = layer.register_forward_pre_hook(lambda m, x: seen.append(x[0]))
    net(X)
    hook.remove()
    return seen


def spread(parts, bits):
    x = torch.cat([part.flatten() for part in parts])
    if bits > 1:
        return min(0.0, float(x.min())), max(0.0, float(x.max()))
    mean = float(x.abs().sum() / x.count_nonzero())
    return (0.0, mean) if float(x.max()) >= -float(x.min()) else (-mean, 0.0)


def rounding(low, high, bits):
    scale = (high - low) / (2**bits - 1)
    zero, inverse = round(-low / scale), 1 / torch.tensor(scale)  # what lies between two levels falls as torch has it
    return lambda m, x: (((x[0] * inverse).round() + zero).clamp(0, 2**bits - 1).sub(zero).mul(scale),)


def check_penalties(net):
    norm, svds = torch.linalg.vector_norm, torch.linalg.svdvals
    parts = [(W.flatten(1), grouped(net.body.get_submodule(n))) for n, W in distinct(net).items()]
    ways = {
        "group_lasso": sum(norm(W, dim=1).sum() for W, _ in parts),
        "group_lasso_invariant": sum(norm(W, dim=1).sum() / norm(W) for W, _ in parts),
        "nuclear_norm": sum(svds(part).sum() for W, g in parts for part in W.chunk(g)),
        "l1": sum(W.abs().sum() for W, _ in parts),
        "spread_control": sum(norm(W, dim=1).sort().values[-2:].var(correction=0) for W, _ in parts),
    }
    held = frozen(net, ())
    for way, wanted in ways.items():
        config = Train(**({way: 2.0} if way in ("l1", "spread_control") else {"penalty": way, "alpha": 2.0}))
        value = penalty.add(torch.zeros(()), net, held, held.layers(net), config, penalty.Held())
        torch.testing.assert_close(value, 2 * wanted, rtol=1e-4, atol=1e-5)
        found = torch.autograd.grad(value, list(net.parameters()), allow_unused=True)
        moved = {id(p) for p, grad in zip(net.parameters(), found, strict=True) if grad is not None}
        assert moved == {id(W) for W in distinct(net).values()}
    out = copy.deepcopy(net)
    trained(out, Train(epochs=1, batch_size=30, frobenius=1.5))
    for (_, before), (_, after) in zip(distinct(net).items(), distinct(out).items(), strict=True):
        torch.testing.assert_close(after.norm(), 1.5 * before.norm(), rtol=1e-4, atol=1e-5)
    out = copy.deepcopy(net)
    training._shrink([*held.layers(out).values()], Train(penalty="nuclear_norm_prox", alpha=0.1), 0.5, 0)
    for n, W in distinct(out).items():
        groups = grouped(net.body.get_submodule(n))
        for part, old in zip(W.flatten(1).chunk(groups), distinct(net)[n].flatten(1).chunk(groups), strict=True):
            torch.testing.assert_close(svds(part), (svds(old) - 0.05).clamp_min(0), rtol=1e-3, atol=1e-5)


@torch.no_grad()
def as_map(net, layer):
    """A layer's linear map on the input that it meets, as a matrix, whatever its bias."""
    part = net.body.get_submodule(layer)
    if isinstance(part, nn.Linear):
        return part.weight
    image = met(net, part)[0][0]
    basis = torch.eye(image.numel()).view(-1, *image.shape)
    return (nn.Conv2d.forward(part, basis) - nn.Conv2d.forward(part, torch.zeros(1, *image.shape))).flatten(1).T


@torch.no_grad()
def check_norms(net):
    rows = structure(State(seed=0, data=DATA, datasets={"": DATA}, net=net), Structure())
    found = {(r["layer"], r["measure"], r.get("norm")): r["value"] for r in rows}
    assert {layer for layer, measure, _ in found if measure == "frobenius_norm"} == {*net.hidden, "product"}
    for layer in net.hidden:
        T = as_map(net, layer)
        assert found[layer, "operator_norm", "linf"] == pytest.approx(float(T.abs().sum(1).max()), rel=1e-5)
        exact = float(torch.linalg.svdvals(T.double())[0])
        assert found[layer, "operator_norm", "l2"] == pytest.approx(exact, rel=1e-3)
        assert found.get((layer, "operator_norm_certified", "l2"), exact) >= exact * (1 - 1e-6)
    for how in shares.METHODS:
        ((out, _),) = shares.pruned(net, how, [0.5])
        twin = copy.deepcopy(net)
        for layer in net.hidden:
            part, first = twin.body.get_submodule(layer), net.body.get_submodule(layer).weight
            W = part.weight
            if how == "low_rank":
                W.copy_(truncated(first.flatten(1), grouped(part)).view_as(W))
            elif how == "weights":
                W.copy_(first * largest(first, 0.5))
            else:
                rows = kept_rows(net, how)[id(first)]
                W.copy_(first * rows.view(-1, *[1] * (W.ndim - 1)))
                part.bias *= rows
        alike(out, twin)


def truncated(W, groups):
    parts = [torch.linalg.svd(part, full_matrices=False) for part in W.chunk(groups)]
    k = [max(1, round(0.5 * len(s))) for _, s, _ in parts]
    return torch.cat([(U[:, :n] * s[:n]) @ V[:n] for (U, s, V), n in zip(parts, k, strict=True)])


def kept_rows(net, how):
    """Which rows stay of each weight, by its id: half of each, or by one threshold, or by one residual."""
    nu = {id(W): W.detach().flatten(1).abs().sum(1) for W in distinct(net).values()}
    sizes = {key: max(1, round(0.5 * len(v))) for key, v in nu.items()}
    if how != "rows":
        sizes = (shares.one_threshold if how == "global_rows" else shares.one_residual)(nu, 0.5)
    return {key: v >= v.sort(descending=True).values[sizes[key] - 1] for key, v in nu.items()}


@torch.no_grad()
def check_sizes(net, body, macs, factors):
    """By hand; the bytes of files, and the logits of nets that are read from them, of every way to compress."""
    floats = [b for b in net.body.buffers() if b.is_floating_point()]
    assert parameters(net) == sum(p.numel() for p in net.body.parameters())
    assert stored_bytes(net) == 4 * (parameters(net) + sum(b.numel() for b in floats))
    assert multiply_adds(net, X[:1]) == macs
    ways = {
        (): net,
        (Prune(keep_prob=0.3),): mask.mask_weights(net, 0.3, "magnitude", 0),
        (Quantize(bits=4),): quantize.quantize(net, 4, [X]),
    }
    if factors:
        ways[Decompose(ratio=0.5, method="svd"),] = decompose.decompose(net, 0.5, "svd", 0)[0]
    model = handed.over("kind", lambda shape, classes: body(), "")
    for stages, there in ways.items():
        trial = Trial(seed=0, stages=(Load(), Build(model=model), *stages), measures=())
        state = State(seed=0, data=DATA, datasets={"": DATA}, net=there)
        file, size = files.content("safetensors", state, trial)
        assert size == stored_bytes(there) + 4 * (net.mean.numel() + net.std.numel())
        assert torch.equal(files.decoded(file, "net.st", model)(X), there.eval()(X))


CHECKS = {
    "masks": check_masks, "removal": check_removal, "factors": check_factors, "bits": check_bits,
    "penalties": check_penalties, "norms": check_norms,
}  # fmt: skip

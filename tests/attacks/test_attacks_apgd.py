"""Native AutoPGD against a twin written line by line from Croce and Hein 2020, Algorithm 1."""

import copy
import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from study.attacks import ball
from study.attacks.apgd import apgd, has_bf16_units
from study.attacks.climb import HARD, MARGIN, SOFT, checkpoints
from tests.attack_cases import digits, stream


def project(z, x, eps, norm):
    """P_S: into the box, then towards x into the ball, where it stays in the box."""
    d = z.clamp(0, 1) - x
    d = d.clamp(-eps, eps) if norm == "linf" else d * min(1.0, eps / max(float(d.norm()), 1e-12))
    return (x + d).clamp(0, 1)


def dlr(z, y):
    """Equation 6, for one sample's logits z and label y."""
    ordered = z.sort(descending=True).values
    j = max((j for j in range(len(z)) if j != y), key=lambda j: z[j].item())
    return -(z[y] - z[j]) / (ordered[0] - ordered[2])


def twin(net, x, y, eps, norm, iterations, generator, loss="ce", margin=math.inf):
    """Algorithm 1 on one sample (1, C, H, W): whether no iterate fooled the net.

    The cross-entropy is that of logits divided by so much that the clean point's margin is `margin`, and from the first
    checkpoint from SOFT of the iterations on HARD times that. Infinite: of the logits as they are.
    """
    fooled = False
    ordered = net(x)[0].detach().sort(descending=True).values
    temperature = 1.0 if margin == math.inf else float(ordered[0] - ordered[1]) / margin

    def f(point):
        nonlocal fooled
        point = point.detach().requires_grad_(True)
        z = net(point)[0]
        fooled = fooled or int(z.argmax()) != int(y)
        value = dlr(z, int(y)) if loss == "dlr" else cross_entropy(z[None].double() / temperature, y[None])
        gradient = torch.autograd.grad(value, point)[0]
        return value.item(), gradient.sign() if norm == "linf" else gradient / gradient.norm().clamp_min(1e-30)

    p, N, rho, alpha, eta = [0.0, 0.22], iterations, 0.75, 0.75, 2 * eps
    while p[-1] <= 1:
        p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))
    W = [math.ceil(round(q * N, 9)) for q in p if q <= 1]
    noise = torch.rand(x.shape, generator=generator) * 2 - 1
    noise = noise / noise.abs().max() if norm == "linf" else torch.randn(x.shape, generator=generator)
    noise = noise if norm == "linf" else noise / noise.norm()
    xs = [project(x + eps * noise, x, eps, norm)]
    values, directions = zip(f(xs[0]), strict=True)
    values, directions, etas, best_at = list(values), list(directions), {0: eta}, {0: values[0]}
    xs.append(project(xs[0] + eta * directions[0], x, eps, norm))
    value, direction = f(xs[1])
    values, directions = [*values, value], [*directions, direction]
    f_max, x_max, d_max = max(zip(values, xs, directions, strict=True), key=lambda t: t[0])
    for k in range(1, N):
        if fooled:
            break
        z = project(xs[k] + eta * directions[k], x, eps, norm)
        xs.append(project(xs[k] + alpha * (z - xs[k]) + (1 - alpha) * (xs[k] - xs[k - 1]), x, eps, norm))
        value, direction = f(xs[k + 1])
        values, directions = [*values, value], [*directions, direction]
        if value > f_max:
            f_max, x_max, d_max = value, xs[k + 1], direction
        if k in W:
            j = W.index(k)
            rises = sum(values[i + 1] > values[i] for i in range(W[j - 1], W[j]))
            condition_1 = rises < rho * (W[j] - W[j - 1])
            condition_2 = etas[W[j - 1]] == eta and best_at[W[j - 1]] == f_max
            etas[k], best_at[k] = eta, f_max
            if condition_1 or condition_2:
                eta /= 2
                xs[k + 1], values[k + 1], directions[k + 1] = x_max, f_max, d_max
            if W[j - 1] < SOFT * N <= W[j] and loss == "ce" and margin < math.inf:
                temperature /= HARD
                f_max = cross_entropy(net(x_max).double() / temperature, y[None]).item()
                xs[k + 1], values[k + 1], directions[k + 1] = x_max, f_max, d_max
                best_at[k] = f_max
    return not fooled


def compare(loss, margin):
    """Native minus twin in points, cell by cell."""
    net, x, y = digits()
    right = net(x).argmax(1) == y
    for norm, eps in [("linf", 0.08), ("linf", 0.1), ("l2", 0.5), ("l2", 0.7)]:
        ours = apgd(net, x, y, eps, norm, iterations=20, loss=loss, generator=stream()).robust
        random = stream()  # drawn in the same order: both start from the same points
        theirs = [
            bool(right[i]) and twin(net, x[i : i + 1], y[i], eps, norm, 20, random, loss, margin) for i in range(len(x))
        ]
        assert 0.1 < sum(theirs) / len(x) < 0.9
        difference = 100 * (int(ours.sum()) - sum(theirs)) / len(x)
        print(f"{loss} {norm} {eps}: native minus twin {difference:+.2f} points")
        yield difference


@pytest.mark.parametrize("loss", ["ce", "dlr"])
def test_robust_accuracy_is_that_of_the_naive_twin(loss):
    differences = list(compare(loss, MARGIN))
    assert abs(sum(differences) / len(differences)) <= 0.5
    assert max(map(abs, differences)) <= 1.7  # two of 120 samples


def test_softer_logits_do_not_weaken_the_attack():
    differences = list(compare("ce", math.inf))  # the twin as printed
    assert sum(differences) / len(differences) <= 0.5


def test_checkpoints_are_those_of_the_paper():
    """p = 0, .22, .41, .57, .70, .80, .87, .93, .99."""
    assert list(checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_retired_samples_cost_nothing_more(norm):
    net, x, y = digits()
    eps = 0.1 if norm == "linf" else 1.0
    mask = apgd(net, x, y, eps, norm, iterations=50, generator=stream())
    full = apgd(net, x, y, eps, norm, iterations=50, goal="loss", generator=stream())
    assert set(full.forward.tolist()) == {52}
    assert set(mask.forward[mask.robust].tolist()) == {52}
    assert float(mask.forward[~mask.robust].double().mean()) < 20
    assert abs(int(mask.robust.sum()) - int(full.robust.sum())) <= 2
    assert float(full.loss.mean()) > float(mask.loss.mean())
    wrong = net(x).argmax(1) != y
    assert set(mask.forward[wrong].tolist()) == {1}


def test_restarts_and_targets_only_add():
    net, x, y = digits()
    one = apgd(net, x, y, 0.7, "l2", iterations=5, generator=stream())
    three = apgd(net, x, y, 0.7, "l2", iterations=5, restarts=3, generator=stream())
    assert not bool((three.robust & ~one.robust).any())
    aimed = apgd(net, x, y, 0.7, "l2", iterations=20, targets=9, generator=stream())
    plain = apgd(net, x, y, 0.7, "l2", iterations=20, generator=stream())
    assert int(aimed.robust.sum()) <= int(plain.robust.sum())


def test_the_batch_size_changes_no_more_than_the_random_starts():
    net, x, y = digits()
    masks = [apgd(net, x, y, 0.08, "linf", iterations=20, batch_size=size, generator=stream()).robust
             for size in (7, 120, 1000)]  # fmt: skip
    assert all(int((a ^ b).sum()) <= 2 for a in masks for b in masks)


def test_iterates_stay_inside_while_climbing():
    """Every point the model is shown, not only those returned."""
    net, x, y = digits()
    seen = []

    class Watched(torch.nn.Module):
        def forward(self, points):
            seen.append(points.detach().clone())
            return net(points)

    for norm, eps in (("linf", 0.2), ("l2", 1.5)):
        seen.clear()
        apgd(Watched(), x, y, eps, norm, iterations=15, goal="loss", batch_size=len(x), generator=stream())
        points = torch.stack(seen)
        assert len(points) == 17
        assert float(points.min()) >= 0
        assert float(points.max()) <= 1
        assert all(float(ball.lengths(p - x, norm).max()) <= eps + 1e-6 for p in points)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_half_precision_climbs_are_judged_in_float32(norm):
    net, x, y = digits()
    eps = 0.08 if norm == "linf" else 0.6
    for restarts in (1, 3):
        full, half = (
            apgd(net, x, y, eps, norm, iterations=20, restarts=restarts, precision=p, generator=stream())
            for p in ("fp32", "bf16")
        )
        assert torch.equal(net(half.first).argmax(1) == y, half.robust)
        assert torch.allclose(cross_entropy(net(half.worst), y, reduction="none"), half.loss, atol=1e-4)
        assert int(half.robust.sum()) <= int(full.robust.sum()) + 1
        # survivors: clean, a bf16 climb with its best point in float32, and a float32 climb
        alone = max(1, restarts - 1)
        assert int(half.forward[half.robust].max()) == 1 + 21 * (alone + 1) + alone
    assert all(p.dtype == torch.float32 for p in net.parameters())


def test_a_hit_in_half_precision_that_is_none_in_float32_counts_for_nothing():
    """A net that lies in bfloat16: every point looks misclassified, none is."""

    class Liar(torch.nn.Module):
        def forward(self, points):
            flat = points.flatten(1)
            logits = torch.stack([flat.sum(1) * 0 + 1, flat.mean(1) * 0.1], 1)
            return logits.flip(1) if points.dtype == torch.bfloat16 else logits

    x = torch.rand(5, 1, 4, 4, generator=stream())
    found = apgd(Liar(), x, torch.zeros(5, dtype=torch.long), 0.1, "linf", iterations=4, precision="bf16",
                 generator=stream())  # fmt: skip
    assert bool(found.robust.all())
    assert found.backward.tolist() == [1 + 4] * 5  # one bf16 look, then the climb in float32


def test_auto_precision_follows_the_processor(monkeypatch):
    net, x, y = digits()
    units = has_bf16_units(x.device)
    auto, same = (
        apgd(net, x, y, 0.08, "linf", iterations=5, precision=p, generator=stream())
        for p in ("auto", "bf16" if units else "fp32")
    )
    assert torch.equal(auto.forward, same.forward)
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx512_bf16": True})
    assert has_bf16_units(torch.device("cpu"))
    monkeypatch.setattr("torch.cpu.get_capabilities", dict)
    assert not has_bf16_units(torch.device("cpu"))
    with pytest.raises(ValueError, match="goal must be robust"):
        apgd(net, x, y, 0.08, "linf", goal="loss", precision="bf16", generator=stream())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_gpu_gives_the_answer_of_the_cpu(norm):
    net, x, y = digits()
    there = copy.deepcopy(net).cuda()
    for goal in ("robust", "loss"):
        a = apgd(net, x, y, 0.1, norm, iterations=20, goal=goal, generator=stream())
        b = apgd(there, x.cuda(), y.cuda(), 0.1, norm, iterations=20, goal=goal, generator=stream())
        assert int((a.robust ^ b.robust.cpu()).sum()) <= 1
        assert torch.equal(there(b.first).argmax(1) == y.cuda(), b.robust)
        assert abs(float(a.loss.mean()) - float(b.loss.mean())) < 0.02 * float(a.loss.mean()) or goal == "robust"

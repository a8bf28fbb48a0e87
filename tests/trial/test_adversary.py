"""Adversarial training, augmentation, schedules, and the nuclear norm at a price: all inside the one loop."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from study.attacks import ball
from study.attacks.pgd import pgd
from study.nets import net as nets
from study.nets.build import build
from study.nets.data import load
from study.nets.net import Net
from study.nets.penalties import linearised, nuclear_norm, polar, shrink
from study.spec.config import Build, Load, Train
from study.trial import adversary, optimise, penalty, stages
from study.trial import train as training
from study.trial.state import State

DATA = load(Load(train_size=600, test_size=120), 0)
ADVERSARIAL = {"adversarial_ratio": 0.5, "train_eps": 24 / 255, "train_steps": 5}


def new_net(width=48, depth=2, seed=0):
    return build(Build(width=width, depth=depth), (1, 8, 8), 10, (DATA.mean, DATA.std), seed)


def trained(seed=0, data=DATA, **config):
    net = new_net(seed=seed)
    settings = Train(**config)
    progress = training.start(net, settings)
    for _ in training.epochs(net, data, settings, seed, progress):
        pass
    return net, progress


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def robust(net):
    found = pgd(net.eval(), DATA.test.x, DATA.test.y, 16 / 255, "linf", iterations=20, generator=stream())
    return float(found.robust.double().mean())


@pytest.mark.parametrize("attack", ["pgd", "fgsm_rs", "free"])
def test_adversarial_training_makes_nets_harder_to_fool(attack):
    epochs = 8 if attack == "free" else 40
    standard = sum(robust(trained(seed, epochs=epochs)[0]) for seed in range(2)) / 2
    config = ADVERSARIAL | {"adversarial_ratio": 1.0, "train_attack": attack}
    hardened = sum(robust(trained(seed, epochs=epochs, **config)[0]) for seed in range(2)) / 2
    assert hardened > standard + 0.05


def test_without_an_adversary_nothing_changes():
    plain, off = trained(epochs=2)[0], trained(epochs=2, train_eps=0.1, train_attack="free", train_norm="l2")[0]
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), off.parameters(), strict=True))


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("attack", ["pgd", "fgsm_rs", "free"])
@pytest.mark.parametrize("ratio", [0.3, 1.0])
def test_the_right_share_of_a_batch_is_replaced_inside_ball_and_box(norm, attack, ratio):
    net, x, y = new_net(), DATA.train.x[:40], DATA.train.y[:40]
    config = Train(adversarial_ratio=ratio, train_norm=norm, train_eps=0.2, train_attack=attack, train_steps=3)
    seen = []
    for point in adversary.inputs(net, x, y, config, stream()):
        cross_entropy(net(point), y).backward()
        seen.append(point.detach())
    assert len(seen) == (3 if attack == "free" else 1)
    for point in seen:
        delta = point - x
        assert int((delta.flatten(1) != 0).any(dim=1).sum()) == round(40 * ratio)
        assert float(ball.lengths(delta, norm).max()) <= 0.2 + 1e-6
        assert float(point.min()) >= 0
        assert float(point.max()) <= 1
    chosen = [adversary.inputs(net, x, y, config, stream(s)) for s in (0, 0, 1)]
    first, same, other = (next(iter(c)).detach() for c in chosen)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_the_radius_grows_in_even_steps_and_only_where_it_is_asked_to():
    config = Train(epochs=6, train_warmup=3, **ADVERSARIAL)
    radii = [adversary.at_epoch(config, epoch).train_eps * 255 for epoch in range(6)]
    assert radii == pytest.approx([6, 12, 18, 24, 24, 24])
    off = Train(**ADVERSARIAL)
    assert adversary.at_epoch(off, 0) is off


def test_a_radius_that_has_grown_trains_as_from_the_start():
    """Only the first epochs differ: one epoch at a radius that grows to four times is one at that radius."""
    grown, _ = trained(epochs=1, **ADVERSARIAL | {"train_warmup": 3})
    quarter, _ = trained(epochs=1, **ADVERSARIAL | {"train_eps": 6 / 255})
    assert all(torch.allclose(a, b) for a, b in zip(grown.parameters(), quarter.parameters(), strict=True))


def test_the_adversary_looks_at_the_net_in_eval_mode_and_raises_its_loss():
    modes = []

    class Watch(nn.Module):
        def forward(self, x):
            modes.append(self.training)
            return x

    inner = new_net()
    net = Net(nn.Sequential(Watch(), inner.body), DATA.mean, DATA.std, ()).train()
    x, y = DATA.train.x[:60], DATA.train.y[:60]
    point = adversary.perturb(net, x, y, Train(train_eps=0.1), stream())
    assert modes == [False] * 10
    assert net.training
    assert all(p.grad is None for p in net.parameters())
    with torch.no_grad():
        assert cross_entropy(net(point), y) > cross_entropy(net(x), y) + 0.05


def with_norms():
    """A net with BatchNorm and a dropout, the first of which a freeze has put into eval mode for good."""
    body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.Flatten(),
                         nn.Dropout(), nn.Linear(64, 10))  # fmt: skip
    net = Net(body, DATA.mean, DATA.std, ("2",)).train()
    body[1].eval()
    body[1].weight.requires_grad_(False)
    return net


@pytest.mark.parametrize("attack", ["pgd", "fgsm_rs"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_adversary_leaves_the_net_as_it_was(attack, norm):
    net, x, y = with_norms(), DATA.train.x[:20], DATA.train.y[:20]
    cross_entropy(net(x), y).backward()

    def seen():
        parts = net.named_parameters()
        return (
            {name: module.training for name, module in net.named_modules()},
            {name: (p.requires_grad, None if p.grad is None else p.grad.tolist()) for name, p in parts},
            {name: value.tolist() for name, value in net.state_dict().items()},
        )

    before = seen()
    point = adversary.perturb(net, x, y, Train(train_eps=0.1, train_norm=norm, train_attack=attack), stream())
    assert seen() == before
    assert not point.requires_grad
    assert before[0]["body.3"]
    assert not before[0]["body.1"]


def test_the_ascent_asks_no_gradient_of_the_weights():
    asked = []
    net = with_norms()
    net.body.register_forward_pre_hook(lambda *_: asked.append([p.requires_grad for p in net.parameters()]))
    adversary.perturb(net, DATA.train.x[:5], DATA.train.y[:5], Train(train_eps=0.1), stream())
    assert len(asked) == 10
    assert not any(flag for flags in asked for flag in flags)


@pytest.mark.parametrize(("n", "half"), [(100, 50), (37, 18), (1, 0)])
def test_half_of_a_batch_is_replaced_not_added_to(n, half):
    net, x, y = new_net(), DATA.train.x[:n], DATA.train.y[:n]
    (mixed,) = adversary.inputs(net, x, y, Train(**ADVERSARIAL), stream())
    assert mixed.shape == x.shape
    assert int((mixed != x).flatten(1).any(dim=1).sum()) == half


def test_the_rate_of_the_last_epoch_is_next_to_zero_and_training_ends_there():
    config = Train(epochs=60, learning_rate=1e-3, schedule="cosine")
    assert optimise.learning_rate(config, 60) == pytest.approx(0, abs=1e-12)
    assert optimise.learning_rate(config, 59) == pytest.approx(1e-3 * math.sin(math.pi / 120) ** 2)
    _, progress = trained(epochs=3, schedule="cosine")
    assert progress.epoch == 3
    assert progress.optimizer.param_groups[0]["lr"] == pytest.approx(1e-3 * math.sin(math.pi / 6) ** 2)


def test_cosine_falls_to_zero_and_the_optimiser_follows():
    config = Train(epochs=10, learning_rate=0.5, schedule="cosine")
    rates = [optimise.learning_rate(config, e) for e in range(11)]
    assert rates[0] == 0.5
    assert rates[5] == pytest.approx(0.25)
    assert rates[10] == pytest.approx(0)
    assert rates == sorted(rates, reverse=True)
    _, progress = trained(epochs=4, schedule="cosine")
    (group,) = progress.optimizer.param_groups
    assert group["lr"] == pytest.approx(1e-3 * 0.5 * (1 + math.cos(0.75 * math.pi)))


def test_crop_and_flip_move_whole_images():
    x = torch.rand(200, 3, 8, 6, generator=stream())
    out = adversary.crop_flip(x, stream(1))
    assert out.shape == x.shape
    assert torch.equal(out, adversary.crop_flip(x, stream(1)))
    random = stream(1)
    down, across = (torch.randint(9, (200, 1), generator=random)[:, 0] for _ in range(2))
    mirrored = torch.rand(200, 1, generator=random)[:, 0] < 0.5
    padded = torch.nn.functional.pad(x, (4, 4, 4, 4))
    for i in range(200):
        a, b = int(down[i]), int(across[i])
        window = padded[i, :, a : a + 8, b : b + 6]
        assert torch.equal(out[i], window.flip(-1) if mirrored[i] else window)
    assert 0.3 < float(mirrored.double().mean()) < 0.7


@pytest.mark.parametrize("pause", [1, 3])
def test_going_on_from_a_snapshot_equals_never_stopping(pause):
    config = Train(epochs=5, schedule="cosine", augment="crop_flip", penalty="nuclear_norm", penalty_refresh=4,
                   alpha=0.001, **ADVERSARIAL)  # fmt: skip

    def state():
        return State(seed=0, data=DATA, net=new_net())

    whole, broken, resumed = state(), state(), state()
    for _ in stages.STAGES[Train](whole, config):
        pass
    for _ in stages.STAGES[Train](broken, config):
        if broken.progress.epoch == pause:
            break
    resumed.resume = copy.deepcopy(stages.snapshot(broken))
    for _ in stages.STAGES[Train](resumed, config):
        pass
    assert resumed.progress.curves == whole.progress.curves
    assert all(torch.equal(p, q) for p, q in zip(resumed.net.parameters(), whole.net.parameters(), strict=True))


def test_early_stopping_under_an_adversary_looks_at_the_adversarial_loss():
    data = load(Load(train_size=600, test_size=120, validation=0.2), 0)
    _, progress = trained(data=data, epochs=3, patience=5, **ADVERSARIAL)
    curves = {name: [v for _, n, v in progress.curves if n == name] for name in {n for _, n, _ in progress.curves}}
    assert len(curves["validation_adversarial_loss"]) == 3
    assert all(a > b for a, b in zip(curves["validation_adversarial_loss"], curves["validation_loss"], strict=True))
    assert progress.best_score == min(curves["validation_adversarial_loss"])


@pytest.mark.parametrize("shape", [(7, 7), (9, 4), (4, 9)])
def test_the_polar_factor_is_the_gradient_of_the_nuclear_norm(shape):
    W = torch.randn(shape, generator=stream(), requires_grad=True)
    nuclear_norm([W]).backward()
    P = polar(W)
    assert torch.allclose(P, W.grad, atol=1e-5)
    assert float(linearised([W.detach()], [P])) == pytest.approx(float(nuclear_norm([W.detach()])), rel=1e-5)
    assert float(linearised([2 * W.detach()], [P])) == pytest.approx(2 * float(nuclear_norm([W.detach()])), rel=1e-5)


def test_the_polar_factor_of_a_singular_matrix_is_a_subgradient():
    W = torch.randn(6, 2, generator=stream()) @ torch.randn(2, 5, generator=stream(1))
    P = polar(W)
    assert torch.linalg.svdvals(P).tolist() == pytest.approx([1, 1, 0, 0, 0], abs=1e-4)
    for _ in range(20):
        V = torch.randn(6, 5, generator=stream())
        assert float(nuclear_norm([V])) >= float(nuclear_norm([W.detach()]) + (P * (V - W)).sum()) - 1e-4
    assert torch.equal(polar(torch.zeros(3, 4)), torch.zeros(3, 4))


def test_the_quick_polar_factor_lacks_the_smallest_directions_alone():
    U, V = (torch.linalg.qr(torch.randn(60, 60, generator=stream(i))).Q for i in (0, 1))
    s = torch.logspace(0, -6, 60)
    W = (U * s) @ V.T
    P, Q = polar(W), polar(W, exact=False)
    clear = s > 0.01
    assert torch.allclose(Q @ V[:, clear], U[:, clear], atol=2e-3)
    assert float((P * W).sum()) == pytest.approx(float(s.sum()), rel=1e-5)
    assert float((Q * W).sum()) == pytest.approx(float(s.sum()), rel=2e-3)
    assert float(torch.linalg.svdvals(Q)[0]) < 1.2


@pytest.mark.parametrize(("attack", "replays", "patience"), [("pgd", 1, 0), ("free", 3, 0), ("pgd", 1, 5)])
def test_polar_factors_are_exact_in_the_last_thirty_batches_alone(attack, replays, patience, monkeypatch):
    made, epochs, layers = [], 2, 2
    monkeypatch.setattr(penalty, "polar", lambda W, exact: made.append(exact) or polar(W, exact))
    data = load(Load(train_size=600, test_size=120, validation=0.2), 0)  # 48 batches an epoch
    trained(data=data, epochs=epochs, batch_size=10, patience=patience, penalty="nuclear_norm", alpha=0.01,
            penalty_refresh=5, adversarial_ratio=0.5, train_eps=0.05, train_attack=attack,
            train_steps=replays)  # fmt: skip
    kept = epochs if patience else 1  # how many epochs may be the last
    assert sum(made) == 30 * replays * kept * layers
    quick = (epochs * 48 - 30 * kept) * replays * layers / 5
    assert quick <= len(made) - sum(made) <= quick + epochs * layers


def test_shrinking_takes_the_threshold_off_every_singular_value():
    W = torch.randn(6, 5, generator=stream())
    s = torch.linalg.svdvals(W)
    assert torch.linalg.svdvals(shrink(W, 1.0)).tolist() == pytest.approx((s - 1).clamp_min(0).tolist(), abs=1e-5)


@pytest.mark.parametrize("how", [{"penalty_refresh": 0}, {"penalty_refresh": 1}, {"penalty_refresh": 10},
                                 {"penalty": "nuclear_norm_prox", "penalty_refresh": 5}])  # fmt: skip
def test_every_form_of_the_nuclear_norm_lowers_it(how):
    def nuclear(**config):
        net = trained(epochs=15, frobenius=1.0, **config)[0]
        return float(nuclear_norm(nets.weight_matrices(net).values()).detach())

    alpha = 5.0 if "penalty" in how else 0.01
    assert nuclear(alpha=alpha, **({"penalty": "nuclear_norm"} | how)) < 0.93 * nuclear()


def test_the_polar_form_trains_the_net_of_the_plain_one():
    config = {"epochs": 3, "penalty": "nuclear_norm", "alpha": 0.01, "frobenius": 1.0}
    plain, exact = trained(**config)[0], trained(**config, penalty_refresh=1)[0]
    for p, q in zip(plain.parameters(), exact.parameters(), strict=True):
        assert torch.allclose(p, q, atol=2e-3)


def test_a_factorised_layer_has_no_proximal_form():
    from study.nets.compression.factorize import factorize

    net = factorize(new_net(), 4, 0)
    config = Train(epochs=1, penalty="nuclear_norm_prox", alpha=0.1)
    with pytest.raises(TypeError, match="cannot set the weights of a layer of type LowRankLinear"):
        for _ in training.epochs(net, DATA, config, 0, training.start(net, config)):
            pass

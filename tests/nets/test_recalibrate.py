"""BatchNorm's statistics taken anew: what they are on paper, torch's own, and what no weight's size can change."""

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from study.nets.compression.mask import draw, probabilities
from study.nets.compression.recalibrate import recalibrate
from study.nets.net import Net


def images(*sizes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(n, 3, 8, 8, generator=generator) for n in sizes]


def net(*body, seed=0):
    torch.manual_seed(seed)
    return Net(nn.Sequential(*body), (0.0,) * 3, (1.0,) * 3, ("0",)).eval()


def cnn(seed=0, dropout=0.0, **norm):
    return net(
        nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6, **norm), nn.ReLU(), nn.Dropout(dropout),
        nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8, **norm), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4), nn.BatchNorm1d(4),
        seed=seed,
    )  # fmt: skip


def statistics(model):
    norms = [m for m in model.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    return [t for norm in norms for t in (norm.running_mean, norm.running_var)]


def test_one_norm_has_the_mean_of_the_batches_means_and_variances():
    first, second = images(5, 9)
    found = recalibrate(net(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(192, 2)), [first, second])
    of_both = [x.transpose(0, 1).flatten(1) for x in (first, second)]
    mean, var = statistics(found)
    torch.testing.assert_close(mean, (of_both[0].mean(1) + of_both[1].mean(1)) / 2)
    torch.testing.assert_close(var, (of_both[0].var(1) + of_both[1].var(1)) / 2)


@pytest.mark.parametrize("seed", range(3))
def test_torch_says_the_same_of_a_net_without_dropout(seed):
    batches, model = images(4, 7, 3, seed=seed), cnn(seed)
    twin = copy.deepcopy(model)
    update_bn(batches, twin)
    for ours, theirs in zip(statistics(recalibrate(model, batches)), statistics(twin), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_nothing_else_changes_and_chance_has_no_part(momentum):
    batches, model = images(4, 4), cnn(dropout=0.5, momentum=momentum)
    before = copy.deepcopy(model.state_dict())
    once, again = recalibrate(model, batches), recalibrate(model, batches)
    assert all(torch.equal(W, before[name]) for name, W in model.state_dict().items()), "the net itself is as it was"
    assert all(torch.equal(a, b) for a, b in zip(statistics(once), statistics(again), strict=True))
    assert all(torch.equal(W, dict(model.named_parameters())[name]) for name, W in once.named_parameters())
    assert not any(m.training for m in once.modules())
    assert [m.momentum for m in once.modules() if isinstance(m, nn.BatchNorm2d)] == [momentum] * 2


@pytest.mark.parametrize("factor", [0.5, 7.0])
def test_the_size_of_weights_before_a_norm_is_of_no_account(factor):
    """As it is in training: a mask that only shrinks what a layer gives costs nothing once statistics follow."""
    batches, model = images(16, 16), cnn()
    whole, x = recalibrate(model, batches), images(5, seed=1)[0]
    with torch.no_grad():
        model.body[0].weight *= factor
    torch.testing.assert_close(recalibrate(model, batches)(x), whole(x), rtol=1e-3, atol=1e-3)
    assert (model(x) - whole(x)).abs().max() > 0.05, "with the old statistics it is of much"


def test_a_mask_stays_on():
    model = cnn()
    masked = draw(model, probabilities(model, 0.5, "magnitude"), 0)
    found = recalibrate(masked, images(8))
    assert torch.equal(found.masks["0.weight"], masked.masks["0.weight"])
    assert float((found.body[0].weight == 0).float().mean()) == 0.5


def test_a_batch_of_one_image_is_left_out():
    first, single = images(6, 1)
    both, without = recalibrate(cnn(), [first, single]), recalibrate(cnn(), [first])
    assert all(torch.equal(a, b) for a, b in zip(statistics(both), statistics(without), strict=True))
    with pytest.raises(ValueError, match="two images at least"):
        recalibrate(cnn(), [single])


def test_a_net_that_keeps_no_statistics_is_refused():
    bare = net(nn.Conv2d(3, 6, 3), nn.Flatten(), nn.Linear(216, 4))
    forgetful = net(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6, track_running_stats=False), nn.Flatten(), nn.Linear(216, 4))
    for model in (bare, forgetful):
        with pytest.raises(ValueError, match="no BatchNorm that keeps running statistics"):
            recalibrate(model, images(4))


class Frozen(nn.BatchNorm2d):
    def train(self, mode=True):
        return super().train(False)


def test_a_norm_that_stays_in_eval_mode_keeps_what_it_has():
    model = net(nn.BatchNorm2d(3), Frozen(3), nn.Flatten(), nn.Linear(192, 2))
    with torch.no_grad():
        model.body[1].running_mean.fill_(0.25)
    found = recalibrate(model, images(4))
    assert torch.equal(found.body[1].running_mean, torch.full((3,), 0.25))
    assert not torch.equal(found.body[0].running_mean, model.body[0].running_mean)
    with pytest.raises(ValueError, match="no BatchNorm that keeps"):
        recalibrate(net(Frozen(3), nn.Flatten(), nn.Linear(192, 2)), images(4))


def test_statistics_that_are_used_are_taken_whatever_is_said_of_tracking():
    model = cnn()
    model.body[1].track_running_stats = False  # in eval mode its buffers are used all the same
    assert recalibrate(model, images(4)).body[5].num_batches_tracked == 1

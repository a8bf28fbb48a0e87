"""The ART room: the toolbox's AutoPGD behind our signature, safe against its traps (checked on ART 1.20.1)."""

import warnings

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from art.attacks.evasion import AutoProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier

from study.attacks import ball
from study.attacks.ball import Result


class _Recorder(nn.Module):
    """Stands between ART and the net: every point of the running batch that ART looks at is judged here.

    ART tests only its last iterate; a point it passed on the way that was misclassified is an adversarial example
    all the same, and counts. It also divides the logits, so that a saturated loss cannot stop the attack.
    """

    def __init__(self, model: nn.Module, temperature: float) -> None:
        super().__init__()
        self.model = model
        self.temperature = temperature
        self.y = torch.empty(0, dtype=torch.long)
        self.fooled = torch.empty(0, dtype=torch.bool)

    def watch(self, y: Tensor) -> None:
        self.y, self.fooled = y, torch.zeros_like(y, dtype=torch.bool)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.model(x)
        if len(x) == len(self.y):
            self.fooled |= logits.detach().argmax(1) != self.y
        return logits / self.temperature


def auto_pgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    norm: str,
    *,
    iterations: int = 20,
    restarts: int = 1,
    batch_size: int = 512,
    generator: torch.Generator,
) -> Result:
    """AutoPGD with cross-entropy through ART (Croce and Hein 2020), from a random start per restart.

    x (N, C, H, W) in [0, 1], y (N,), eps in pixel units (0 gives clean accuracy). `robust` counts any iterate;
    `worst` is what ART returns (its random start where it failed: too weak for a loss gap, kept as `loss_gap_art`
    to compare with published numbers). Weight gradients are switched off, the model's mode, device and gradients and
    the global random streams are left as found.
    """
    ball.check(x, y, eps, norm)
    device = x.device
    with ball.frozen(model), torch.no_grad():
        robust = model(x).argmax(1) == y
        worst = x.clone()
        scale = ball.temperature(model, x)
    if eps > 0:
        state = np.random.get_state()
        np.random.seed(int(torch.randint(2**31, (1,), generator=generator)))
        try:
            with ball.frozen(model), torch.random.fork_rng():
                recorder = _Recorder(model, scale)
                classifier = PyTorchClassifier(
                    model=recorder,
                    loss=nn.CrossEntropyLoss(),
                    input_shape=tuple(x.shape[1:]),
                    nb_classes=model(x[:1]).shape[1],
                    clip_values=(0.0, 1.0),
                    device_type="cpu" if device.type == "cpu" else "gpu",
                )
                for _ in range(restarts):
                    left = robust.nonzero()[:, 0]
                    for index in left.split(batch_size) if len(left) else ():
                        attack = AutoProjectedGradientDescent(
                            classifier,
                            norm=np.inf if norm == "linf" else 2,
                            eps=float(eps),
                            eps_step=2.0 * float(eps),
                            max_iter=iterations,
                            nb_random_init=1,
                            batch_size=len(index),
                            verbose=False,
                        )
                        recorder.watch(y[index])
                        found = attack.generate(x[index].cpu().numpy(), y=y[index].cpu().numpy())
                        recorder.fooled |= recorder(torch.from_numpy(found).to(device)).argmax(1) != y[index]
                        worst[index] = torch.from_numpy(found).to(device)
                        robust[index[recorder.fooled]] = False
        finally:
            np.random.set_state(state)
    with ball.frozen(model), torch.no_grad():
        loss = cross_entropy(model(worst), y, reduction="none")
    none = torch.zeros(len(x), dtype=torch.int64)
    return Result(first=worst, worst=worst, loss=loss, robust=robust, forward=none, backward=none)

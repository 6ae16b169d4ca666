"""What stands beside gan.py: its players in turns in a plain PyTorch loop, and a mixture of normal distributions."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
import torch
from gan import B1, EMA, NOISE, PIXELS, RATE, SHAPES, STEEP
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from vision_peers import epochs


def in_turns(
    x: Any, noise: Any, *, updates: int, size: int, seed: int, at_once: bool = False
) -> tuple[np.ndarray, float]:
    """Images of `noise` by the average of the generator, and seconds. First D moves, then G against the new D.

    - `at_once`: both move against what the other was, as in `gan.py`.
    """
    torch.manual_seed(seed)
    images = epochs(x, size)

    def player(shapes: Any) -> Any:
        layers: list[Any] = []
        for shape in shapes:
            layers += [torch.nn.Linear(*shape), torch.nn.LeakyReLU(0.2)]
            torch.nn.init.normal_(layers[-2].weight, std=(2 / shape[0]) ** 0.5)
            torch.nn.init.zeros_(layers[-2].bias)
        return torch.nn.Sequential(*layers[:-1])

    maker, judge = player(SHAPES["generator"]).append(torch.nn.Tanh()), player(SHAPES["discriminator"])
    adams = [torch.optim.Adam(net.parameters(), RATE, betas=(B1, 0.999)) for net in (maker, judge)]
    averaged, began = AveragedModel(maker, multi_avg_fn=get_ema_multi_avg_fn(EMA)), time.perf_counter()
    for _ in range(updates):
        real = (next(images).reshape(-1, PIXELS) * 2 - 1).requires_grad_()
        made, answers = maker(torch.randn(len(real), NOISE)), judge(real)
        (slope,) = torch.autograd.grad(answers.sum(), real, create_graph=True)
        paid = F.softplus(-answers).mean() + F.softplus(judge(made.detach())).mean()
        adams[1].zero_grad()
        (paid + STEEP / 2 * (slope**2).sum(1).mean()).backward()
        if not at_once:
            adams[1].step()
        moves = torch.autograd.grad(F.softplus(-judge(made)).mean(), list(maker.parameters()))
        if at_once:
            adams[1].step()
        for weight, move in zip(maker.parameters(), moves, strict=True):
            weight.grad = move
        adams[0].step()
        averaged.update_parameters(maker)
    seconds = time.perf_counter() - began
    with torch.no_grad():
        return averaged(torch.from_numpy(noise)).numpy() / 2 + 0.5, seconds


def mixture(x: Any, count: int, seed: int, *, components: int = 64, kinds: int = 40) -> np.ndarray:
    """`count` images from a mixture of `kinds` normal distributions of principal components, cut to 0 ... 1."""
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    rows = np.asarray(x, np.float64).reshape(len(x), PIXELS)
    pca = PCA(components, svd_solver="randomized", random_state=seed).fit(rows)
    normal = GaussianMixture(kinds, reg_covar=1e-4, max_iter=20, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Twenty rounds are a budget; the likelihood still rises a little.
        normal.fit(pca.transform(rows))
    images = pca.inverse_transform(normal.sample(count)[0])
    order = np.random.default_rng(seed).permutation(count)  # `sample` answers kind by kind.
    return np.clip(images[order], 0, 1).astype(np.float32)

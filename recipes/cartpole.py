"""What the two recipes on CartPole have in common: steps in an environment of gymnasium, a small network, a report."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import optax

import ladle

ACTORS, HIDDEN = 8, 64
"""Copies of the environment; units of each of two layers."""


class Actors:
    """Copies of an environment that take their steps together. `returns`: of each episode that has ended."""

    def __init__(self, name: str, count: int, seed: int) -> None:
        self.all = [gymnasium.make(name, disable_env_checker=True) for _ in range(count)]
        self.seen = np.stack([one.reset(seed=1000 * seed + number)[0] for number, one in enumerate(self.all)])
        self.actions = int(self.all[0].action_space.n)  # type: ignore[attr-defined]
        self.returns, self.sums = list[float](), np.zeros(count)

    def step(self, actions: np.ndarray) -> dict[str, np.ndarray]:
        """One step of each: seen, done, got, seen then; `ended` by its own rules, `cut` by the clock."""
        taken = [one.step(int(action)) for one, action in zip(self.all, actions, strict=True)]
        after, reward, ended, cut, _ = (np.array(part) for part in zip(*taken, strict=True))
        rows = {"x": self.seen, "action": actions, "reward": reward, "after": after, "ended": ended, "cut": cut}
        self.seen, self.sums = after.copy(), self.sums + reward
        for place in np.flatnonzero(ended | cut):
            self.seen[place] = self.all[place].reset()[0]
            self.returns.append(float(self.sums[place]))
            self.sums[place] = 0
        return {name: value.astype(np.int32 if name == "action" else np.float32) for name, value in rows.items()}


def actors_of(name: str, seed: int, parser: argparse.ArgumentParser) -> Actors:
    """The actors, or one line and exit 2."""
    try:
        return Actors(name, ACTORS, seed)
    except (gymnasium.error.Error, ImportError, AttributeError, TypeError) as error:
        be, why = "be an environment of gymnasium with numbered actions", str(error).partition("\n")[0]
        parser.exit(2, f"{parser.prog}: env must {be}; got {name!r}: {why}; try --env CartPole-v1\n")


def mean_return(name: str, act: Callable[[np.ndarray], Any], episodes: int = 100, seed: int = 10_000) -> float:
    """Mean sum of rewards of so many new episodes by the actions of `act`."""
    actors, live, sums = Actors(name, episodes, seed), np.ones(episodes, bool), np.zeros(episodes)
    while live.any():
        rows = actors.step(np.asarray(act(actors.seen)))
        sums += live * rows["reward"]
        live &= (rows["ended"] + rows["cut"]) == 0
    return float(sums.mean())


def solved(name: str, act: Callable[[np.ndarray], Any]) -> bool:
    """Whether twenty episodes, others than those that are reported, last 475 steps in the mean: then a run ends."""
    return mean_return(name, act, 20, seed=20_000) >= 475


def dense(key: jax.Array, *widths: int) -> list[dict[str, jax.Array]]:
    """Parameters of dense layers; the last begins small."""
    keys, last = jax.random.split(key, len(widths) - 1), len(widths) - 2
    return [
        {"w": (0.1 if k == last else 1.4) * jax.random.normal(keys[k], (n, m)) / n**0.5, "b": jnp.zeros(m)}
        for k, (n, m) in enumerate(pairwise(widths))
    ]


def outputs(params: list[dict[str, jax.Array]], x: jax.Array) -> jax.Array:
    for layer in params[:-1]:
        x = jnp.tanh(x @ layer["w"] + layer["b"][None])
    return x @ params[-1]["w"] + params[-1]["b"][None]


def ending(run: ladle.Run, name: str, act: Any, steps: int, began: float) -> dict[str, Any]:
    """What is reported of a run: its return over 100 episodes, and the noise scale of its gradients."""
    noise = run.noise(since=run.final["updates"] // 2)
    found = {"return": mean_return(name, partial(act, run.params)), "noise": noise, "run": run, "steps": steps}
    return found | {"seconds": time.perf_counter() - began}


def told(found: dict[str, Any]) -> str:
    noise, run = found["noise"], found["run"]
    return (
        f"mean return of 100 episodes {found['return']:.1f}; {run.why} after {found['steps']:,} steps, "
        f"{run.final['updates']:,} updates, {found['seconds']:.0f} s; noise scale of the second half {noise.value:.3g} "
        f"({noise.low:.3g} to {noise.high:.3g}, {noise.verdict})"
    )


def arguments(doc: str | None, program: str, until: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program, description=(doc or "").partition("\n")[0])
    parser.add_argument("--env", default="CartPole-v1", help="of gymnasium, with numbered actions")
    parser.add_argument("--until", default=until)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="run folder to write")
    parser.add_argument("--sizes", action="store_true", help="what the batch size does: a plan, and a table")
    parser.add_argument("--peer", action="store_true", help="the same agent in a plain loop of JAX and optax too")
    return parser


def plain(loss: Callable[..., Any], lr: float) -> tuple[Any, Any]:
    """`(begin, update)` of a loop of one's own, in JAX and optax."""
    optimizer = optax.adam(lr)

    @jax.jit
    def update(params: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        change, state = optimizer.update(jax.grad(lambda p: loss(p, batch).mean())(params), state)
        return optax.apply_updates(params, change), state

    return optimizer.init, update


def by_size(given: argparse.Namespace, agent: Callable[[], Any], learn: Any, sizes: Sequence[int], usual: Any) -> None:
    """Each size at the rate that goes with its square root, and at half and twice of it. `usual`: a size, its rate."""
    print("  size      rate  updates    steps  solved  return  seconds")
    for size in sizes:
        for factor in (0.5, 1.0, 2.0):
            rate = factor * usual[1] * (size / usual[0]) ** 0.5
            how: dict[str, Any] = {"size": size, "lr": rate, "until": given.until, "seed": given.seed, "out": None}
            one = learn(given.env, agent(), **how)
            yes = "yes" if one["run"].why == "solved" else "no"
            numbers = f"{one['run'].final['updates']:>7,}  {one['steps']:>7,}  {yes:>6}  {one['return']:>6.1f}"
            print(f"{size:>6}  {rate:>8.1e}  {numbers}  {one['seconds']:>7.1f}", flush=True)


def command(
    args: Sequence[str] | None, parser: argparse.ArgumentParser, agent: Any, parts: Any, sizes: Any
) -> dict[str, Any]:
    """What either recipe does. `agent(actors, seed)`; `parts`: learn, alone, task_of; `sizes`: tried, usual."""
    given, (learn, alone, task_of), (tried, usual) = parser.parse_args(args), parts, sizes

    def made() -> Any:
        return agent(actors_of(given.env, given.seed, parser), given.seed)

    one = made()
    how: dict[str, Any] = {"size": usual[0], "lr": usual[1], "until": given.until, "seed": given.seed, "out": given.out}
    try:
        found = learn(given.env, one, **how)
    except ladle.LadleError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    print(told(found))
    if given.peer:
        found["peer"], steps = alone(given.env, made(), given.seed)
        print(f"a plain loop of JAX and optax: {found['peer']:.1f} after {steps:,} steps")
    if given.sizes:
        found["plan"] = ladle.plan(task_of(one, usual[1]))
        print(found["plan"].explain(), flush=True)
        by_size(given, made, learn, tried, usual)
    return found

"""An agent with a replay buffer: Q-learning whose steps go into a source of the feed, and whose updates are a task's.

    python recipes/cartpole_dqn.py [--env CartPole-v1] [--until "40000 steps"] [--seed 0] [--out FOLDER] [--sizes]

`ladle.windows` waits every 32 updates with the parameters as they are: eight copies of the environment take 64 steps
more, a falling share of them at random, and the aims of the next 32 updates are those parameters' (the second network
of Mnih et al., Nature 518, 2015). An aim is worked out as its row is read, so that the loss is a plain regression. A
run ends where twenty episodes last 475 steps in the mean; it is then judged on 100 others.

Mean return of these 100 (CartPole-v1, 500 at most, solved from 195 on): 473.9, 500.0, 495.8 (seeds 0, 1, 2) after
21,376, 37,760 and 21,376 steps; a plain loop of JAX and optax 500.0 thrice, after 33,664, 33,664 and 17,280. 19 to 30
s of CPU time with it.

Batch size: in the second half of the runs the noise scale is 59, 117 and 152 examples; a plan at nearly fresh
parameters reads 2.5 and proposes 64. At three rates each (seed 0), size 16 was solved after 29,568 and 21,376 steps
and stopped once as diverged, 64 after 33,664, 21,376 and 21,376, 256 after 13,184, 13,184 and 9,088: for the same
number of updates and steps of the environment a larger batch learnt more, for these cost more than its rows do.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from cartpole import ACTORS, HIDDEN, Actors, arguments, command, dense, ending, mean_return, outputs, plain, solved

import ladle
from ladle.feed import Arrays, HostFeed, Permuted, Replay

KEPT, FIRST, STEPS, UPDATES, LOOK = 2**16, 1024, 64, 32, 64
"""Transitions kept; steps before the first update, and between two windows; updates of a window; windows between two
looks at how good it is."""

SIZE, LR, DISCOUNT, EXPLORES, LAST_SHARE = 64, 1e-3, 0.99, 8192, 0.05
"""Random actions: a share that falls from all to `LAST_SHARE` over the first `EXPLORES` steps."""


greedy = jax.jit(lambda params, seen: outputs(params, seen).argmax(1))


@jax.jit
def aims(follower: Any, reward: jax.Array, ended: jax.Array, after: jax.Array) -> jax.Array:
    """What the value of each transition should have been, as the second network sees what came after it."""
    return reward + DISCOUNT * (1 - ended) * outputs(follower, after).max(1)


def loss(params: Any, batch: Any) -> jax.Array:
    value = jnp.take_along_axis(outputs(params, batch["x"]), batch["action"][:, None], 1)[:, 0]
    return optax.losses.huber_loss(value, batch["aim"])


class Explorer:
    """Steps of the actors, greedy but for a falling share at random, into a replay; and its rows with their aims.

    A source of the feed: an example is a transition, and its aim is by the parameters that acted last.
    """

    readers = 0  # Aims and transitions are new at every window: nothing is read ahead.

    def __init__(self, actors: Actors, seed: int) -> None:
        self.actors, self.rng, self.steps = actors, np.random.default_rng(seed), 0
        first = actors.step(self.rng.integers(0, actors.actions, ACTORS))
        self.replay = Replay(KEPT, {name: leaf[0] for name, leaf in first.items()})
        self.follower = dense(jax.random.key(seed), actors.seen.shape[1], HIDDEN, HIDDEN, actors.actions)

    def __len__(self) -> int:
        return len(self.replay)

    def take(self, ids: np.ndarray) -> dict[str, Any]:
        rows = self.replay.take(ids)
        aim = aims(self.follower, rows["reward"], rows["ended"], rows["after"])
        return {"x": rows["x"], "action": rows["action"], "aim": np.asarray(aim)}

    def act(self, params: Any, steps: int) -> None:
        for _ in range(steps // ACTORS):
            at_random = self.rng.random(ACTORS) < max(LAST_SHARE, 1 - self.steps / EXPLORES)
            random = self.rng.integers(0, self.actors.actions, ACTORS)
            self.replay.add(self.actors.step(np.where(at_random, random, np.asarray(greedy(params, self.actors.seen)))))
            self.steps += ACTORS
        self.follower = jax.tree.map(jnp.copy, params)  # The next window takes their memory for its own.


def task_of(explorer: Explorer, lr: float) -> ladle.Task:
    widths = explorer.actors.seen.shape[1], HIDDEN, HIDDEN, explorer.actors.actions
    like = {"x": explorer.actors.seen[:1], "action": np.zeros(1, np.int32), "aim": np.zeros(1, np.float32)}
    return ladle.Task.functions(
        lambda key: dense(key, *widths),
        loss,
        ladle.data.streamed(Arrays(like), valid=0, name="replay"),
        feed=lambda seed: HostFeed(explorer, Permuted(KEPT, seed)),
        optimizer="adam",
        lr=lr,
    )


def learn(name: str, explorer: Explorer, *, size: int, lr: float, until: str, seed: int, out: Any) -> dict[str, Any]:
    """Act, learn from what was seen so far, act, ... ; then 100 episodes without a random action."""
    began, returns = time.perf_counter(), explorer.actors.returns
    how: dict[str, Any] = {"window": UPDATES * size, "gauge": ladle.Gauge(parts=4), "seed": seed, "out": out}
    going, why = ladle.windows(task_of(explorer, lr), size=size, until=until, **how), "its budget is used up"
    for number, window in enumerate(going):
        if number % LOOK == LOOK - 1 and solved(name, partial(greedy, window.params)):
            why = "solved"
            break
        explorer.act(window.params, STEPS if explorer.steps else FIRST)
        going.note(steps=explorer.steps, mean_return=np.mean(returns[-100:] or [0.0]))
    return ending(going.end(why), name, greedy, explorer.steps, began)


def alone(name: str, explorer: Explorer, seed: int, updates: int = 40_000) -> tuple[float, int]:
    """The same agent in a plain loop, whose draws are uniform with replacement: its return, and its steps."""
    (begin, update), rng, params = plain(loss, LR), np.random.default_rng(seed), explorer.follower
    state = begin(params)
    for number in range(updates):
        if number % UPDATES == 0:
            if number // UPDATES % LOOK == LOOK - 1 and solved(name, partial(greedy, params)):
                break
            explorer.act(params, STEPS if explorer.steps else FIRST)
        params, state = update(params, state, explorer.take(rng.integers(0, KEPT, SIZE)))
    return mean_return(name, partial(greedy, params)), explorer.steps


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    parser = arguments(__doc__, "cartpole_dqn.py", "40000 steps")
    return command(args, parser, Explorer, (learn, alone, task_of), ((16, 64, 256), (SIZE, LR)))


if __name__ == "__main__":
    main()

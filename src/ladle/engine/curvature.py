from __future__ import annotations

import jax
import jax.numpy as jnp


def largest_eigenvalue(loss, params, *, key, iterations=20, tolerance=1e-3):
    flat, tree = jax.flatten_util.ravel_pytree(params)
    g = jax.grad(lambda f: loss(tree(f)))
    hv = lambda v: jax.jvp(g, (flat,), (v,))[1]
    v = jax.random.normal(key, flat.shape)

    def body(i, c):
        v, _ = c
        w = hv(v / jnp.linalg.norm(v))
        return w, jnp.linalg.norm(w)

    return jax.lax.fori_loop(0, iterations, body, (v, jnp.float32(0)))[1]

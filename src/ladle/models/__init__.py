from __future__ import annotations


def __getattr__(name):
    if name == "mlp":
        from ladle.models.mlp import mlp

        return mlp
    raise AttributeError(name)


def default_for(name, *, input_shape, outputs, cardinalities=()):
    import math

    from ladle.models.mlp import mlp

    return mlp(math.prod(input_shape), 128, outputs)

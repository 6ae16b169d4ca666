"""Built-in torch models: values that make a module, and that a folder tells of without code.

    mlp(64, 128, 10)      convnet((28, 28), 10)      tabular(3, (40, 7), outputs=2)

Each is called without arguments, as a factory of a user's is: `mlp(64, 128, 10)()` is a fresh `nn.Module`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import prod
from typing import Any, ClassVar

import torch
from torch import nn

from ladle.core.built_in import built_in_shape
from ladle.core.errors import ArgumentError, must, nearest
from ladle.torch.norms import norm_layer, norm_name, require_norm

MOST_NUMBERS = 1 << 40
"""Parameters of a model at most: more than any memory holds is a slip, or a folder that lies."""

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}

THREE_BLOCKS_FROM = 16
"""Sides of an image from here on are halved three times instead of twice."""


@dataclass(frozen=True)
class BuiltIn(ABC):
    """A model that is told whole by its numbers. Equal values are equal models."""

    kind: ClassVar[str] = ""

    @property
    @abstractmethod
    def name(self) -> str: ...

    @abstractmethod
    def __call__(self) -> nn.Module:
        """A fresh module."""

    def described(self) -> dict[str, Any]:
        """`{"kind": ..., "name": ..., ...arguments}`, which `rebuilt` reads."""
        return {"kind": self.kind, "name": self.name, **asdict(self)}

    def shapes(self) -> Mapping[str, torch.Tensor]:
        """Weights by name, without their numbers: nothing is allocated, whatever the widths say."""
        with torch.device("meta"):
            return self().state_dict()


@dataclass(frozen=True)
class Mlp(BuiltIn):
    """Dense layers of these widths, an activation between them; rows of any shape are flattened. Two are linear.

    - `norm`: of hidden layers, before the activation; they have no bias of their own then. `groups`: of group norm.
    """

    widths: tuple[int, ...]
    activation: str = "relu"
    dropout: float = 0.0
    norm: str | None = None
    groups: int | None = None
    kind: ClassVar[str] = "mlp"

    def __post_init__(self) -> None:
        _counts("widths", self.widths, least=2)
        _rate(self.dropout)
        if self.activation not in ACTIVATIONS:
            remedy = nearest(str(self.activation), ACTIVATIONS)
            raise ArgumentError(must("activation", "be a known name", self.activation, "there is no such one", remedy))
        require_norm(self.norm, self.groups, self.widths[1:-1])

    @property
    def name(self) -> str:
        kind = "mlp" if len(self.widths) > 2 else "linear"
        return f"{kind} {'-'.join(map(str, self.widths))}{norm_name(self.norm, self.groups)}"

    def __call__(self) -> nn.Module:
        layers: list[nn.Module] = [_Flat(self.widths[0])]
        for at, (before, after) in enumerate(pairwise(self.widths)):
            last = at == len(self.widths) - 2
            layers += [*(self._between(before) if at else []), nn.Linear(before, after, bias=last or self.norm is None)]
        return nn.Sequential(*layers)

    def _between(self, width: int) -> list[nn.Module]:
        norm = [norm_layer(self.norm, self.groups, width)] if self.norm else []
        return [*norm, ACTIVATIONS[self.activation](), *([nn.Dropout(self.dropout)] if self.dropout else [])]


@dataclass(frozen=True)
class ConvNet(BuiltIn):
    """Blocks of 3x3 convolution, 2x2 max pooling and ReLU, their channels doubled; then a linear head.

    - `shape`: of an image, `(h, w, channels)`, as the data has them. `width`: channels of the first block.
    - `norm`: after each convolution, which has no bias then: "batch", "layer" (over places and channels) or "group".
    """

    shape: tuple[int, int, int]
    outputs: int
    width: int = 16
    dropout: float = 0.0
    norm: str | None = None
    groups: int | None = None
    kind: ClassVar[str] = "convnet"

    def __post_init__(self) -> None:
        _counts("shape", self.shape, least=3)
        _counts("outputs and width", (self.outputs, self.width), least=2)
        _rate(self.dropout)
        if len(self.shape) != 3 or min(self.shape[:2]) < 4:
            why, be = "a side is halved twice", "be (h, w) or (h, w, channels), sides of 4 or more"
            raise ArgumentError(must("shape", be, self.shape, why, "(28, 28)"))
        require_norm(self.norm, self.groups, self.channels, images=True)

    @property
    def channels(self) -> tuple[int, ...]:
        return tuple(self.width * 2**block for block in range(3 if min(self.shape[:2]) >= THREE_BLOCKS_FROM else 2))

    @property
    def name(self) -> str:
        widths = "-".join(map(str, (*self.channels, self.outputs)))
        return f"convnet {'x'.join(map(str, self.shape))} {widths}{norm_name(self.norm, self.groups)}"

    def __call__(self) -> nn.Module:
        layers: list[nn.Module] = [_Images(self.shape)]
        for before, after in pairwise((self.shape[2], *self.channels)):
            convolution = nn.Conv2d(before, after, 3, padding=1, bias=self.norm is None)
            norm = [norm_layer(self.norm, self.groups, after, images=True)] if self.norm else []
            layers += [convolution, *norm, nn.MaxPool2d(2), nn.ReLU()]
        halvings = len(self.channels)
        features = (self.shape[0] >> halvings) * (self.shape[1] >> halvings) * self.channels[-1]
        last: list[nn.Module] = [nn.Dropout(self.dropout)] if self.dropout else []
        return nn.Sequential(*layers, nn.Flatten(), *last, nn.Linear(features, self.outputs))


@dataclass(frozen=True)
class Tabular(BuiltIn):
    """A perceptron over number columns and embedded categories: `{"numbers": f32[n, k], "codes": i64[n, c]}`.

    - `cardinalities`: levels of each category column, whose embedding has `min(64, round(1.6 levels^0.56))` numbers.
    """

    numbers: int
    cardinalities: tuple[int, ...]
    outputs: int
    hidden: tuple[int, ...] = (64, 64)
    dropout: float = 0.0
    kind: ClassVar[str] = "tabular"

    def __post_init__(self) -> None:
        _counts("numbers", (self.numbers,), least=1, smallest=0)
        _counts("cardinalities", self.cardinalities, least=1)
        _counts("hidden and outputs", (*self.hidden, self.outputs), least=1)
        _rate(self.dropout)

    @property
    def embedded(self) -> tuple[int, ...]:
        """Numbers that stand for a category of each column."""
        return tuple(min(64, round(1.6 * levels**0.56)) for levels in self.cardinalities)

    @property
    def _mlp(self) -> Mlp:
        return Mlp((self.numbers + sum(self.embedded), *self.hidden, self.outputs), dropout=self.dropout)

    @property
    def name(self) -> str:
        kind, widths = self._mlp.name.split()
        return f"{kind} {len(self.cardinalities)} embedded columns: {widths}"

    def __call__(self) -> nn.Module:
        tables = [nn.Embedding(*pair) for pair in zip(self.cardinalities, self.embedded, strict=True)]
        return _Embedded(tables, self._mlp())


class _Flat(nn.Module):
    """Rows of any shape as `[n, width]`."""

    def __init__(self, width: int) -> None:
        """`width`: values of a row."""
        super().__init__()
        self.width = width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values = prod(x.shape[1:])
        if values != self.width:
            why = "the first layer was made for them"
            raise ArgumentError(must("x", f"have {self.width} values a row", values, why, "a model for yours"))
        return x.flatten(1) if x.ndim > 1 else x[:, None]


class _Images(nn.Module):
    """`[n, h, w]` or `[n, h, w, c]` -> `[n, c, h, w]`, the order that torch's convolutions want."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        """`shape`: of an image."""
        super().__init__()
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        known = (self.shape, self.shape[:2]) if self.shape[2] == 1 else (self.shape,)
        if tuple(x.shape[1:]) not in known:
            got, why = tuple(x.shape[1:]), "the head was made for them"
            raise ArgumentError(must("x", f"be images of shape {known[-1]}", got, why, "a model for yours"))
        return x.reshape(-1, *self.shape).permute(0, 3, 1, 2)


class _Embedded(nn.Module):
    """Category columns through their embeddings, beside the numbers, into a perceptron."""

    def __init__(self, tables: Sequence[nn.Embedding], mlp: nn.Module) -> None:
        """`tables`: one of each column."""
        super().__init__()
        self.tables, self.mlp = nn.ModuleList(tables), mlp

    def forward(self, x: Mapping[str, torch.Tensor]) -> torch.Tensor:
        parts = [table(x["codes"][:, column]) for column, table in enumerate(self.tables)]
        return self.mlp(torch.cat([x["numbers"], *parts], dim=1))


def mlp(
    *widths: int, activation: str = "relu", dropout: float = 0.0, norm: str | None = None, groups: int | None = None
) -> Mlp:
    """A perceptron: inputs, hidden widths, outputs. `activation`: "relu", "gelu", "silu" or "tanh".

    - `norm`: of hidden layers: "batch", "layer", "group" (of `groups` groups, 8 where nothing is said) or "rms".

    >>> mlp(64, 128, 10)()[1]
    Linear(in_features=64, out_features=128, bias=True)
    """
    return Mlp(widths, activation, dropout, norm, groups)


def convnet(
    shape: Sequence[int],
    outputs: int,
    *,
    width: int = 16,
    dropout: float = 0.0,
    norm: str | None = None,
    groups: int | None = None,
) -> ConvNet:
    """A small convolutional network for images of `shape`: `(h, w)` or `(h, w, channels)`.

    - `norm`: after each convolution: "batch", "layer" or "group" (of `groups` groups, 8 where nothing is said).

    >>> convnet((28, 28), 10).name
    'convnet 28x28x1 16-32-64-10'
    """
    whole: Any = (*shape, 1) if len(shape) == 2 else tuple(shape)
    return ConvNet(whole, outputs, width, dropout, norm, groups)


def tabular(
    numbers: int,
    cardinalities: Sequence[int],
    *,
    outputs: int,
    hidden: Sequence[int] = (64, 64),
    dropout: float = 0.0,
) -> Tabular:
    """A perceptron over `numbers` number columns and embedded category columns.

    >>> tabular(3, (4, 10), outputs=1).name
    'mlp 2 embedded columns: 12-64-64-1'
    """
    return Tabular(numbers, tuple(cardinalities), outputs, tuple(hidden), dropout)


def model_named(name: str, input_shape: Sequence[int], outputs: int, cardinalities: Sequence[int] = ()) -> BuiltIn:
    """What `--model` means for data of these shapes, as for JAX: see `built_in_shape`.

    - `cardinalities`: levels of category columns beside the numbers.

    >>> model_named("mlp", (28, 28), 10).name
    'mlp 784-128-10'
    """
    hidden = built_in_shape(name, input_shape)
    if hidden is None:
        return convnet(input_shape, outputs)
    if cardinalities:
        return tabular(prod(input_shape), cardinalities, outputs=outputs, hidden=hidden)
    return mlp(prod(input_shape), *hidden, outputs)


def rebuilt(description: Mapping[str, Any]) -> BuiltIn:
    """The model that `described` described. Raises `ArgumentError` for an unknown kind, `TypeError` for arguments.

    >>> rebuilt(mlp(64, 128, 10).described()) == mlp(64, 128, 10)
    True
    """
    kind = description["kind"]
    if kind not in _MAKERS:
        why = "torch has no built-in model of that kind here"
        raise ArgumentError(must("model", "be of a known kind", kind, why, "the ladle that wrote it"))
    how = {name: value for name, value in description.items() if name not in ("kind", "name")}
    return _MAKERS[kind](**{name: tuple(value) if isinstance(value, list) else value for name, value in how.items()})


_MAKERS: Mapping[str, Callable[..., BuiltIn]] = {"mlp": Mlp, "convnet": ConvNet, "tabular": Tabular}


def _counts(name: str, values: Any, *, least: int, smallest: int = 1) -> None:
    whole = isinstance(values, tuple) and all(type(one) is int and smallest <= one for one in values)
    if not whole or len(values) < least or max(values) ** 2 > MOST_NUMBERS**2 // 4:
        be, why = f"be {least} or more whole numbers, each at least {smallest}", "layers are made of them"
        raise ArgumentError(must(name, be, values, why, "(64, 128, 10)"))


def _rate(dropout: Any) -> None:
    if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise ArgumentError(must("dropout", "be in [0, 1)", dropout, "some units stay", "dropout=0.1"))

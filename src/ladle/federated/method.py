"""What a client adds to its gradient, and what the server does with the mean of the answers: four methods as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ladle.core.errors import ArgumentError, must, nearest


@dataclass(frozen=True)
class FedAvg:
    """Moves the server by the mean of the clients' updates: `w + lr (mean of (w_i - w))`, the mean by counts of rows.

    - `lr`: the server's rate; 1 takes the mean of the clients' weights. `momentum`: the share of its last move that the
      server makes again.

    McMahan et al., "Communication-efficient learning of deep networks from decentralized data" (arXiv 1602.05629,
    2017); with momentum Hsu, Qi and Brown, arXiv 1909.06335, 2019.

    >>> FedAvg(momentum=0.9).server
    'momentum'
    """

    lr: float = 1.0
    momentum: float = 0.0
    mu: ClassVar[float] = 0.0
    controls: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _require("lr", self.lr)
        _require("momentum", self.momentum, high=1.0, may_be_zero=True)

    @property
    def server(self) -> str:
        return "momentum" if self.momentum else "average"


@dataclass(frozen=True)
class FedProx:
    """FedAvg whose clients are pulled back to where the round began: their gradients get `mu (w_i - w)` on top.

    `mu=0` is FedAvg. Li et al., "Federated optimization in heterogeneous networks" (arXiv 1812.06127, 2020), eq. 2.
    """

    mu: float = 0.01
    lr: float = 1.0
    server: ClassVar[str] = "average"
    controls: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _require("mu", self.mu, may_be_zero=True)
        _require("lr", self.lr)


@dataclass(frozen=True)
class FedAdam:
    """Moves the server by Adam on the mean update `d`: `w + lr m / (sqrt(v) + tau)`.

        m = b1 m + (1 - b1) d,  v = b2 v + (1 - b2) d^2,  from m = 0 and v = tau^2, without a correction for the start

    - `lr`, `b1`, `b2`: as of Adam. `tau`: how far it adapts, in the unit of an update; the smaller the more.

    Reddi et al., "Adaptive federated optimization" (arXiv 2003.00295, 2021), algorithm 2.
    """

    lr: float = 0.01
    b1: float = 0.9
    b2: float = 0.99
    tau: float = 1e-3
    server: ClassVar[str] = "adam"
    mu: ClassVar[float] = 0.0
    controls: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _require("lr", self.lr)
        _require("tau", self.tau)
        for name in ("b1", "b2"):
            _require(name, getattr(self, name), high=1.0, may_be_zero=True)


@dataclass(frozen=True)
class Scaffold:
    """FedAvg whose clients add `c - c_i` to their gradients: the mean of all clients' gradients in place of their own.

    `c_i` is the mean gradient on client i's way in the last round it came to, `c` the mean of all `c_i` by rows; both
    begin at zero. The task's optimiser has to be plain "sgd". A client keeps one more copy of the weights.

    Karimireddy et al., "SCAFFOLD: stochastic controlled averaging for federated learning" (arXiv 1910.06378, 2020),
    algorithm 1 with option II; means are by counts of rows here, which are equal in the paper.
    """

    lr: float = 1.0
    server: ClassVar[str] = "average"
    mu: ClassVar[float] = 0.0
    controls: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _require("lr", self.lr)


Method = FedAvg | FedProx | FedAdam | Scaffold

BY_NAME: dict[str, type[Any]] = {"fedavg": FedAvg, "fedprox": FedProx, "fedadam": FedAdam, "scaffold": Scaffold}


def method_named(method: str | Method) -> Method:
    """The method of that name with its usual constants, or the one given. Raises `ArgumentError` for another.

    >>> method_named("fedprox")
    FedProx(mu=0.01, lr=1.0)
    """
    if isinstance(method, Method):
        return method
    if not isinstance(method, str) or method not in BY_NAME:
        why = "these four are here"
        raise ArgumentError(must("method", "be a known name", method, why, nearest(str(method), BY_NAME)))
    return BY_NAME[method]()


def _require(name: str, value: float, high: float = float("inf"), *, may_be_zero: bool = False) -> None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if isinstance(value, bool) or not (0 < number < high or (may_be_zero and number == 0)):
        be = f"be a number {'from' if may_be_zero else 'above'} 0" + ("" if high == float("inf") else " below 1")
        why = "it is a constant of the method"
        raise ArgumentError(must(name, be, value, why, f"{name}={'0.9' if high == 1 else '0.01'}"))

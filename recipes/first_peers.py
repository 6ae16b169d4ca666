"""What the first recipes are held against: the same data, split and budget, without ladle's training.

    LADLE_DATA=FOLDER python recipes/first_peers.py [sst2 movie_reviews etth1 cora shakespeare torch_fashion] [--seed 0]

sst2, movie_reviews: logistic regression on which words occur (scikit-learn), its penalty by three folds of the training
part. etth1: ridge from a series' last 96 hours to its next 24, one for all series, its penalty by the validation part.
cora: logistic regression on each paper's words, and on the mean words of what is within two citations of it (Wu et al.
2019, "Simplifying graph convolutional networks", arXiv 1902.07153). shakespeare, torch_fashion: the same net, rate,
batch size and number of passes in a plain loop of PyTorch; these two have a seed.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cora
import etth1
import movie_reviews
import numpy as np
import shakespeare
import sst2
import torch
import torch_fashion
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, Ridge
from torch import nn

import ladle
from ladle.feed import Tokens
from ladle.feed.source.tokens import text_tokens

PENALTIES = np.logspace(-3, 2, 6)


def by_words(learnt: list[str], y: np.ndarray, **held: tuple[list[str], np.ndarray]) -> dict[str, float]:
    """Shares that logistic regression on which words occur has right."""
    words = CountVectorizer(binary=True, min_df=2, token_pattern=r"\S+")
    model = LogisticRegressionCV(
        Cs=list(PENALTIES), cv=3, max_iter=500, l1_ratios=(0,), scoring="accuracy", use_legacy_attributes=False
    )
    model.fit(words.fit_transform(learnt), y)
    return {name: model.score(words.transform(texts), of) for name, (texts, of) in held.items()}


def of_sst2(data: Path, seed: int) -> dict[str, float]:
    parts = {part: sst2.read(data / "sst2" / f"{part}.tsv") for part in ("train", "dev", "test")}
    texts = {part: ([" ".join(one) for one in sentences], labels) for part, (sentences, labels) in parts.items()}
    return by_words(*texts.pop("train"), **texts)


def of_movie_reviews(data: Path, seed: int) -> dict[str, float]:
    found = list(movie_reviews.reviews(data / "movie_reviews" / "review_polarity.tar.gz"))
    texts = [" ".join(word for sentence in sentences for word in sentence) for sentences, _, _ in found]
    praise, late = (np.array([review[at] for review in found]) for at in (1, 2))
    early, held = ([text for text, is_late in zip(texts, late, strict=True) if is_late == part] for part in (0, 1))
    return by_words(early, praise[~late], held=(held, praise[late]))


def of_etth1(data: Path, seed: int) -> dict[str, float]:
    train, valid, test = etth1.parts(data / "ett" / "ETTh1.csv")
    flat = []
    for part in (train, valid, test):
        rows = part.take(np.arange(len(part)))
        flat.append((rows["x"].reshape(-1, etth1.PAST), rows["y"].reshape(-1, etth1.FUTURE)))
    models = [Ridge(penalty).fit(*flat[0]) for penalty in 10.0 ** np.arange(6)]
    best = min(models, key=lambda model: np.mean((model.predict(flat[1][0]) - flat[1][1]) ** 2))
    return {"test MSE": float(np.mean((best.predict(flat[2][0]) - flat[2][1]) ** 2))}


def of_cora(data: Path, seed: int) -> dict[str, float]:
    train, valid, test = cora.graphs(data / "cora")
    edges = np.loadtxt(data / "cora" / "edges.csv", np.int64, delimiter=",", skiprows=1)
    x = train.features / np.maximum(train.features.sum(1, keepdims=True, dtype=np.float32), 1)
    joined = np.eye(len(x), dtype=np.float32)
    joined[tuple(edges.T)] = joined[tuple(edges.T[::-1])] = 1
    joined /= joined.sum(1, keepdims=True)
    fits: dict[str, float] = {}
    for name, given in (("words alone", x), ("words within two citations", joined @ (joined @ x))):
        parts = [(given[part.nodes], part.labels[part.nodes]) for part in (train, valid, test)]
        models = [LogisticRegression(C=penalty, max_iter=500).fit(*parts[0]) for penalty in 10.0 ** np.arange(6)]
        fits[name] = float(score_of(models, *parts[1:]))
    return fits


def score_of(models: list[LogisticRegression], valid: tuple[Any, Any], test: tuple[Any, Any]) -> float:
    """Of the model that is best on the validation part, its share of the test part."""
    return max(models, key=lambda model: model.score(*valid)).score(*test)


class Recurrent(nn.Module):
    """The net of `shakespeare.py`, by PyTorch's own gated unit."""

    def __init__(self, characters: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(characters, shakespeare.WIDTH)
        self.unit = nn.GRU(shakespeare.WIDTH, shakespeare.UNITS, batch_first=True)
        self.out = nn.Linear(shakespeare.UNITS, characters)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.unit(self.embed(x))[0])


def of_shakespeare(data: Path, seed: int) -> dict[str, float]:
    tokens, characters = text_tokens(data / "tiny_shakespeare" / "input.txt")
    sources = [Tokens(part, shakespeare.LENGTH) for part in np.split(tokens, [len(tokens) * 9 // 10])]
    train, valid = (source.take(np.arange(len(source))) for source in sources)
    torch.manual_seed(seed)
    net = Recurrent(len(characters))
    trained(net, train["x"], train["y"], torch.optim.Adam(net.parameters(), 4e-3), shakespeare.SIZE, 1)
    with torch.no_grad():
        losses = [loss_of(net, *part) for part in batches(valid["x"], valid["y"], 512)]
    return {"validation nats a character": float(torch.stack(losses).mean())}


def of_torch_fashion(data: Path, seed: int) -> dict[str, float]:
    rows = ladle.data.load("fashion-mnist", valid=0.1)
    assert rows.test is not None
    torch.manual_seed(seed)
    net = torch_fashion.net()
    trained(net, rows.train["x"], rows.train["y"], torch.optim.AdamW(net.parameters(), 3e-3), 64, 2)
    net.eval()
    with torch.no_grad():
        right = [(net(x).argmax(1) == y).float() for x, y in batches(rows.test["x"], rows.test["y"], 512)]
    return {"test": float(torch.cat(right).mean())}


def batches(x: np.ndarray, y: np.ndarray, size: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    x, y = torch.as_tensor(np.array(x)), torch.as_tensor(np.array(y)).long()
    return list(zip(x.split(size), y.split(size), strict=True))


def loss_of(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(net(x).flatten(0, -2), y.flatten())


def trained(net: nn.Module, x: np.ndarray, y: np.ndarray, rule: torch.optim.Optimizer, size: int, passes: int) -> None:
    """A plain loop over all rows, in a new order each time."""
    for _ in range(passes):
        order = torch.randperm(len(x)).numpy()
        for rows, of in batches(x[order], y[order], size):
            rule.zero_grad()
            loss_of(net, rows.long() if rows.dtype == torch.int32 else rows, of).backward()
            rule.step()


PEERS: dict[str, Callable[[Path, int], dict[str, float]]] = {
    "sst2": of_sst2,
    "movie_reviews": of_movie_reviews,
    "etth1": of_etth1,
    "cora": of_cora,
    "shakespeare": of_shakespeare,
    "torch_fashion": of_torch_fashion,
}

FOLDERS = {"sst2": "sst2", "movie_reviews": "movie_reviews", "etth1": "ett", "cora": "cora"} | {
    "shakespeare": "tiny_shakespeare"
}
"""Where a peer's data are; those of torch_fashion are a set that `ladle.data.load` knows."""


def main(args: Sequence[str] | None = None) -> dict[str, dict[str, float]]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(PEERS)}; all where none is named")
    parser.add_argument("--data", default=os.environ.get("LADLE_DATA", ""), help="folder of data sets")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(args)
    if unknown := sorted(set(given.names) - set(PEERS)):
        parser.exit(2, f"first_peers.py: names must be of {', '.join(PEERS)}; got {unknown[0]!r}\n")
    wanted = [FOLDERS[name] for name in given.names or PEERS if name in FOLDERS]
    if missing := [name for name in wanted if not given.data or not Path(given.data, name).is_dir()]:
        remedy = "try --data FOLDER, or LADLE_DATA=FOLDER"
        parser.exit(2, f"first_peers.py: data must hold {missing[0]}/; got {given.data!r}; {remedy}\n")
    found = {}
    for name in given.names or PEERS:
        found[name] = PEERS[name](Path(given.data), given.seed)
        print(f"{name}: {', '.join(f'{what} {value:.4f}' for what, value in found[name].items())}", flush=True)
    return found


if __name__ == "__main__":
    main()

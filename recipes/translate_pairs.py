"""The short sentences of Tatoeba for `translate.py`, as numbers of words."""

from __future__ import annotations

import re
import zipfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

WORDS, RARE = 6, 4
BEGIN, END, UNKNOWN = 1, 2, 3
"""Numbers of no word, beside 0, padding."""

Words = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Sentences of at most `WORDS` words, and all French ones of each; parts by English sentence, so none is in two."""

    train: list[tuple[Words, Words]]
    valid: list[tuple[Words, list[Words]]]
    test: list[tuple[Words, list[Words]]]
    english: dict[str, int]
    french: dict[str, int]

    def rows(self, pairs: Iterable[tuple[Words, Words]]) -> tuple[np.ndarray, np.ndarray]:
        """`i32[n, WORDS]` and `i32[n, WORDS + 3]`, the French with an end."""
        pairs = list(pairs)
        x, y = np.zeros((len(pairs), WORDS), np.int32), np.zeros((len(pairs), WORDS + 3), np.int32)
        for row, (english, french) in enumerate(pairs):
            x[row, : len(english)] = [self.english.get(word, UNKNOWN) for word in english]
            y[row, : len(french) + 1] = [*(self.french.get(word, UNKNOWN) for word in french), END]
        return x, y


def read(file: Path) -> Pairs:
    lines = zipfile.ZipFile(file).read("fra.txt").decode("utf-8").splitlines()
    found: dict[Words, list[Words]] = {}
    for english, french in (map(words, line.split("\t")) for line in lines):
        if len(english) <= WORDS and len(french) <= WORDS + 2:
            found.setdefault(english, []).append(french)
    sentences = list(found)
    order = np.random.default_rng(0).permutation(len(sentences))
    valid, test, train = ([(sentences[i], found[sentences[i]]) for i in part] for part in np.split(order, [1000, 2500]))
    pairs = [(english, one) for english, every in train for one in dict.fromkeys(every)]
    english, french = (numbered(pair[side] for pair in pairs) for side in (0, 1))
    return Pairs([pair for pair in pairs if all(word in french for word in pair[1])], valid, test, english, french)


def words(sentence: str) -> Words:
    """Words, and marks by themselves: `["i", "'", "m", "fine", "."]`."""
    return tuple(re.findall(r"\w+|[^\w\s]", sentence.lower().replace("’", "'")))


def numbered(sentences: Iterable[Words]) -> dict[str, int]:
    counts = Counter(word for one in sentences for word in one)
    return {word: at for at, word in enumerate((w for w, n in counts.items() if n >= RARE), UNKNOWN + 1)}

"""The meter of a host's updates where there is nothing to weigh, and where weights lie in tensors."""

from __future__ import annotations

import torch
from torch import nn

from ladle.core.moments import Gauge
from ladle.torch.host_moments import Meter, Share, parts_of


def test_an_update_that_weighs_nothing_is_counted_and_not_measured():
    leaf = nn.Parameter(torch.ones(2))
    meter = Meter([leaf], stride=1)
    meter.begin()
    for _ in range(2):
        with meter.piece(Share(0.0, 0.0, rows=3)):
            (0 * leaf).sum().backward()
    assert not meter.end() and (meter.updates, meter.examples) == (1, 6)
    assert not meter.cut(((0 * leaf).sum(), Share(0.0, 0.0, rows=3)) for _ in range(2))
    assert meter.take().count == 0


def test_weights_in_tensors_are_those_in_numbers():
    found = []
    for number in (float, torch.tensor):
        leaf = nn.Parameter(torch.ones(2))
        meter = Meter([leaf], stride=1)
        meter.begin()
        for x in (1.0, 4.0):
            with meter.piece(Share(number(0.5), number(0.25), rows=1)):
                (x * leaf / 2).sum().backward()
        assert meter.end()
        found.append(meter.take())
    assert found[0] == found[1] and found[0].count == 1


def test_one_row_a_piece_is_cut_where_the_gauge_says_so():
    rows, leaf = torch.arange(6.0), nn.Parameter(torch.ones(()))
    for gauge, pieces in ((Gauge(per_example=True), 6), (Gauge(parts=3), 3)):
        made = list(parts_of(None, rows, 6, gauge, lambda model, some: some * leaf))
        assert len(made) == pieces and sum(share.rows for _, share in made) == 6

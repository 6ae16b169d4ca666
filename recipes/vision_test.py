"""The recipes on images, cut short: the figure moves as it should, and judges and peers are right."""

from __future__ import annotations

import io
import json

import cells
import cifar10_augmented
import flowers
import gan
import jax
import nuclei
import numpy as np
import pytest
import vae
from on_data import on_data
from PIL import Image

import ladle


@on_data
@pytest.mark.slow
@pytest.mark.long
def test_nuclei_are_found_beyond_a_threshold(tmp_path, capsys):
    found = nuclei.main(["--until", "1 epochs", "--out", str(tmp_path / "run")])
    assert found["otsu_iou"] == pytest.approx(0.806, abs=1e-3)
    assert found["iou"] > 0.6 and found["dice"] > found["iou"]
    assert (tmp_path / "run" / "run.json").is_file() and "260 crops" in capsys.readouterr().out


@on_data
@pytest.mark.slow
@pytest.mark.long
def test_cells_are_found_on_a_grid():
    found = cells.main(["--until", "6 epochs"])
    assert found["map"] > 0.1


@on_data
@pytest.mark.slow
@pytest.mark.long
def test_digits_are_coded_in_twenty_numbers():
    found = vae.main(["--until", "1 epochs"])
    assert 90 < found["bound"] < found["elbo"] < 150 and found["error"] < 0.05


def test_a_detector_that_answers_the_truth_finds_all_cells():
    boxes = [
        np.array([[0, 30, 40, 24, 20], [2, 90, 50, 9, 9]], np.float32),
        np.array([[0, 80, 60, 30, 30]], np.float32),
    ]
    grid = cells.on_grid(boxes)
    true = np.concatenate([np.where(grid[..., :3] > 0, 5.0, -5.0), grid[..., 4:]], axis=-1)
    found = cells.precisions(true, boxes)
    assert (found["RBC"], found["Platelets"]) == (1.0, 1.0)
    wrong = true.copy()
    wrong[1, ..., 3:5] += 9  # Of two red cells the second is answered nine places away.
    assert cells.precisions(wrong, boxes)["RBC"] == 0.5


def test_of_answers_that_overlap_the_best_is_left():
    outputs = np.full((15, 20, 7), -9.0)
    outputs[..., 3:] = 0
    outputs[5, 5:7, 0] = 2, 1
    outputs[12, 12, 0] = 3
    scores, boxes = cells.found_of(outputs, 0)
    assert scores[:2].tolist() == [3, 2] and boxes[:2, :2].tolist() == [[96, 96], [40, 40]]
    assert scores[2] < 0


def test_a_mirrored_picture_has_its_boxes_where_its_cells_are():
    boxes = [np.array([[1, 30, 42, 24, 20]], np.float32)]
    turned = [np.array([[1, 160 - 30, 120 - 42, 24, 20]], np.float32)]
    row = {"x": np.zeros((120, 160, 3), np.uint8), "y": cells.on_grid(boxes)[0]}
    row["x"][40, 30] = 200
    made = [cells.mirrored(row, np.array([1, k], np.uint32)) for k in range(20)]
    both = [one for one in made if one["x"][79, 129, 0]]
    assert both and len(both) < 20
    there = cells.on_grid(turned)[0]
    for one in both:
        np.testing.assert_allclose(one["y"] * one["y"][..., 3:4], there, atol=1e-6)


def test_otsu_parts_two_shades():
    image = np.where(np.arange(64).reshape(1, 8, 8) % 5 == 0, 200, 30).astype(np.uint8)
    np.testing.assert_array_equal(nuclei.otsu(image), image == 200)


@on_data
@pytest.mark.slow
@pytest.mark.long
def test_a_generator_comes_closer_to_digits(tmp_path):
    found = gan.main(["--until", "30000 examples"])
    assert found["floor"] < found["distance"] < 28  # 19.5; after 10,000 images it is 35.
    gan.save_picture(str(tmp_path / "digits.png"), *np.zeros((2, 64, 28, 28)))
    assert (tmp_path / "digits.png").stat().st_size > 100


@on_data
@pytest.mark.slow
@pytest.mark.long
def test_moved_photographs_are_learnt(tmp_path):
    found = cifar10_augmented.main(["--rows", "4000", "--until", "2 epochs", "--out", str(tmp_path)])
    assert found["augmented"] > 0.25 and found["plain"] > 0.25
    told = json.loads((tmp_path / "augmented" / "run.json").read_text())
    assert told["data"]["lane"] == "device"


@on_data
@pytest.mark.slow
@pytest.mark.long
def test_flowers_are_told_apart_from_a_trunk():
    found = flowers.main(["--before", "6000 examples", "--until", "2 epochs"])
    assert found["before"] > 0.2 and found["tuned"] > 0.35


def test_one_gradient_moves_each_player_by_what_it_pays():
    params, key = jax.jit(gan.init)(jax.random.key(0)), jax.random.key(1)
    x = np.random.default_rng(0).random((3, 28, 28)).astype(np.float32)

    def paid(judge, maker):
        """What D pays and what G pays, each by itself."""
        rows, made = x.reshape(3, -1) * 2 - 1, gan.drawn({"generator": maker}, jax.random.normal(key, (3, gan.NOISE)))
        slope = jax.grad(lambda rows: gan.played(judge, rows).sum())(rows)
        ours = jax.nn.softplus(-gan.played(judge, rows)) + jax.nn.softplus(gan.played(judge, made))
        return ours.sum() + gan.STEEP / 2 * (slope**2).sum(), jax.nn.softplus(-gan.played(judge, made)).sum()

    @jax.jit
    def gradients(params):
        players = params["discriminator"], params["generator"]
        ours = jax.grad(lambda params: gan.loss(params, {"x": x}, key).sum())(params)
        judge = jax.grad(lambda judge: paid(judge, players[1])[0])(players[0])
        return ours, {"discriminator": judge, "generator": jax.grad(lambda of: paid(players[0], of)[1])(players[1])}

    for one, other in zip(*map(jax.tree.leaves, gradients(params)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4 * abs(other).max())


def test_the_distance_of_two_clouds():
    cloud = np.random.default_rng(0).standard_normal((500, 3))
    cloud = (cloud - cloud.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(cloud.T)).T)  # Of covariance 1.
    moved = cloud * np.array([1, 2, 4]) + np.array([3, 0, 4])
    assert gan.distance(cloud, cloud) == pytest.approx(0, abs=1e-9)
    assert gan.distance(cloud, moved) == pytest.approx(25 + 1 + 9)


def test_the_net_of_photographs_is_the_same_in_both_libraries():
    torch = pytest.importorskip("torch")
    from photo_peers import Net

    rng = np.random.default_rng(0)
    net = cifar10_augmented.net(5)
    begun = jax.jit(net.init)(jax.random.key(0))[0]
    params = jax.tree.map(lambda a: np.asarray(a) + 0.1 * rng.standard_normal(a.shape).astype(np.float32), begun)
    x = rng.random((2, 16, 16, 3)).astype(np.float32)
    other = Net(5, params["blocks"])
    with torch.no_grad():
        other.head.weight.copy_(torch.tensor(params["head"]["weight"].T))
        other.head.bias.copy_(torch.tensor(params["head"]["bias"]))
        wanted = other(torch.tensor(x)).numpy()
    got = jax.jit(lambda params: net.apply(params, (), x, keys=None, weight=np.ones(2), train=False)[0])(params)
    np.testing.assert_allclose(got, wanted, atol=1e-4)


def test_the_net_of_small_photographs_is_the_same_in_both_libraries():
    torch = pytest.importorskip("torch")
    from cifar10_peers import net

    model, other = ladle.models.convnet((32, 32, 3), 10, width=4, batch_norm=True), net(4).eval()
    params, state = jax.jit(model.init)(jax.random.key(0))
    x = np.random.default_rng(0).standard_normal((2, 32, 32, 3)).astype(np.float32)
    with torch.no_grad():
        for number, layer in enumerate(params["blocks"]):
            other[4 * number].weight.copy_(torch.tensor(np.array(layer["weight"]).transpose(3, 2, 0, 1)))
        # PyTorch lays the channels outermost, ladle the places.
        head = np.array(params["head"]["weight"]).reshape(4, 4, 16, 10).transpose(3, 2, 0, 1).reshape(10, 256)
        other[-1].weight.copy_(torch.tensor(head))
        wanted = other(torch.tensor(x.transpose(0, 3, 1, 2))).numpy()
    got = jax.jit(lambda params: model.apply(params, state, x, keys=None, weight=np.ones(2), train=False)[0])(params)
    np.testing.assert_allclose(got, wanted, atol=1e-4)


def test_photographs_of_a_file_are_read_one_by_one(tmp_path):
    pytest.importorskip("torch")
    from cifar10_peers import Photographs

    shades = (0, 128, 255)
    files = [io.BytesIO() for _ in shades]
    for file, shade in zip(files, shades, strict=True):
        Image.new("RGB", (32, 32), (shade,) * 3).save(file, "JPEG")
    parts = [np.frombuffer(file.getvalue(), np.uint8) for file in files]
    held = {"bytes": np.concatenate(parts), "offsets": np.cumsum([0, *map(len, parts)]), "labels": np.arange(3)}
    np.savez(tmp_path / "some.npz", **{f"train_{name}": value for name, value in held.items()})
    rows = Photographs(tmp_path / "some.npz", "train", mirror=True)
    found = [(round(float(x.mean()) * 255 + 127.5), tuple(x.shape), y) for x, y in map(rows.__getitem__, range(3))]
    assert found == [(shade, (3, 32, 32), y) for y, shade in enumerate(shades)]


def test_colours_and_slopes_by_hand():
    pytest.importorskip("torch")
    from photo_peers import by_hand

    red, striped = np.zeros((2, 64, 64, 3), np.float32)
    red[..., 0] = 1
    striped[::8] = 1  # Dark and light from top to bottom: the slope points down, a half turn's half.
    found = by_hand(np.stack([red, striped]))
    assert found[0, 48] == found[0, 64 + 48] == 1 and found[0].sum() == 2
    slopes = found[1, 128:].reshape(-1, 9).sum(0)
    assert slopes.argmax() == 4 and slopes[4] == pytest.approx(slopes.sum())

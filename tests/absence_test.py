"""Without JAX, and without any backend: what is left works, and the rest is refused in one sentence that names both."""

from __future__ import annotations

from collections.abc import Callable

REFUSE = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
import ladle
from ladle.cli.main import run
from ladle.feed import Loader
def said(ask):
    try:
        return ask()
    except ladle.ArgumentError as error:
        return str(error)
print([len(batch["x"]) for batch in Loader({{"x": list(range(10))}}, batch_size=4, to="numpy")])
"""
JAX = ("jax", "jaxlib", "optax", "equinox", "flatbuffers", "orbax")


def test_without_jax_torch_does_it_all(fresh_python: Callable[..., str], tmp_path: object):
    code = f"""
place = {str(tmp_path)!r}
print(run(["train", "digits", "--size", "64", "--until", "1 epochs", "--quiet", "--out", place + "/run"]))
print(run(["report", place + "/run"]), ladle.load(place + "/run").description["backend"])
print(said(lambda: ladle.models.mlp(3, 2)))
print(said(lambda: ladle.losses))
print(said(lambda: ladle.fit(ladle.Task(lambda key: None, None, "digits", backend="jax"), size=8, until="1 epochs")))
"""
    lines = fresh_python(REFUSE.format(absent=JAX) + code).splitlines()
    assert lines[0] == "[4, 4, 2]" and lines[-5:-3][-1] == "0 torch"
    assert "try pip install 'ladle[jax]', or ladle.torch.mlp" in lines[-3]
    assert "ladle.losses must have JAX" in lines[-2] and "pip install 'ladle[jax]'" in lines[-1]


def test_without_a_backend_the_sentence_names_both(fresh_python: Callable[..., str]):
    code = """
sys.stderr = sys.stdout
print(run(["train", "digits"]), run(["plan", "digits"]), run(["compare", "digits"]))
print(said(lambda: ladle.fit(ladle.Task(lambda key: None, None, "digits"), size=8, until="1 epochs")))
print(said(lambda: ladle.torch.mlp(3, 2)))
"""
    lines = fresh_python(REFUSE.format(absent=(*JAX, "torch")) + code).splitlines()
    both = "try pip install 'ladle[jax]', or pip install 'ladle[torch]'"
    assert lines[0] == "[4, 4, 2]" and lines[-3] == "2 2 2" and all(both in line for line in (*lines[1:4], lines[-2]))
    assert "pip install 'ladle[torch]'" in lines[-1] and "Traceback" not in "".join(lines)

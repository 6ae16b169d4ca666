"""Execute each notebook's script beside this file and keep it with its outputs: `scripts/notebooks`.

A line `# %%` begins a cell of code, `# %% [markdown]` one of text. What is kept depends on the script and its outputs
alone: cells are numbered, and of a progress line that was written anew the last state is kept.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def cells(text: str) -> list[tuple[str, str]]:
    """The cells of a script as (kind, source), kind "code" or "markdown"."""
    made = []
    for block in ("\n" + text).split("\n# %%")[1:]:
        title, _, body = block.partition("\n")
        lines, kind = body.strip("\n").split("\n"), "markdown" if "[markdown]" in title else "code"
        if kind == "markdown":
            lines = [line.removeprefix("#").removeprefix(" ") for line in lines]
        made.append((kind, "\n".join(lines)))
    return made


def built(script: Path) -> Any:
    """The executed notebook of a script. Raises what a cell raises."""
    import nbformat
    from nbclient import NotebookClient

    new = {"code": nbformat.v4.new_code_cell, "markdown": nbformat.v4.new_markdown_cell}
    book = nbformat.v4.new_notebook(
        cells=[new[kind](source, id=f"cell-{n}") for n, (kind, source) in enumerate(cells(script.read_text()))]
    )
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(
            book,
            kernel_name="python3",
            timeout=300,
            resources={"metadata": {"path": folder}},
            record_timing=False,
            coalesce_streams=True,
        ).execute()
    book.metadata = nbformat.from_dict({"language_info": {"name": "python"}})
    for cell in book.cells:
        for output in cell.get("outputs", ()):
            _shorten(output)
    return book


def _shorten(output: Any) -> None:
    """Keep the last state of a line that was written anew, and of what is shown as a picture no long repr beside it."""
    if "text" in output:
        lines = output.text.rstrip().split("\n")
        output.text = "\n".join(line.rpartition("\r")[2].rstrip() for line in lines)
    if "text/html" in output.get("data", {}):
        output.data["text/plain"] = output.data["text/plain"].partition("(")[0]


def main() -> None:
    import nbformat

    named = [HERE / f"{name}.py" for name in sys.argv[1:]]
    for script in named or sorted(path for path in HERE.glob("*.py") if path.name != "build.py"):
        nbformat.write(built(script), script.with_suffix(".ipynb"))
        print(script.with_suffix(".ipynb"))


if __name__ == "__main__":
    main()

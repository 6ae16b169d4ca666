"""The live board: run folders read while they grow, and shown by bokeh's server on the user's own machine.

Reading (`lines`, `columns`, `follow`, `index`), what is shown (`thin`, `series`, `panels`, `told`), and the page
(`figures`, `page`, `shelf`, `server`). Nothing here writes into a run's folder.
"""

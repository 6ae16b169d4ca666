"""A trained model behind a port: takes what is queued, holds its p99, refuses the rest. Imports `core` alone.

The way of a request: `door` (uvicorn), `app` (addresses), `bodies`, `desk` (the queue and the model's thread).
`control` decides whether it is taken and how large a batch may be; `warm` and `forecast` measure that beforehand.
`served` is what a model must offer.
"""

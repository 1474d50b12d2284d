"""Making weights; needs torch.

The path of a training: `config` reads a recipe (`foreign` another project's), `checking` looks whether it can be
followed, `training.train` loops, a method of `methods` steps, `updating` changes a network of `networks`, `validation`
judges it, and `runs` keeps log, curves, `checkpoints` and weights with their card (`provenance`); `exporting` writes
what ships, `blending` mixes weights, `torch_runtime` runs them here.
Data: `datasets`, `pairs` and `labelled` find pictures, `mixtures` joins them, `patches` cuts them, `dead_leaves` draws
some. Degradations: `noise`, `blur`, `artefacts`, and `camera` with its `sensor` and `developing`; `levels` is what the
network is told of them. Losses: `losses`, `perceptual` (its features by `feature_weights`).
Machines: `optimisers`, `devices`, `processes`.
"""

"""Using weights; no torch unless asked for.

The path of a file: `denoising.denoise_file` reads its pages, `filework.FileWork` restores and writes them. The path of
a page: `working.restore_picture` cuts it into tiles, a restorer (`restorers`) denoises each, through a runtime
(`runtimes`) that executes weights (`weights`). Beside it stand `planning` (what goes where), `folders` (many files at a
time), `large` (files that do not fit into memory), `tiers` (which weights a quality means), `estimating` (how noisy a
file is), `controls` and `masks` (what is kept of the change, and where), `steadying` (one level for the frames of an
animation), `options`, `memory`, `machine`, `classical` and `demonstration`.
"""

"""The ground floor: pictures as arrays and as files. NumPy, Pillow and libvips, nothing that learns.

Files: `files` reads and writes whole ones, through the table of `formats`; `layouts` tells how a file lies on the disk,
so that `windows` reads parts of it and `rows` writes it from top to bottom; `isolation` decodes in a process of its
own, `writing` lets files appear whole, `finding` says which pictures a command names, `viewing` shows one.
Arrays: `arrays` (the contract), `ranges` (what is black and white), `gaps` (pixels that hold nothing), `tiles`.
Noise: `estimation` (how noisy?), on `spectra` and `brightness`. Judging: `metrics`; `pages` and `charts` draw reports.
"""

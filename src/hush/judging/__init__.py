"""Is it any good? All but the evaluation of pairs needs torch.

An evaluation: `evaluation` restores the pictures of `pictures` (and `blocks`) by a `protocol`, with `metrics`; what it
finds are `results`, with `intervals`.
A study: `plans` reads it, `study` trains what is missing, `judged` restores, `findings` compares, `report` writes it
down; `leakage` refuses what was trained on what judges it.
A search: `search` draws `trials`. The comparison with peers: `bench`. `markdown` puts figures into pages.
"""

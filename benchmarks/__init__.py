"""How fast it is, as ratios: ours against a baseline, in turns, in one run, on the same durable settings.

    make bench                                  everything; writes results.json and docs/reference/benchmarks.md
    python -m benchmarks --quick                the same with fewer and shorter rounds
    python -m benchmarks sqlite following       these topics alone; writes nothing

A topic is a module with one function that gives its rows. Absolute numbers belong to the machine that made them; the ratio is the
claim. A peer that cannot be run here makes no row: it is named under `skipped`.
"""

#!/usr/bin/env bash
# Regenerates the hash-locked requirements, one pair a Python minor: markers and wheels differ between them.
#
# Extra arguments go to pip-compile: `requirements/compile.sh --upgrade`. The flags keep the options of the machine's
# own package index out of the locks; tests/project/test_locks.py looks for them again.
set -euo pipefail
cd "$(dirname "$0")/.."
unset PIP_FIND_LINKS

flags=(--quiet --strip-extras --allow-unsafe --generate-hashes --no-header
       --no-emit-index-url --no-emit-trusted-host --no-emit-find-links)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for minor in 3.11 3.12 3.13; do
    python=$(command -v "python$minor") || { echo "python$minor is not here: its locks stay as they are" >&2; continue; }
    "$python" -m venv "$work/$minor"
    "$work/$minor/bin/python" -m pip install --quiet --disable-pip-version-check pip-tools
    echo "locking for Python $minor"
    "$work/$minor/bin/pip-compile" "${flags[@]}" "$@" -o "requirements/runtime-$minor.txt" pyproject.toml
    "$work/$minor/bin/pip-compile" "${flags[@]}" "$@" --extra conditions --extra demo --extra hsm \
        -c "requirements/runtime-$minor.txt" -o "requirements/dev-$minor.txt" pyproject.toml requirements/dev.in
done

#!/usr/bin/env bash
# Sets everything up, lints, checks the types and runs the tests. Arguments go to pytest.
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
install_package "[test]"
echo "==> Linting (ruff)"
ruff check .
ruff format --check .
echo "==> Checking types (pyright)"
pyright
echo "==> Running the tests (pytest)"
python -m pytest -n auto "$@"
echo "==> Done: lint, types and tests passed"

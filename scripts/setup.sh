# Sourced by the other scripts: makes .venv (or takes an active virtual environment) and installs
# this package there with the given extras.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

install_package() {
    if [ -z "${VIRTUAL_ENV:-}" ]; then
        if [ ! -x .venv/bin/python ]; then
            echo "==> Making a virtual environment in .venv"
            "${PYTHON:-python3}" -m venv .venv
        fi
        export VIRTUAL_ENV="$PWD/.venv" PATH="$PWD/.venv/bin:$PATH"
    fi
    python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "Python 3.11 or newer is needed, this is $(python --version); set PYTHON." >&2
        exit 1
    }
    echo "==> Installing jaxsnn_mc${1:-} into $VIRTUAL_ENV"
    python -m pip install --quiet --disable-pip-version-check --editable ".${1:-}"
}

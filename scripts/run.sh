#!/usr/bin/env bash
# Sets everything up and reproduces the report's experiments. Arguments go to the script.
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
install_package "[report]"
echo "==> Reproducing the report's experiments"
python scripts/reproduce_report.py "$@"

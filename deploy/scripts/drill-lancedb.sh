#!/bin/sh
# Rehearses the recovery of LanceDB databases; fails on any verdict but passed. `--help` tells the variables.
exec "$(dirname "$0")/drill.sh" lancedb "$@"

#!/bin/sh
# Rehearses the recovery of audit logs; fails on any verdict but passed. `--help` tells the variables.
exec "$(dirname "$0")/drill.sh" audit-log "$@"

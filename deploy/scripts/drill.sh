#!/bin/sh
# Rehearses the recovery of one kind of sources and fails on any verdict but passed. Called by drill-lancedb.sh and
# drill-auditlog.sh; see `usage` below. Needs nothing but a POSIX shell and dr-agent (with dr-probe beside it) or drctl.
set -eu

usage() {
    cat <<'USAGE'
usage: drill-lancedb.sh  [--kind verify|restore] [--snapshot S] [--junit FILE] [-- MORE ...]
       drill-auditlog.sh [--kind verify|restore] [--snapshot S] [--junit FILE] [-- MORE ...]

Stand-alone, from the bucket, on any machine: nothing of the host that wrote it is needed.
  DR_REPOSITORY       s3://bucket/prefix or file:///directory
  DR_IDENTITY_FILE    the key that opens it: an age identity, best the recovery key, so that this key is proved as well
  DR_STATE_DIR        a folder to keep the index cache in between runs; a temporary one if unset
  DR_AGENT            the program; dr-agent if unset

Through a coordinator, on the hosts themselves.
  DRCTL_ENDPOINT      https://coordinator:7443, or DRCTL_CONTEXT for a context of `drctl login`
  DRCTL_CERTIFICATE, DRCTL_PRIVATE_KEY, DRCTL_TRUST_BUNDLE
  DR_SELECT           labels of the hosts to rehearse, which must hold sources of this kind; all hosts if unset
  DR_WAIT_FOR         give up waiting after this time; 6h if unset. The drill itself goes on
  DRCTL               the program; drctl if unset

What stands behind -- goes to dr-agent drill or drctl drill start as it is.
Exit codes are those of dr-agent and drctl: 0 passed, 1 failed, 2 inconclusive, 3 partial; 64 is a wrong use of this script.
USAGE
}

misused() {
    printf '%s: %s\n' "$name" "$1" >&2
    usage >&2
    exit 64
}

name=drill.sh
[ $# -ge 1 ] || misused "the kind of sources is missing: lancedb or audit-log"
only=$1
shift
case $only in
    lancedb) name=drill-lancedb.sh ;;
    audit-log) name=drill-auditlog.sh ;;
    -h | --help) usage && exit 0 ;;
    *) misused "$only is not a kind of sources: lancedb or audit-log" ;;
esac

kind=restore
snapshot=latest
junit=
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage && exit 0 ;;
        --) shift && break ;;
        --kind | --snapshot | --junit) [ $# -ge 2 ] || misused "$1 needs a value" ;;
        *) misused "$1 is not an option" ;;
    esac
    case $1 in
        --kind) kind=$2 ;;
        --snapshot) snapshot=$2 ;;
        --junit) junit=$2 ;;
    esac
    shift 2
done

set -- --kind "$kind" --snapshot "$snapshot" --only "$only" --ci "$@"
[ -z "$junit" ] || set -- --junit "$junit" "$@"

standalone() {
    [ -n "${DR_IDENTITY_FILE:-}" ] || misused "DR_REPOSITORY is set and DR_IDENTITY_FILE is not: no key opens it"
    state=${DR_STATE_DIR:-}
    if [ -z "$state" ]; then
        state=$(mktemp -d "${TMPDIR:-/tmp}/drill.XXXXXX")
        # Expanded now: at the end of the script the name may mean something else.
        # shellcheck disable=SC2064
        trap "rm -rf -- '$state'" EXIT
        trap 'exit 130' INT
        trap 'exit 143' TERM
    fi
    "${DR_AGENT:-dr-agent}" drill --repository "$DR_REPOSITORY" --identity "$DR_IDENTITY_FILE" --state-dir "$state" "$@"
}

fleet() {
    "${DRCTL:-drctl}" drill start --select "${DR_SELECT:-*}" --wait --wait-for "${DR_WAIT_FOR:-6h}" "$@"
}

code=0
case "${DR_REPOSITORY:+s}${DRCTL_ENDPOINT:+c}${DRCTL_CONTEXT:+c}" in
    s) standalone "$@" || code=$? ;;
    c | cc) fleet "$@" || code=$? ;;
    '') misused "set DR_REPOSITORY (stand-alone) or DRCTL_ENDPOINT (through a coordinator)" ;;
    *) misused "DR_REPOSITORY and DRCTL_ENDPOINT are both set: which of the two is meant?" ;;
esac

case $code in
    0) said=passed ;;
    1) said="FAILED: data are disproved" ;;
    2) said="INCONCLUSIVE: nothing is proved" ;;
    3) said="PARTIAL: not everything is proved" ;;
    127) code=78 said="NOT RUN: the program is not installed" ;;
    *) said="NOT PASSED: exit code $code" ;;
esac
printf '%s: %s drill of %s sources, snapshot %s: %s\n' "$name" "$kind" "$only" "$snapshot" "$said"
exit "$code"

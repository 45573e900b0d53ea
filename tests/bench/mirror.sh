#!/usr/bin/env bash
# mirror.sh: a directory that changes its server, measured between two hosts of the lab (as root): the
# throughput of the first round beside plain `rsync -aHAX` over ssh, and how long the last round takes, which is what
# users wait for. Data are in memory as far as they fit: disks are slower, and the same for both.
#
#   FILES MIB CHURN   how many files, mebibytes in all, percent of the files that change: 100000 5120 1
#   WEICHE_LAB_CACHE  where the lab keeps its base
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export FILES="${FILES:-100000}" MIB="${MIB:-5120}" CHURN="${CHURN:-1}"
cargo build --quiet --workspace
exec cargo test --quiet -p weiche-tests --test lab_hosts mirror_figures:: -- --nocapture

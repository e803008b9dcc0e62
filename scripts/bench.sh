#!/bin/sh
# Measures nydus-gd beside plain ext4, overlay2, the registry itself and, where they are on the PATH, nydusd and
# nydus-image: tables on standard output, every value in bench/results/.
#
#   sh scripts/bench.sh                 every row
#   sh scripts/bench.sh ROW… [options]  only these; --help names rows and options
#
# Installs missing tools and builds its images from Debian packages, once, into .tools/bench. Needs root. Everything runs
# in separate namespaces and a scratch folder: only packages, images and results are left at the end.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/bootstrap.sh"
. "$root/scripts/scratch.sh"
need_root bench "$@"
bootstrap bench

make_scratch bench
mkdir "$scratch/cache"
export BENCH_SCRATCH="$scratch" NO_PROXY="127.0.0.1,localhost,::1${NO_PROXY:+,$NO_PROXY}"
unset DOCKER_HOST DOCKER_CONFIG

# The executable unpacks itself below /var/cache. Process 1 of the namespace is a shell: it reaps orphans.
run setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --mount-proc --propagation private sh -c '
  mount --bind "$BENCH_SCRATCH/cache" /var/cache
  "$@"
  exit $?' sh deno run --allow-all --quiet tests/bench/bench.ts "$@"

#!/bin/sh
# Runs format, lint, type check and the tests; the last line is `N passed, N failed, N skipped`.
#
#   sh scripts/test.sh                                              everything
#   sh scripts/test.sh unit|kernel|e2e|conformance|vm|stress …      only these tests
#   sh scripts/test.sh vm 6.1                                       on that kernel, of 6.1 and 6.12 (which is the usual one)
#
# Installs missing tools. Should run as root: tests that need root are skipped otherwise.
#
# As root everything runs in separate mount and process namespaces, below one process: when that ends, for whatever
# reason, the kernel ends all others and drops every mount. So nothing outlives a run that failed or was interrupted.
# Anything that a test left behind is detected before that and counts as a failure: see scripts/run_tests.ts.
set -eu
case " $* " in
  *" --help "* | *" -h "*) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" && exit 0 ;;
esac
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/bootstrap.sh"
. "$root/scripts/scratch.sh"
bootstrap test
case " $* " in
  "  " | *" vm "*) (bootstrap vm) || say "there can be no virtual machines here" ;;
esac

make_scratch test
mkdir "$scratch/tmp" "$scratch/home" "$scratch/cache"
# root of a user namespace has to get through to what a dockerd keeps for it
chmod 711 "$scratch" "$scratch/tmp"
export TEST_SCRATCH="$scratch" TMPDIR="$scratch/tmp" HOME="$scratch/home" XDG_CACHE_HOME="$scratch/cache"
unset DOCKER_HOST DOCKER_CONFIG XDG_RUNTIME_DIR
export NO_PROXY="127.0.0.1,localhost,::1${NO_PROXY:+,$NO_PROXY}"
[ -t 1 ] || export NO_COLOR=1

give_back() {
  for backing in /sys/block/loop*/loop/backing_file; do
    case $(cat "$backing" 2>/dev/null) in
      "$scratch"*) name=${backing#/sys/block/} && losetup --detach "/dev/${name%%/*}" ;;
    esac
  done
}

# Process 1 of the namespace must reap orphans; sh does while it waits. If this shell is killed, the kernel kills unshare,
# and with it the rest.
in_namespaces="setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --mount-proc --propagation private sh -c"
if ! $in_namespaces true 2>/dev/null; then
  echo "test: no namespaces are permitted here: what a failed run leaves behind is not cleaned up" >&2
  in_namespaces="setsid --wait sh -c"
fi
status=0
run $in_namespaces '"$@"; exit $?' sh deno run --allow-all --quiet scripts/run_tests.ts "$@" || status=$?
# The runner writes how it ended; otherwise it has died.
tail -n 1 "$scratch/summary" 2>/dev/null || { echo "0 passed, 1 failed, 0 skipped"; status=1; }
exit $status

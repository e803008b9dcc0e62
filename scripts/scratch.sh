# To be sourced: a scratch folder that is removed when the script ends, and a child that ends before.
#
#   make_scratch NAME   makes $scratch, on a disk; from here on a signal ends the child, then the script
#   run CMD…            the child's status; a function give_back, if there is one, is called before $scratch is removed

child=
make_scratch() {
  # /tmp is in memory from Debian 13 on
  [ "$(stat --file-system --format=%T /tmp)" = tmpfs ] && parent=/var/tmp || parent=/tmp
  scratch=$(mktemp -d "${TMPDIR:-$parent}/ngd-$1.XXXXXX")
  trap finish EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
}

# In the background, so that this shell handles signals immediately.
run() {
  "$@" &
  child=$!
  status=0
  wait $child || status=$?
  child=
  return $status
}

finish() {
  status=$?
  trap - EXIT INT TERM HUP
  [ -z "$child" ] || kill -KILL "$child" 2>/dev/null || true
  [ -z "$child" ] || wait "$child" 2>/dev/null || true
  ! command -v give_back >/dev/null || give_back
  # A process that the kernel is about to end may still write here.
  rm -rf --one-file-system "$scratch" 2>/dev/null || { sleep 1; rm -rf --one-file-system "$scratch"; }
  exit $status
}

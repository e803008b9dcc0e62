#!/bin/sh
# Demonstrates lazy start: a real dockerd starts a container from a real registry, compared with overlay2, and prints a
# table of the data fetched.
#
#   sh scripts/demo.sh
#
# Installs missing tools. Needs root. Everything runs in separate namespaces and a scratch folder: only packages are left
# when it ends.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/bootstrap.sh"
need_root demo "$@"
bootstrap demo
exec deno run --allow-all --quiet "$root/main.ts" demo "$@"

#!/bin/sh
# The main job, seen: a real dockerd starts a container lazily from a real registry, beside overlay2, with a table of what
# was fetched.
#
#   sh scripts/demo.sh
#
# Installs what it lacks. Needs root. Everything runs in namespaces and a scratch folder of its own: when it ends, only
# packages are left.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/bootstrap.sh"
bootstrap demo
exec deno run --allow-all --quiet "$root/main.ts" demo "$@"

#!/bin/sh
# Builds dist/nydus-gd, one executable, and dist/nydus-gd_VERSION_ARCH.deb. Installs missing tools.
# Takes the options of scripts/build_binary.ts.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/bootstrap.sh"
bootstrap build
exec deno run --allow-all --quiet scripts/build_binary.ts "$@"

# Installs missing dependencies of the scripts in this folder: Debian packages, Deno (by npm, into .tools), its packages.
#
#   sh scripts/bootstrap.sh PURPOSE…                     to prepare a machine
#   . "$root/scripts/bootstrap.sh"; bootstrap PURPOSE…   inside a script, which sets `root` to the repository before
#
# PURPOSE is one of runtime, build, test, vm, demo, bench. Afterwards `deno` is on PATH, and DENO_DIR points into .tools, so
# that nothing is left in the home folder. Works offline once it has been run. POSIX sh, for a Debian 12 or newer that has
# nothing but its essential packages.
#
# Installed services are not started: a policy-rc.d prevents that while packages are unpacked. Programs that are
# installed in another form (dockerd from docker.com, node from elsewhere) stay as they are, and nothing is ever removed.

DENO_VERSION=2.9.6

# package · package|other: the first that Debian has · package:command: not where the command exists ·
# package?: only where Debian has it
RUNTIME_PACKAGES="libfuse3-3|libfuse3-4 liblz4-1 libzstd1 zlib1g mount"
BUILD_PACKAGES="gcc:gcc libc6-dev"
DOCKER_PACKAGES="docker.io:dockerd docker-cli?:docker docker-registry:docker-registry busybox-static kmod"
TEST_PACKAGES="$RUNTIME_PACKAGES $BUILD_PACKAGES $DOCKER_PACKAGES attr debootstrap e2fsprogs erofs-utils fdisk:sfdisk libarchive-tools:bsdtar patch:patch python3:python3 systemd:systemd-analyze gcc-aarch64-linux-gnu?:aarch64-linux-gnu-gcc libc6-dev-arm64-cross?"
VM_PACKAGES="$BUILD_PACKAGES qemu-system-x86:qemu-system-x86_64 qemu-system-common virtiofsd? busybox-static kmod e2fsprogs xfsprogs:mkfs.xfs make:make binutils:strip xz-utils:xz libelf1|libelf1t64"
DEMO_PACKAGES="$RUNTIME_PACKAGES $DOCKER_PACKAGES"
BENCH_PACKAGES="$RUNTIME_PACKAGES $BUILD_PACKAGES $DOCKER_PACKAGES curl:curl debootstrap"
NPM_PACKAGES="nodejs:node npm:npm"

# How long another package manager may hold its locks.
LOCK_TIMEOUT_SECONDS=300

say() { echo "bootstrap: $*" >&2; }

die() {
  echo "bootstrap: cannot $1" >&2
  [ -z "${2:-}" ] || echo "hint: $2" >&2
  exit 1
}

# For a script that can do nothing without root: ends it before anything is installed, but never its help.
# Takes the script's name and its arguments.
need_root() {
  case " $* " in *" --help "* | *" -h "*) return 0 ;; esac
  [ "$(id -u)" = 0 ] || die "run scripts/$1.sh: containers and mounts need root" "run as root: sh scripts/$1.sh"
}

# Deno exists for these alone, and so do the tables of ffi/. A 32-bit Debian may run on a 64-bit kernel.
need_machine() {
  case $(uname -m)-$(getconf LONG_BIT) in
    x86_64-64 | aarch64-64) ;;
    *-64) die "run on $(uname -m): there is no Deno for it" "use a machine of x86_64 (amd64) or aarch64 (arm64)" ;;
    *) die "run on a 32-bit system: there is no Deno for it" "install Debian for amd64 or arm64" ;;
  esac
}

bootstrap() {
  need_machine
  cd "$root" || exit 1
  tools=$root/.tools
  # Where root has run a script before, what it made there is root's.
  mkdir -p "$tools" 2>/dev/null && [ -w "$tools" ] && { [ ! -e "$tools/.lock" ] || [ -w "$tools/.lock" ]; } ||
    die "write to $tools: it is not yours" "run as root, or clone the repository into a folder of yours"
  # One instance at a time: two would unpack into the same folders.
  exec 9>"$tools/.lock"
  flock 9
  for purpose in "$@"; do
    case $purpose in
      runtime) install_packages $RUNTIME_PACKAGES ;;
      build) install_packages $BUILD_PACKAGES ;;
      test) install_packages $TEST_PACKAGES ;;
      vm) install_packages $VM_PACKAGES ;;
      demo) install_packages $DEMO_PACKAGES ;;
      bench) install_packages $BENCH_PACKAGES ;;
      *) die "prepare for $purpose: not a purpose" "runtime, build, test, vm, demo or bench" ;;
    esac
  done
  case " $* " in *" build "* | *" test "* | *" bench "*) build_blake3 ;; esac
  install_deno
  install_modules
  hand_over
  exec 9>&-
}

# Where root works in a clone of another user, that user can go on with what is installed there. Some user namespaces do
# not permit that; then it stays root's. Trees of other scripts in .tools have owners of their own.
hand_over() {
  [ "$(id -u)" = 0 ] && [ "$(stat --format=%u "$root")" != 0 ] || return 0
  chown --reference="$root" "$tools" 2>/dev/null || return 0
  for part in .lock apt.log npm.log blake3.log package.json modules.stamp bin lib blake3 deno-cache node_modules; do
    [ ! -e "$tools/$part" ] || chown -R --no-dereference --reference="$root" "$tools/$part"
  done
  chown -R --no-dereference --reference="$root" "$root/node_modules"
}

# ---- Debian packages ----------------------------------------------------------------------------------------------

install_packages() {
  command -v dpkg-query >/dev/null || {
    say "this is no Debian: taking for granted $*"
    return 0
  }
  missing=$(missing_packages "$@")
  [ -n "$missing" ] || return 0
  command -v apt-get >/dev/null || die "install $(shown $missing): there is no apt-get"
  if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
    die "install $(shown $missing): not root, and there is no sudo" "run as root: sh scripts/bootstrap.sh $purpose"
  fi
  updated=no
  choices=$(choose_packages $missing) || {
    update_lists
    choices=$(choose_packages $missing) || die "install $(shown $missing): Debian has no such package here"
  }
  [ -n "$choices" ] || return 0
  say "installing $(echo $choices)"
  run_apt install $choices || {
    # The lists may be older than the servers.
    [ "$updated" = no ] || apt_failed "install $(echo $choices)"
    update_lists
    run_apt install $choices || apt_failed "install $(echo $choices)"
  }
}

# Prints those of the given words for which nothing is installed.
missing_packages() {
  for word in "$@"; do
    names=${word%%:*}
    case $word in *:*) ! command -v "${word#*:}" >/dev/null || continue ;; esac
    is_installed "${names%\?}" || echo "$names"
  done
}

# Prints such words for people, in one line: "libfuse3-3 or libfuse3-4", and nothing that is optional.
shown() { echo "$@" | sed -e 's/[^ ]*? *//g' -e 's/|/ or /g' -e 's/ $//'; }

is_installed() {
  for name in $(echo "$1" | tr '|' ' '); do
    # One word for each architecture. A package that others only name is "not-installed".
    case " $(dpkg-query -W -f '${db:Status-Status} ' "$name" 2>/dev/null)" in *" installed "*) return 0 ;; esac
  done
  return 1
}

# Prints one package for each of the given words. Fails if one that is not optional has none.
choose_packages() {
  for word in "$@"; do
    chosen=
    for name in $(echo "${word%\?}" | tr '|' ' '); do
      ! apt-cache policy "$name" 2>/dev/null | grep -q 'Candidate: [^(]' || { chosen=$name && break; }
    done
    case $chosen:$word in
      :*\?) ;;
      :*) return 1 ;;
      *) echo "$chosen" ;;
    esac
  done
}

update_lists() {
  say "reading Debian's package lists"
  run_apt update || apt_failed "read Debian's package lists"
  updated=yes
}

apt_failed() {
  tail -n 5 "$tools/apt.log" >&2
  die "$1: apt-get failed" "is the network there? Everything it said is in .tools/apt.log"
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Runs apt-get without prompts, service starts or removals. Waits for the locks of other instances.
run_apt() {
  verb=$1
  shift
  options=
  [ "$verb" = update ] || options="--yes --no-install-recommends --no-remove"
  waited=0
  while :; do
    status=0
    [ "$verb" = update ] || guard_services
    as_root env DEBIAN_FRONTEND=noninteractive LC_ALL=C apt-get -qq -o DPkg::Lock::Timeout=$LOCK_TIMEOUT_SECONDS \
      -o APT::Update::Error-Mode=any $options "$verb" "$@" </dev/null 9>&- >"$tools/apt.log" 2>&1 || status=$?
    [ "$verb" = update ] || release_services
    # apt-get does not wait for the lock of the package lists.
    grep -q 'Could not get lock' "$tools/apt.log" && [ $status != 0 ] || return $status
    [ $waited -lt $LOCK_TIMEOUT_SECONDS ] || return $status
    [ $waited != 0 ] || say "waiting for another package manager"
    sleep 2
    waited=$((waited + 2))
  done
}

# policy-rc.d: 101 means "action forbidden". An existing one is moved aside and restored.
POLICY=/usr/sbin/policy-rc.d
MARK="nydus-gd bootstrap"

guard_services() {
  trap 'release_services; exit 130' INT TERM HUP
  as_root sh -c "
    set -e
    if [ -e $POLICY ] && ! grep -q '$MARK' $POLICY; then mv $POLICY $POLICY.before-nydus-gd; fi
    printf '#!/bin/sh\n# $MARK\nexit 101\n' >$POLICY
    chmod 755 $POLICY" || die "keep services from starting: $POLICY cannot be written"
}

release_services() {
  ! grep -qs "$MARK" $POLICY || as_root sh -c "
    rm -f $POLICY
    if [ -e $POLICY.before-nydus-gd ]; then mv $POLICY.before-nydus-gd $POLICY; fi"
  trap - INT TERM HUP
}

# ---- BLAKE3 -------------------------------------------------------------------------------------------------------

# The C library, which Debian has as source only, inside a Rust crate. Where it is not to be had, digests by blake3 are
# made by WebAssembly.
BLAKE3_SOURCE=librust-blake3-dev

build_blake3() {
  [ ! -e "$tools/lib/libblake3.so" ] || return 0
  say "compiling libblake3 into .tools"
  rm -rf "$tools/blake3"
  mkdir -p "$tools/blake3" "$tools/lib"
  if fetch_blake3 && compile_blake3; then return 0; fi
  tail -n 5 "$tools/blake3.log" >&2
  say "going on without libblake3: digests by blake3 will be slower. Everything it said is in .tools/blake3.log"
}

fetch_blake3() {
  command -v apt-get >/dev/null || { echo "there is no apt-get" >"$tools/blake3.log"; return 1; }
  # there may be no package lists yet, or they may be older than the servers
  download_blake3 || { run_apt update && download_blake3; }
}

download_blake3() {
  (cd "$tools/blake3" && apt-get -qq download $BLAKE3_SOURCE && dpkg-deb --extract ./*.deb .) >"$tools/blake3.log" 2>&1
}

compile_blake3() {
  case $(uname -m) in
    x86_64) vectors="sse2 sse41 avx2 avx512" suffix=_x86-64_unix.S ;;
    aarch64) vectors=neon suffix=.c ;;
    *) vectors= ;;
  esac
  sources="blake3.c blake3_dispatch.c blake3_portable.c"
  for vector in $vectors; do sources="$sources blake3_$vector$suffix"; done
  # under its final name only when it is complete
  (cd "$tools"/blake3/usr/share/cargo/registry/blake3-*/c &&
    gcc -shared -fPIC -O3 -s -o "$tools/lib/libblake3.so.new" $sources) >"$tools/blake3.log" 2>&1 &&
    mv "$tools/lib/libblake3.so.new" "$tools/lib/libblake3.so"
}

# ---- Deno ---------------------------------------------------------------------------------------------------------

# The runtime itself, not npm's wrapper: whether install scripts run depends on npm's version.
find_deno() {
  for deno in "$tools"/node_modules/@deno/linux-*-glibc/deno "$tools/node_modules/deno/deno"; do
    if [ -x "$deno" ] && "$deno" --version 2>/dev/null | grep -q "^deno $DENO_VERSION "; then return 0; fi
  done
  return 1
}

install_deno() {
  export DENO_DIR="$tools/deno-cache" DENO_NO_UPDATE_CHECK=1
  find_deno || {
    command -v npm >/dev/null && command -v node >/dev/null || install_packages $NPM_PACKAGES
    say "installing Deno $DENO_VERSION into .tools"
    [ -e "$tools/package.json" ] || echo '{ "private": true }' >"$tools/package.json"
    npm install --prefix "$tools" --cache "$tools/npm-cache" --no-save --no-package-lock --ignore-scripts --no-audit \
      --no-fund --no-update-notifier --loglevel=error "deno@$DENO_VERSION" </dev/null 9>&- >"$tools/npm.log" 2>&1 || {
      tail -n 5 "$tools/npm.log" >&2
      die "install Deno $DENO_VERSION: npm failed" "is the network there? Everything it said is in .tools/npm.log"
    }
    rm -rf "$tools/npm-cache"
    find_deno || die "install Deno $DENO_VERSION: no runtime for $(uname -m) came with it"
  }
  mkdir -p "$tools/bin"
  [ "$(readlink "$tools/bin/deno" || true)" = "$deno" ] || ln -sfn "$deno" "$tools/bin/deno"
  PATH=$tools/bin:$PATH
  export PATH
}

# Installs node_modules from deno.lock. The stamp records the lock file for which that was done.
install_modules() {
  wanted=$(cat deno.json deno.lock | sha256sum | cut -c 1-64)
  [ -d node_modules ] && [ "$(cat "$tools/modules.stamp" 2>/dev/null)" = "$wanted" ] && return 0
  say "installing packages of deno.lock"
  deno install --frozen --quiet </dev/null 9>&- >&2 || die "install the packages of deno.lock" "is the network there?"
  echo "$wanted" >"$tools/modules.stamp"
}

case ${0##*/} in
  bootstrap.sh)
    set -eu
    root=$(cd "$(dirname "$0")/.." && pwd)
    [ $# -gt 0 ] || set -- runtime
    bootstrap "$@"
    say "ready"
    ;;
esac

#!/bin/sh
# Makes a kernel for virtual machines out of Debian's packages: the stock cloud kernel, with cachefiles and erofs built
# anew, on-demand loading switched on. Debian leaves CONFIG_CACHEFILES_ONDEMAND and CONFIG_EROFS_FS_ONDEMAND off, and
# both change nothing outside of these two modules.
#
#   sh build_kernel.sh find 6.12            the package of the newest 6.12 that apt knows, or a failure
#   sh build_kernel.sh make 6.12 FOLDER     FOLDER, which gets its name when it is whole:
#
#   vmlinuz           the kernel
#   lib/modules/V/    its modules, with those two in updates/, which modprobe prefers
#   boot/             what is loaded before there is a root: files, and `order`, their names in the order of loading
#
# Root is not needed. The source must be of the kernel's very version, so both come from the same lists of apt.
set -eu

# What finds the root folder, disks and the host. Those that the kernel has built in have no file.
BOOT_MODULES="virtio_pci virtio_blk virtio_console virtiofs overlay ext4"

die() {
  echo "Cannot make a kernel $version: $1" >&2
  exit 1
}

depends() { apt-cache depends "$1" 2>/dev/null | sed -n 's/^ *|\{0,1\}Depends: //p'; }
version_of() { apt-cache show --no-all-versions "$1" | sed -n 's/^Version: //p'; }

# Its own meta package where the release's kernel is another one, else the release's.
find_image() {
  for meta in "linux-image-$version-cloud-amd64" linux-image-cloud-amd64; do
    depends "$meta" | grep -x "linux-image-$version\\.[0-9].*-cloud-amd64" && return 0
  done
  return 1
}

# Gets the packages into the present folder, and sets `release`, the kernel's.
download() {
  rm -f ./*.deb
  image=$(find_image) || return 1
  release=${image#linux-image-}
  headers=linux-headers-$release
  # shellcheck disable=SC2046
  apt-get -qq download "$image" "$headers" $(depends "$headers" | grep -E '^linux-(headers|kbuild)-') \
    "linux-source-$version=$(version_of "$image")"
}

unpack() {
  for package in linux-image-*.deb linux-headers-*.deb linux-kbuild-*.deb; do dpkg-deb -x "$package" root; done
  [ -d root/lib/modules ] || { mkdir -p root/lib && mv root/usr/lib/modules root/lib/; }
  dpkg-deb --fsys-tarfile linux-source-*.deb | tar -xO "./usr/src/linux-source-$version.tar.xz" |
    tar -xJ --strip-components=2 "linux-source-$version/fs/cachefiles" "linux-source-$version/fs/erofs"
}

# BTF is left out: it wants pahole, and nothing here reads it.
compile() {
  kit=$PWD/root/usr/src/linux-headers-$release
  sed -i "s#^include /usr/src/#include $PWD/root/usr/src/#" "$kit/Makefile"
  mkdir modules
  mv cachefiles erofs modules/
  echo 'obj-m += cachefiles/ erofs/' >modules/Makefile
  make -s -C "$kit" M="$PWD/modules" -j"$(nproc)" CONFIG_DEBUG_INFO_BTF_MODULES= \
    CONFIG_CACHEFILES=m CONFIG_CACHEFILES_ONDEMAND=y CONFIG_EROFS_FS=m CONFIG_EROFS_FS_ONDEMAND=y \
    KCFLAGS="-DCONFIG_CACHEFILES_ONDEMAND=1 -DCONFIG_EROFS_FS_ONDEMAND=1" modules
  updates=root/lib/modules/$release/updates
  mkdir -p "$updates"
  for module in modules/*/*.ko; do strip -g -o "$updates/$(basename "$module")" "$module"; done
  depmod -b root "$release"
}

gather() {
  mkdir whole whole/boot
  mv root/lib whole/lib
  mv "root/boot/vmlinuz-$release" whole/vmlinuz
  for module in $BOOT_MODULES; do modprobe -d "$PWD/whole" -S "$release" --show-depends "$module"; done >loads
  awk '$1 == "insmod" && !seen[$2]++ { print $2 }' loads | while read -r file; do
    name=$(basename "$file" .xz)
    case $file in
      *.xz) xz -dc "$file" >"whole/boot/$name" ;;
      *) cp "$file" "whole/boot/$name" ;;
    esac
    echo "$name"
  done >order
  mv order whole/boot/order
}

# Lists that are older than the servers name what is not there any more, and do not name what is.
update_lists() { apt-get -qq update >&2; }

verb=$1 version=$2
case $verb in
  find) find_image || { update_lists && find_image; } || die "apt knows none" ;;
  make)
    folder=$3
    mkdir -p "${folder%/*}"
    exec 9>"$folder.lock"
    flock 9
    [ ! -d "$folder" ] || exit 0
    rm -rf "$folder.part"
    mkdir "$folder.part"
    cd "$folder.part"
    download || { update_lists && download; } || die "apt-get does not get its packages"
    unpack
    compile
    gather
    mv whole "$folder"
    cd /
    rm -rf "$folder.part"
    ;;
esac

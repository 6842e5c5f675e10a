#!/usr/bin/env bash
# Unpack Nsight Systems, without root: nsys_setup.sh PACKAGE|URL (.deb or .rpm, of NVIDIA); NSYS_PREFIX: where to
# shellcheck source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
package=${1:?usage: nsys_setup.sh PACKAGE or URL of a .deb or .rpm that NVIDIA publishes}
prefix=${NSYS_PREFIX:-$HOME/nsight-systems}
[[ $package == *.deb || $package == *.rpm ]] || { echo "error: $package: neither .deb nor .rpm" >&2 && exit "$EXIT_USAGE"; }
[[ -f $package || $package == http*://* ]] || { echo "error: $package: no such file" >&2 && exit "$EXIT_USAGE"; }
mkdir -p "$prefix"
if [[ $package == http*://* ]]; then
    curl --fail --location --output "$prefix/${package##*/}" "$package"
    package=$prefix/${package##*/}
fi
case $package in
    *.deb) dpkg-deb --extract "$package" "$prefix" ;;
    *.rpm) package=$(realpath "$package") && (cd "$prefix" && rpm2cpio "$package" | cpio --extract --make-directories --quiet) ;;
esac
found=$(find "$prefix" -name nsys -perm -u+x ! -type d | sort | tail -1)
[[ -n $found ]] || { echo "error: $package holds no program nsys" >&2 && exit "$EXIT_BROKEN"; }
echo "add it to PATH: export PATH=\"$(dirname "$found"):\$PATH\""

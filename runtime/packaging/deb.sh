#!/usr/bin/env bash
# Builds the Debian package: runtime/packaging/deb.sh [TARGET]
#
# TARGET is aarch64-unknown-linux-gnu (arm64) or armv7-unknown-linux-gnueabihf (armhf); without it, this machine's. Needs
# cargo-deb (`cargo install cargo-deb --locked`), and Debian's cross compiler for another architecture:
# crossbuild-essential-arm64 or crossbuild-essential-armhf, and `rustup target add TARGET`.
set -euo pipefail
cd "$(dirname "$0")/../.."

case ${1:-} in
  "") options=() ;;
  aarch64-unknown-linux-gnu | armv7-unknown-linux-gnueabihf)
    options=(--target "$1")
    triple=${1/-unknown/} && triple=${triple/armv7/arm}
    variable=${1//-/_}
    export "CC_$variable=$triple-gcc" "CXX_$variable=$triple-g++"
    export "CARGO_TARGET_${variable^^}_LINKER=$triple-gcc"
    ;;
  *) echo "$1: is no target of this script; see its first lines" >&2 && exit 2 ;;
esac

target=${CARGO_TARGET_DIR:-target}
cargo build --locked --profile dist -p runtime --features hardware "${options[@]}"

# Manual pages and completions are the same on every architecture, and written by a program for this one.
if [ -z "${1:-}" ]; then
  "$target/dist/runtime" install-files runtime/packaging/files
else
  cargo run --locked --release -p runtime -- install-files runtime/packaging/files
fi

cargo deb --locked --no-build --profile dist -p runtime "${options[@]}"
rm -r runtime/packaging/files

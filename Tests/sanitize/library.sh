#!/bin/sh
# library.sh KIND: builds the static library with checks into build/sanitize/KIND and prints its
# path. KIND is `address` (AddressSanitizer in Swift and C, UndefinedBehaviorSanitizer in C, and the
# counters that libFuzzer is guided by) or `thread` (ThreadSanitizer). It is Embedded Swift with
# optimisation, as the Python package has it; setup.py explains these flags.
set -eu
kind=$1
folder=build/sanitize/$kind
mkdir -p "$folder"
set -- build -c release --product VQDiffusionABI --scratch-path "$folder" -Xswiftc -g \
    -Xswiftc -enable-experimental-feature -Xswiftc Embedded -Xswiftc -wmo
# The level with fused multiply-add: valgrind runs the lowest one, which is built otherwise.
for flag in $("$(dirname "$0")/level.sh"); do
    set -- "$@" -Xcc "$flag"
done
case $(uname -m)-$("$(dirname "$0")/level.sh") in
x86_64-) ;;
*) set -- "$@" -Xswiftc -DVQD_FMA ;;
esac
case $kind in
address) set -- "$@" -Xswiftc -sanitize=address,fuzzer -Xcc -fsanitize=address,undefined ;;
thread) set -- "$@" --sanitize=thread ;;
esac
XDG_CACHE_HOME=$(pwd)/$folder/cache swift "$@" >"$folder/log" 2>&1 || {
    cat "$folder/log" >&2
    exit 1
}
echo "$folder/release/libVQDiffusionABI.a"

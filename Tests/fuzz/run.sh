#!/bin/sh
# run.sh SECONDS PYTHON [SEED]: half of the seconds of calls of the C ABI under libFuzzer,
# AddressSanitizer and UndefinedBehaviorSanitizer, and half of hostile calls of the Python package.
# Prints what ran; what breaks stops it. PYTHON has the package installed. Each part takes the seed,
# by default the time, and prints it: `Tests/fuzz/run.sh SECONDS PYTHON SEED` does the same again.
set -eu
seconds=$1
python=$2
seed=${3:-$(date +%s)}
out=build/fuzz
mkdir -p "$out/found"
for program in swift clang; do
    command -v $program >/dev/null || {
        echo "make fuzz needs $program, and there is none on PATH:" \
            'install a toolchain from https://www.swift.org/install/linux' >&2
        exit 1
    }
done

library=$(Tests/sanitize/library.sh address)
# shellcheck disable=SC2046 # one flag or none
clang -std=c11 -O2 -g -Wall -Wextra -Wpedantic -Werror $(Tests/sanitize/level.sh) \
    -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -ISources/CVQDiffusion/include \
    Tests/fuzz/*.c "$library" @Tests/fuzz/wrapped.txt -lm -lpthread \
    -o "$out/abi_fuzz" 2>"$out/link.log" || {
    cat "$out/link.log" >&2
    exit 1
}

# Choices that an input leaves open come from a generator that it seeds: a few bytes are enough.
echo "fuzz: C ABI, seed $seed"
ASAN_OPTIONS=malloc_context_size=3 "$out/abi_fuzz" -seed="$seed" -max_len=64 \
    -max_total_time=$((seconds / 2)) -print_funcs=0 -entropic=0 -use_cmp=0 \
    -artifact_prefix="$out/found/" >"$out/abi.log" 2>&1 || {
    tail -n 60 "$out/abi.log" >&2
    exit 1
}
sed -n '/ calls$/,$p' "$out/abi.log"

# hostile SCRIPT ARGUMENT...: one that prints how many calls returned and how many raised.
hostile() {
    script=$1
    shift
    OMP_NUM_THREADS=1 "$python" "python/tests/$script" "$@" >"$out/counts" 2>"$out/python.log" || {
        tail -n 60 "$out/python.log" >&2
        exit 1
    }
    echo "fuzz: $script $*: $(sed 's/\(.*\) \(.*\)/\1 returned, \2 raised/' "$out/counts")"
}
part=$((seconds / 10))
most=1000000000
hostile hostile_calls.py "$seed" $most $part
hostile hostile_native.py "$seed" $most $part
hostile hostile_configs.py "$seed" $most $part
hostile hostile_threads.py $part
if "$python" -c 'import torch' 2>/dev/null; then
    hostile diffusers/hostile_tensors.py "$seed" $most $part
else
    echo 'fuzz: no torch, so no hostile tensors: make test-diffusers installs it'
fi

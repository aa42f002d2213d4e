#!/bin/sh
# run.sh PYTHON [PART ...]: runs the tests under sanitizers and valgrind, and prints a line for each
# part: what ran and how much of it. A report ends the part with what the tool says. PYTHON has the
# package and pytest installed; parts are address, thread, swift, python and valgrind.
set -eu
here=$(dirname "$0")
python=$1
shift
[ $# -gt 0 ] || set -- address thread swift python valgrind
out=build/sanitize
mkdir -p "$out"

needs() { # needs PROGRAM HOW
    command -v "$1" >/dev/null || {
        echo "make sanitize needs $1, and there is none on PATH: $2" >&2
        exit 1
    }
}
needs swift 'install a toolchain from https://www.swift.org/install/linux'
needs clang 'it comes with the Swift toolchain, in the same folder'

# quietly NAME COMMAND...: runs it with what it says in a file, which is shown if it fails.
quietly() {
    log=$out/$1.log
    shift
    "$@" >"$log" 2>&1 || {
        tail -n 100 "$log"
        exit 1
    }
}

# c_tests KIND COMPILER-FLAG...: the tests of the C ABI, which say how many checks have passed.
c_tests() {
    kind=$1
    shift
    library=$("$here/library.sh" "$kind")
    # shellcheck disable=SC2046 # one flag or none
    quietly "$kind-link" clang -std=c11 -O1 -g -Wno-unused-command-line-argument \
        $("$here/level.sh") -ISources/CVQDiffusion/include Tests/C/*.c "$library" "$@" -lm \
        -lpthread -o "$out/abi_test-$kind"
    quietly "$kind" "$out/abi_test-$kind"
    echo "$kind: C ABI, $(tail -n 1 "$out/$kind.log"), reports: 0"
}

address() {
    c_tests address -fsanitize=address,undefined -fno-sanitize-recover=all
}

# The toolchain's runtime of ThreadSanitizer also knows of libdispatch, which it therefore needs.
thread() {
    libraries=$(swift -print-target-info |
        sed -n '/"runtimeLibraryPaths"/{n;s/^ *"\(.*\)".*/\1/p;}')
    c_tests thread -fsanitize=thread -L"$libraries" -Wl,-rpath,"$libraries" -ldispatch \
        -lBlocksRuntime
}

# The tests of the core as ordinary Swift, with optimisation: without it they take hours. One asks
# for memory that nobody has, and is to be refused. XCTest, which has none of them, leaks.
swift_tests() {
    refusing=allocator_may_return_null=1
    quietly "swift-$1" env ASAN_OPTIONS=$refusing TSAN_OPTIONS=$refusing swift test -c release \
        --disable-xctest -Xswiftc -enable-testing --sanitize="$1" --scratch-path "$out/swift-$1"
    count=$(sed -n 's/.*Test run with \([0-9]* tests\).*/\1/p' "$out/swift-$1.log" | tail -n 1)
    echo "$1: Swift core, $count, reports: 0"
}

swift_core() {
    swift_tests address
    swift_tests thread
}

# The module with the checks of `address`, in a copy of the package. Python itself leaks what it
# makes once, so leaks are not looked for: test_leaks.py does. Left out: levels, of which there is
# one; limits of the address space, which the sanitizer exceeds; and a test that counts calls in
# 1.5 s.
python_tests() {
    library=$("$here/library.sh" address)
    package=$out/python/vqdiffusion
    rm -rf "$package" && mkdir -p "$out/python"
    cp -r python/vqdiffusion "$package"
    rm -f "$package"/*.so
    case $(uname -m)-$("$here/level.sh") in
    x86_64-) level=x86-64 ;;
    x86_64-*) level=x86-64-v3 ;;
    *) level=aarch64 ;;
    esac
    module=_native_$(echo "$level" | tr - _)
    include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    # Without glibc.c, which would hide functions from the sanitizer.
    sources=$(ls python/native/*.c | grep -v /glibc.c)
    # shellcheck disable=SC2046,SC2086 # words
    quietly python-link clang -shared -fPIC -std=c11 -O1 -g $("$here/level.sh") \
        -fsanitize=address,undefined -fno-sanitize-recover=all -shared-libasan -fvisibility=hidden \
        -DVQD_MODULE="$module" -DVQD_CPU="\"$level\"" -DPy_LIMITED_API=0x030B0000 \
        -I"$include" -ISources/CVQDiffusion/include $sources "$library" -lm -lpthread \
        -o "$package/$module.abi3.so"
    runtime=$(clang -print-file-name="libclang_rt.asan-$(uname -m).so")
    tests="python/tests/test_native*.py python/tests/test_hostile_arguments.py
        python/tests/test_huge_shapes.py python/tests/test_truncate_by_count.py
        python/tests/test_strides.py python/tests/test_unmask_edges.py python/tests/test_engines.py"
    # shellcheck disable=SC2086 # words
    quietly python env LD_PRELOAD="$runtime" ASAN_OPTIONS=detect_leaks=0 \
        PYTHONPATH="$out/python" VQDIFFUSION_CPU="$level" PYTHONMALLOC=malloc \
        "$python" -m pytest -q -p no:cacheprovider $tests \
        --deselect python/tests/test_native_levels.py \
        -k 'not cannot_be_had and not there_is_no_memory and not another_thread_overwrites'
    echo "address: Python, $(tail -n 1 "$out/python.log" | tr -d '='), reports: 0"
}

# The lowest CPU level, as users get it: valgrind knows no AVX-512, and stripped.
valgrind_tests() {
    needs valgrind 'apt install valgrind'
    case $(uname -m) in
    x86_64) library=build/swift-x86-64/release/libVQDiffusionABI.a ;;
    *) library=build/swift-aarch64/release/libVQDiffusionABI.a ;;
    esac
    quietly valgrind-link "${CC:-cc}" -std=c11 -O1 -s -ISources/CVQDiffusion/include Tests/C/*.c \
        "$library" -lm -lpthread -o "$out/abi_test-valgrind"
    quietly valgrind valgrind --error-exitcode=1 --leak-check=full --errors-for-leak-kinds=all \
        --show-leak-kinds=all "$out/abi_test-valgrind"
    echo "valgrind: C ABI, $(grep 'passed' "$out/valgrind.log"), reports: 0"
}

for part in "$@"; do
    case $part in
    address) address ;;
    thread) thread ;;
    swift) swift_core ;;
    python) python_tests ;;
    valgrind) valgrind_tests ;;
    esac
done

# Everything is made in .venv, .venv-oldest, build and .build, inside this folder.

ifeq ($(origin PYTHON),undefined)
# The shims of version managers fail where the home folder is another, so a python3 on PATH may still not run.
PYTHONS := python3 python3.13 python3.12 python3.11 /usr/bin/python3
else
PYTHONS := $(PYTHON)
endif

VENV := .venv
OLDEST := .venv-oldest
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# pip compiles nothing in advance, which would take three minutes: tests import a tenth of it. Python compiles that at
# its first import and, with the second variable empty, keeps the result.
export PIP_COMPILE := 0
export PYTHONDONTWRITEBYTECODE :=
# What is built here is tested here and sent elsewhere: every CPU level.
export VQDIFFUSION_BUILD_CPUS := $(or $(strip $(VQDIFFUSION_BUILD_CPUS)),all)
SOURCES := Package.swift setup.py pyproject.toml \
    $(shell find Sources python/vqdiffusion python/native -type f -not -name '*.pyc')

# Of this machine, lowest first, as the installed package names them; shell words for recipes.
CPU_LEVELS = $$($(VENV)/bin/python -c 'from vqdiffusion import _native; print(*_native.supported_cpus())')
LOWER_CPU_LEVELS = $$($(VENV)/bin/python -c 'from vqdiffusion import _native; print(*_native.supported_cpus()[:-1])')
# A process for each core, each with a torch of its own; one that has nothing left takes tests of another.
PYTEST := pytest --numprocesses=logical --maxprocesses=4 --dist=worksteal
# Of the cases of each parametrised test one in four: for CPU levels, threads and versions beside those of the whole run.
SOME := --one-in=4
# Where the arithmetic is; the other tests are of the package, the demo and bad input.
ARITHMETIC := $(patsubst %,python/tests/test_%.py,chain check_finite golden guidance layouts plan posterior properties sampling)

PYTHON_SOURCES := python benchmarks examples reliability releasing training Tests setup.py
C_SOURCES := $(wildcard Sources/CVQDiffusion/*.c Sources/CVQDiffusion/include/*.h python/native/*.[ch] Tests/C/*.[ch] Tests/fuzz/*.[ch])

NUMPY_ONLY := --ignore=python/tests/diffusers --ignore=python/tests/ray

# Where the CPU level plays no part, or the test tries each.
PYTHON_ONLY := $(patsubst %,--ignore=python/tests/test_%.py,beginners_mistakes bound build class_surface config config_files \
    demo demo_html digit_chains docs_pages enumerated_chains inpainting interrupts leaks \
    many_threads native_levels numbers_at_the_edge order_scripts orders orders_figures orders_page orders_remdm plot processes \
    read_only recipes recipes_chains recipes_known recipes_page release schedules schedules_bad_input shared_objects \
    signals subinterpreters threads_environment timestep_sampler)

# Wheels of this machine and, where the tools are, of aarch64, which compiles for another machine and runs emulated.
MACHINE := $(shell uname -m)
WHEELS := $(patsubst %,build/.wheel-%,$(MACHINE))
ifeq ($(MACHINE),aarch64)
AARCH64_MISSING := another machine
SAY_WHAT_IS_MISSING :=
else
AARCH64_MISSING := $(shell for tool in aarch64-linux-gnu-gcc qemu-aarch64-static; do command -v $$tool >/dev/null || echo $$tool; done)
ifeq ($(AARCH64_MISSING),)
WHEELS += build/.wheel-aarch64
else
SAY_WHAT_IS_MISSING = @echo 'SKIPPED aarch64: there is no $(firstword $(AARCH64_MISSING)) on PATH:' \
    'apt install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static'
endif
endif
# The lowest level whose results aarch64 has, bit for bit: fused multiply-add is an instruction of both.
EQUAL_LEVEL := x86-64-v3
PREFIX ?= /usr/local
# Of make statistics, by the inverse CDF; by Gumbel-max a tenth.
DRAWS ?= 1e9
CPU = $(lastword $(shell $(VENV)/bin/python -c 'from vqdiffusion import _native; print(*_native.supported_cpus())'))
INSTALL_C = install -D -m 644 Sources/CVQDiffusion/include/vqdiffusion.h $(1)/include/vqdiffusion.h && \
    install -D -m 644 build/swift-$(CPU)/release/libVQDiffusionABI.a $(1)/lib/libvqdiffusion.a
# The pages of the site and the files that they link to, which lie there as they do here.
SITE := README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md LICENSE docs benchmarks/NOTES.md $(wildcard examples/*.py) \
    python/tests/reference.py python/vqdiffusion/schedules.py Sources/CVQDiffusion/include/vqdiffusion.h
# The files in a wheel are as old as the commit, so that two builds of it are equal.
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 315532800)

.PHONY: help demo build lint test lane-downloads lane-python lane-builds test-core test-swift test-c test-python \
    test-levels test-threads test-diffusers test-diffusers-oldest test-ray test-aarch64-c test-aarch64 test-reproducible sanitize fuzz faults statistics \
    wheels sdist release install-c docs bench clean

help: ## list these targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/make \1	\2/p' Makefile
	@echo 'make PYTHON=/path/to/python ... makes .venv with that interpreter.'

demo: $(VENV)/.with-demo ## install into .venv and draw 100 digits: digits.png and digits.gif
	$(VENV)/bin/python -m vqdiffusion demo

build: $(VENV)/.with-demo ## build and install into .venv

# What tests need is downloaded while Swift compiles. Then one lane takes every core, and the other mostly one. Ray comes
# last: beside other parts it takes six times as long.
test: $(VENV)/.with-lint ## run every test
	$(MAKE) --jobs=3 --no-print-directory $(VENV)/.installed $(OLDEST)/.versions lane-downloads
	$(MAKE) --jobs=2 --no-print-directory lane-python lane-builds

lane-downloads: LANE := $(patsubst %,$(VENV)/.%,torch accelerate extra-test extra-diffusers extra-ray wheel-tools)
lane-python: LANE := test-python test-levels test-threads test-diffusers test-diffusers-oldest test-ray
lane-builds: LANE := lint test-swift test-c wheels test-aarch64-c fuzz
lane-%: SHELL := bash
lane-%: .SHELLFLAGS := -o pipefail -c
lane-downloads lane-python lane-builds: lane-%:
	$(MAKE) --jobs=1 --no-print-directory $(LANE) 2>&1 | sed --unbuffered 's/^/$*: /'

lint: $(VENV)/.with-lint ## check the form of Swift, C and Python sources, and Python's types
	swift format lint --strict --recursive Sources Tests reliability Package.swift
	$(VENV)/bin/clang-format --dry-run --Werror $(C_SOURCES)
	$(VENV)/bin/ruff format --quiet --check $(PYTHON_SOURCES)
	$(VENV)/bin/ruff check --quiet $(PYTHON_SOURCES)
	$(VENV)/bin/mypy --no-error-summary

test-core: test-swift test-c test-python test-levels test-threads ## run the tests that need no torch

test-swift: ## test the Swift core
	swift test

test-c: $(VENV)/.with-test ## use the C ABI from C, at every CPU level that this machine can run; the program of docs/c.md
	clang++ -std=c++11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -x c++ Sources/CVQDiffusion/include/vqdiffusion.h
	for level in $(CPU_LEVELS); do \
	    $(CC) -std=c11 -O1 -Wall -Wextra -Wpedantic -Werror -ISources/CVQDiffusion/include Tests/C/*.c \
	        build/swift-$$level/release/libVQDiffusionABI.a -lm -lpthread -o build/abi_test-$$level \
	    && build/abi_test-$$level || exit 1; \
	done
	$(call INSTALL_C,build/prefix)
	sed -n '/^```c$$/,/^```$$/{/^```/!p}' docs/c.md >build/prefix/first.c
	sed -n '/^```text$$/,/^```$$/{/^```/!p}' docs/c.md >build/prefix/expected.txt
	$(CC) -std=c11 -Wall -Wextra -Wpedantic -Werror build/prefix/first.c -I build/prefix/include -L build/prefix/lib \
	    -lvqdiffusion -lm -lpthread -Wl,--gc-sections -o build/prefix/first
	build/prefix/first | diff -b build/prefix/expected.txt -

test-python: $(VENV)/.with-test ## test the installed Python package on NumPy arrays
	$(VENV)/bin/python -m $(PYTEST) $(NUMPY_ONLY)

test-levels: $(VENV)/.with-test ## one in four of them at every lower CPU level that this machine can run
	for level in $(LOWER_CPU_LEVELS); do \
	    VQDIFFUSION_CPU=$$level $(VENV)/bin/python -m $(PYTEST) --quiet $(SOME) $(NUMPY_ONLY) \
	        $(PYTHON_ONLY) || exit 1; \
	done

# Most of their input is below the 2^17 exponentials that are worth a thread; test_determinism.py has larger input.
test-threads: $(VENV)/.with-test ## one in four of the tests of the arithmetic on three threads
	$(VENV)/bin/python -m $(PYTEST) --quiet $(SOME) --num-threads=3 $(ARITHMETIC)

test-diffusers: $(VENV)/.with-test $(VENV)/.with-diffusers $(VENV)/.accelerate ## test the drop-in beside diffusers itself
	$(VENV)/bin/python -m $(PYTEST) python/tests/diffusers

test-ray: $(VENV)/.with-test $(VENV)/.with-ray ## test the Ray Data job, which loses its workers and its driver
	$(VENV)/bin/python -m pytest python/tests/ray

test-diffusers-oldest: NOT_BENCHMARKS := --ignore=python/tests/diffusers/test_benchmarks.py
test-diffusers-oldest: $(OLDEST)/.installed ## one in four of the tests beside the oldest torch and diffusers that it works with
	@if [ -x $(OLDEST)/bin/python ]; then \
	    echo '$(OLDEST)/bin/python -m $(PYTEST) $(SOME) $(NOT_BENCHMARKS) python/tests/diffusers' && \
	    $(OLDEST)/bin/python -m $(PYTEST) $(SOME) $(NOT_BENCHMARKS) python/tests/diffusers; \
	else \
	    echo 'SKIPPED: the oldest torch runs on Python 3.11 and 3.12, and neither is among: $(PYTHONS).'; \
	fi

sanitize: $(VENV)/.with-test ## run the tests of C, Swift and Python under sanitizers, and of C under valgrind
	Tests/sanitize/run.sh $(VENV)/bin/python $(PARTS)

# A minute is as much as `make test` has; more finds more: make fuzz SECONDS=3600.
SECONDS := 60
SEED := 1
fuzz: $(VENV)/.with-test ## make random calls of the C ABI between guard pages and hostile calls of Python, for SECONDS
	Tests/fuzz/run.sh $(SECONDS) $(VENV)/bin/python $(SEED)

# Of the last commit, in folders whose paths differ in length.
test-reproducible: $(VENV)/.with-test $(VENV)/.wheel-tools ## build the wheels twice, in two folders, and compare
	rm -rf build/one build/another
	for folder in one another; do \
	    mkdir -p build/$$folder && git archive HEAD | tar -x -C build/$$folder; \
	    for machine in $(patsubst build/.wheel-%,%,$(WHEELS)); do \
	        (cd build/$$folder && VQDIFFUSION_BUILD_MACHINE=$$machine $(BUILD_WHEEL)_$$machine . >log 2>&1) \
	        || { cat build/$$folder/log; exit 1; }; \
	    done; \
	done
	diff -r build/one/dist build/another/dist && ls -l build/one/dist

# FAULTS='remask,Draw/Gumbel' plants those whose name, kind or file contains one of these.
FAULTS ?=
JOBS ?= 2
faults: $(VENV)/.with-test $(VENV)/.with-diffusers $(VENV)/.accelerate ## plant the faults of Tests/faults and see whether the tests notice them
	$(VENV)/bin/python Tests/faults/run.py --jobs $(JOBS) '$(FAULTS)'

wheels: $(WHEELS) ## build the wheels into dist, for aarch64 too where the cross compiler is, and check them
	$(SAY_WHAT_IS_MISSING)

sdist: $(VENV)/.with-test $(VENV)/.wheel-tools ## build the source distribution into dist and check it
	rm -f dist/*.tar.gz
	$(VENV)/bin/python -m build --sdist --no-isolation --outdir dist . >build/sdist.log 2>&1 \
	    || { cat build/sdist.log; exit 1; }
	$(VENV)/bin/twine check --strict dist/*.tar.gz

# The first and the last look at the tree: nothing may change while this builds.
release: $(VENV)/.created ## build what is to be uploaded, try it on each Python and NumPy, say which tag to set
	$(VENV)/bin/python releasing/ready.py
	rm -rf dist build/.wheel-*
	$(MAKE) wheels sdist
	$(VENV)/bin/python releasing/install.py $(PYTHONS)
	$(VENV)/bin/python releasing/ready.py
	$(VENV)/bin/python releasing/announce.py

test-aarch64-c: $(if $(AARCH64_MISSING),,build/.wheel-aarch64) ## use the C ABI for aarch64 from C, emulated
ifeq ($(AARCH64_MISSING),)
	aarch64-linux-gnu-gcc -std=c11 -O1 -Wall -Wextra -Wpedantic -Werror -ISources/CVQDiffusion/include Tests/C/*.c \
	    build/swift-aarch64/release/libVQDiffusionABI.a -lm -o build/abi_test-aarch64
	qemu-aarch64-static -L /usr/aarch64-linux-gnu build/abi_test-aarch64
else
	$(SAY_WHAT_IS_MISSING)
endif

# As many of the tests as say something about the machine; emulated, they take half an hour.
test-aarch64: STARTS_A_PROCESS := --deselect=python/tests/test_plan.py::test_the_example# which an emulated Python cannot
test-aarch64: $(if $(AARCH64_MISSING),,build/aarch64/.with-wheel) ## install the wheel for aarch64 into an emulated Python, compare with this machine and test the arithmetic
ifeq ($(AARCH64_MISSING),)
	VQDIFFUSION_CPU=$(EQUAL_LEVEL) $(VENV)/bin/python Tests/aarch64/fingerprints.py >build/aarch64/expected.txt
	build/aarch64/python Tests/aarch64/fingerprints.py | diff build/aarch64/expected.txt -
	VQDIFFUSION_AARCH64_PYTHON=build/aarch64/python $(VENV)/bin/python -m pytest --quiet python/tests/test_determinism.py -k aarch64
	build/aarch64/python -m pytest --quiet -p no:cacheprovider $(STARTS_A_PROCESS) $(ARITHMETIC)
else
	$(SAY_WHAT_IS_MISSING)
endif

install-c: $(VENV)/.with-demo ## copy the header and the static library for C into PREFIX
	$(call INSTALL_C,$(PREFIX))

docs: $(VENV)/.docs-tools $(VENV)/.with-demo ## build the documentation site: build/site/index.html
	rm -rf build/docs build/site && mkdir -p build/docs
	cp -r --parents $(SITE) build/docs
	$(VENV)/bin/python -m vqdiffusion demo --out build/digits.png --html build/docs/docs/chain.html
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --config-file docs/mkdocs.yml

bench: $(VENV)/.with-bench ## time the scheduler beside diffusers', torch.compile and NumPy, check that all compute the same, write the figures
	OMP_WAIT_POLICY=PASSIVE $(VENV)/bin/python -W ignore benchmarks/bench.py

# The core's exp and log are internal, so their sources are compiled alone, for each level with setup.py's flags.
statistics: $(VENV)/.with-test $(VENV)/.with-diffusers $(VENV)/.statistics-tools ## test 10^9 draws, and compare the errors of each CPU level with diffusers': minutes
	mkdir -p build/reliability
	for level in $(CPU_LEVELS); do \
	    case $$level in \
	        x86-64) flags='-Xcc -march=x86-64';; \
	        aarch64) flags=-DVQD_FMA;; \
	        *) flags="-DVQD_FMA -Xcc -march=$$level";; \
	    esac; \
	    swiftc -Osize -swift-version 6 -I Sources/CVQDiffusion/include $$flags Sources/VQDiffusion/Vector/*.swift \
	        reliability/exp_log/main.swift -o build/reliability/exp_log-$$level || exit 1; \
	done
	$(VENV)/bin/python -W ignore reliability/accuracy.py
	$(VENV)/bin/python reliability/draws.py --draws $(DRAWS)

clean: ## remove all that was made here
	rm -rf $(VENV) $(OLDEST) .build build dist python/*.egg-info .pytest_cache .hypothesis .mypy_cache \
	    .ruff_cache

# setuptools is installed here once, so that each build after this one downloads nothing.
$(VENV)/.created:
	@for python in $(PYTHONS); do \
	    if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        echo "$$python -m venv $(VENV)"; \
	        rm -rf $(VENV) && "$$python" -m venv $(VENV) && $(VENV)/bin/pip install --quiet 'setuptools>=77' && touch $@; \
	        exit; \
	    fi; \
	done; \
	echo 'There is no Python 3.11 or newer with the module venv among: $(PYTHONS).' \
	    'Install one (apt install python3 python3-venv python3-dev) or name one: make PYTHON=/path/to/python' >&2; \
	exit 1

# Versions are fixed, so that a new rule breaks no old commit.
RUFF := 'ruff==0.14.5'

$(VENV)/.with-lint: $(VENV)/.created
	$(VENV)/bin/pip install --quiet $(RUFF) 'clang-format==21.1.2' 'mypy==2.4.1' numpy
	@touch $@

# Ruff formats signatures.
$(VENV)/.docs-tools: $(VENV)/.created
	$(VENV)/bin/pip install --quiet 'mkdocs==1.6.1' 'mkdocs-material==9.8.2' 'mkdocstrings==1.0.8' \
	    'mkdocstrings-python==2.0.11' 'griffelib==2.4.1' $(RUFF)
	@touch $@

$(VENV)/.statistics-tools: $(VENV)/.created
	$(VENV)/bin/pip install --quiet 'scipy==1.17.1' 'mpmath==1.3.0'
	@touch $@

$(VENV)/.wheel-tools: $(VENV)/.created
	$(VENV)/bin/pip install --quiet 'auditwheel==6.8.2' 'abi3audit==0.0.26' 'build==1.6.1' 'twine==7.0.0'
	@touch $@

BUILD_WHEEL := $(abspath $(VENV))/bin/python -m build --wheel --no-isolation --config-setting=--build-option=--plat-name=manylinux_2_28

# The oldest glibc that a wheel asks for is in its name; auditwheel finds out which one it needs.
build/.wheel-%: $(VENV)/.with-test $(VENV)/.wheel-tools
	rm -rf dist/*_$*.whl build/dist-$*
	VQDIFFUSION_BUILD_MACHINE=$* $(BUILD_WHEEL)_$* --outdir build/dist-$* . >build/wheel-$*.log 2>&1 \
	    || { cat build/wheel-$*.log; exit 1; }
	$(VENV)/bin/auditwheel show build/dist-$*/*.whl | grep -E '"manylinux_2_([0-9]|1[0-9]|2[0-8])_$*"'
	$(VENV)/bin/abi3audit --strict --summary build/dist-$*/*.whl
	$(VENV)/bin/twine check --strict build/dist-$*/*.whl
	VQDIFFUSION_WHEELS=build/dist-$* $(VENV)/bin/python -m pytest --quiet python/tests/test_shared_objects.py
	@mkdir -p dist && cp build/dist-$*/*.whl dist && ls -l dist/*_$*.whl && touch $@

# Debian's Python for arm64; NumPy and what the tests need are PyPI's.
AARCH64_PIP = $(VENV)/bin/pip install --quiet --target build/aarch64/site --upgrade --only-binary=:all: --implementation cp \
    --python-version $$(build/aarch64/python -c 'import sys; print(*sys.version_info[:2], sep=".")') \
    --platform manylinux_2_28_aarch64 --platform manylinux2014_aarch64

build/aarch64/.python: Tests/aarch64/make_python.sh $(VENV)/.created
	@mkdir -p build/aarch64
	Tests/aarch64/make_python.sh build/aarch64 >build/aarch64/log || { cat build/aarch64/log; exit 1; }
	$(AARCH64_PIP) numpy pytest hypothesis
	@touch $@

build/aarch64/.with-wheel: build/aarch64/.python build/.wheel-aarch64
	$(AARCH64_PIP) --no-deps dist/*_aarch64.whl
	@touch $@

# The ordinary torch on PyPI is a build for CUDA of several gigabytes; where there is one for the CPU alone, it will do.
$(VENV)/.torch: $(VENV)/.created
	$(VENV)/bin/pip install --quiet 'torch==2.13.0+cpu' || $(VENV)/bin/pip install --quiet torch
	@touch $@

$(VENV)/.extra-diffusers: $(VENV)/.torch

# diffusers offloads models only where this is installed, which the package itself does not need.
$(VENV)/.accelerate: $(VENV)/.torch
	$(VENV)/bin/pip install --quiet accelerate
	@touch $@

# The package as users install it.
$(VENV)/.installed: $(VENV)/.created $(SOURCES)
	@echo 'Building vqdiffusion and installing it into $(VENV). The first time this takes a few minutes.'
	$(VENV)/bin/pip install --quiet --no-build-isolation .
	@touch $@

# What one of the extras of pyproject.toml adds to the package.
REQUIREMENTS = $(filter-out vqdiffusion[%,$(shell sed -n 's/^$(1) = \[\(.*\)\].*/\1/p' pyproject.toml | tr -d '",'))

$(VENV)/.extra-%: $(VENV)/.created pyproject.toml
	$(VENV)/bin/pip install --quiet $(patsubst %,'%',$(call REQUIREMENTS,$*))
	@touch $@

$(VENV)/.extra-bench: $(VENV)/.extra-diffusers

.SECONDARY:

$(VENV)/.with-%: $(VENV)/.installed $(VENV)/.extra-%
	@touch $@

# The lower bounds of the extra in pyproject.toml, exactly; what diffusers itself then needs to be old is added.
$(OLDEST)/.versions: pyproject.toml
	@for python in $(PYTHONS); do \
	    if "$$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null; \
	    then \
	        echo "$$python -m venv $(OLDEST)"; \
	        rm -rf $(OLDEST) && "$$python" -m venv $(OLDEST) && \
	        $(OLDEST)/bin/pip install --quiet 'setuptools>=77' pytest pytest-xdist 'numpy<2' 'huggingface_hub<0.26' 'accelerate<1' \
	            $(subst >=,==,$(call REQUIREMENTS,diffusers)) || exit 1; \
	        break; \
	    fi; \
	done
	@mkdir -p $(OLDEST) && touch $@

$(OLDEST)/.installed: $(OLDEST)/.versions $(SOURCES)
	if [ -x $(OLDEST)/bin/python ]; then $(OLDEST)/bin/pip install --quiet --no-build-isolation '.[diffusers]'; fi
	@touch $@

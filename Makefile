# `make` lists the targets. Everything installs itself into .venv; nothing else on the machine is touched.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROMPTS ?= examples/prompts.jsonl
OUTPUT ?= results.jsonl
BENCH_OUTPUT ?= build/bench-peers
BENCH ?=
MINUTES ?= 10
PORT ?= 8000
MUTANTS ?=
WHEEL ?=
SOURCES := $(wildcard model/kernels/cpu/*/*.cpp model/kernels/cpu/*/*.h testing/*/*.cpp testing/*/*.h)

# Two processes more than cores, because many tests wait for other processes. PyTorch's threads sleep while they wait:
# otherwise those of one process spin on a core that another one needs. Files start in the order of tests/conftest.py.
PROCESSES = $(shell $(PYTHON) -c 'import os; print(min(4, 2 + (os.cpu_count() or 1)))')
PYTEST = OMP_WAIT_POLICY=passive $(BIN)/pytest -q -n $(PROCESSES) --dist loadfile --no-loadscope-reorder

# Python keeps the bytecode of our modules, even where containers are told not to write any. Otherwise each command that
# a test starts compiles its modules anew, and so does each process of pytest with all tests.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run serve test check format coverage slow machines vnni amx arm sanitize wheel macos bench bench-peers chaos mutants reference clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST) | sort

run: $(VENV)/.run ## answer examples/prompts.jsonl with the demo model (PROMPTS=…, OUTPUT=…)
	@$(BIN)/qwen-batch run $(PROMPTS) -o $(OUTPUT)
	@echo "The answers are in $(OUTPUT); the first three:" && head -n 3 $(OUTPUT)

serve: $(VENV)/.run ## serve OpenAI's files and batches over HTTP, with the demo model (PORT=8000)
	@echo "When it serves, try:"
	@echo "  curl http://127.0.0.1:$(PORT)/v1/models"
	@echo "  pip install openai && python -c \"from openai import OpenAI; print(OpenAI(base_url='http://127.0.0.1:$(PORT)/v1', api_key='none').models.list().data)\""
	@echo "docs/http-api.md has a whole batch."
	@$(BIN)/qwen-batch serve --with-worker --port $(PORT)

test: $(VENV)/.dev ## run the tests
	@$(PYTEST) -m "not slow"

check: $(VENV)/.dev ## formatting, lint, types, import contracts, dead code
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(SOURCES)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vulture

format: $(VENV)/.dev ## format the code in Python and C++
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(SOURCES)

coverage: $(VENV)/.dev ## which lines and branches the tests run (build/coverage/html)
	@mkdir -p build/coverage
	@$(PYTEST) -m "not slow" --cov --cov-report=term --cov-report=html

slow: $(VENV)/.dev ## run the tests that take longer
	@$(PYTEST) -m slow

# CI is unset: there a test fails where the machine lacks what it needs, which these machines do on purpose.
ENGINE_TESTS = env -u CI $(PYTEST) -m "not slow" tests/engine tests/end_to_end
KERNEL_TESTS = env -u CI $(PYTEST) -m "not slow" tests/model/ops tests/model/sampling/test_output_screen.py \
	tests/model/test_fused_layers.py tests/model/test_fused_experts.py \
	$(addprefix tests/model/kernels/,test_attention_kernels.py test_store_kv_kernel.py)
TIERS = $(shell $(BIN)/python -c 'from model.kernels.tiers import *; print(*[t.name for t in Processor.inspect().tiers()])')
HIGHEST_TIER = $(lastword $(TIERS))
LOWER_TIERS = $(filter-out $(HIGHEST_TIER),$(TIERS))

machines: $(VENV)/.dev ## run the engine's tests as on lesser processors, and without a C++ compiler
	@for tier in $(LOWER_TIERS); do \
		echo "As a processor with $$tier:"; \
		export QWEN_BATCH_CPU_TIER=$$tier; \
		case $$tier in \
			avx2) (export ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2; $(KERNEL_TESTS) && $(ENGINE_TESTS)) || exit 1;; \
			*) $(KERNEL_TESTS) || exit 1;; \
		esac; \
	done
	@case " $(TIERS) " in *" avx2-vnni "*) ;; *" avx512 "*) \
		echo "As a processor with avx2-vnni:" && $(MAKE) --no-print-directory vnni || exit 1;; \
	esac
	@if [ "$(HIGHEST_TIER)" = avx512-bf16 ]; then \
		echo "As a processor with amx, whose tiles a library computes:" && $(MAKE) --no-print-directory amx; \
	fi
	@echo "Without a C++ compiler:"
	@CXX=/no/compiler $(ENGINE_TESTS)

vnni: $(VENV)/.dev ## run the kernels' tests for AVX-VNNI, in the encoding of AVX512-VNNI
	@export CXX=$(CURDIR)/testing/x86/vnni_compiler.sh QWEN_BATCH_CPU_TIER=avx2-vnni; \
		$(KERNEL_TESTS) -p testing.x86.plugin

# Instructions for tiles raise a signal here, and the preloaded library computes them. So this needs all other
# instructions of such a processor (AVX512-BF16).
TILES = build/x86/tile_traps.so
$(TILES): testing/x86/tile_traps.cpp testing/x86/tile_unit.h
	@mkdir -p $(@D)
	@$(CXX) -O3 -march=x86-64-v3 -std=c++20 -shared -fPIC $< -o $@

amx: $(VENV)/.dev $(TILES) ## run the kernels' tests with emulated AMX tiles
	@export LD_PRELOAD=$(CURDIR)/$(TILES) QWEN_BATCH_CPU_TIER=amx; \
		$(KERNEL_TESTS) -p testing.x86.plugin -p no:faulthandler

# An emulated processor multiplies some million numbers a second, and fewer by its instructions for bfloat16. So large
# shapes are left out.
ARM_TESTS = tests/model/kernels/test_store_kv_kernel.py tests/model/kernels/test_attention_kernels.py \
	tests/model/ops/test_quantised_products.py tests/model/ops/test_operators.py
TOO_LARGE = not 1024 and not 3072 and not wide and not int8-tiny and not any_chunks and not share_its_pages \
	and not last_tokens
ON_ARM = QWEN_BATCH_EMULATED_TIER=$(1) $(PYTEST) --dist load -p testing.arm.plugin -m "not slow"

arm: $(VENV)/.dev ## run the kernels' tests on emulated ARM processors
	@echo "As an ARM processor without bfloat16:"
	@$(call ON_ARM,neon) $(ARM_TESTS) tests/model/test_fused_layers.py -k "$(TOO_LARGE)"
	@echo "As an ARM processor with bfloat16:"
	@$(call ON_ARM,neon-bf16) $(ARM_TESTS) -k "$(TOO_LARGE) and not 512"

# The first preloaded library takes the place of the C library's heap, and it needs the second one for C++ exceptions. A
# finding ends the test's process and leaves a report.
REPORT = $(CURDIR)/build/sanitize/report
SANITIZED = CXX=$(CURDIR)/tools/sanitizing_compiler.sh XDG_CACHE_HOME=$(CURDIR)/build/sanitize \
	ASAN_OPTIONS=detect_leaks=0:log_path=$(REPORT) UBSAN_OPTIONS=log_path=$(REPORT) \
	LD_PRELOAD="$(shell g++ -print-file-name=libasan.so) $(shell g++ -print-file-name=libstdc++.so)"

sanitize: $(VENV)/.dev ## run the kernels' tests with AddressSanitizer
	@rm -f $(REPORT).*
	@for tier in avx2 ""; do \
		echo "Tier: $${tier:-the highest}"; \
		QWEN_BATCH_CPU_TIER=$$tier $(SANITIZED) $(KERNEL_TESTS) || { cat $(REPORT).*; exit 1; }; \
	done

wheel: $(VENV)/.dev ## make a wheel with prebuilt kernels in dist/ (WHEEL='--help')
	@$(BIN)/python -m tools.make_wheel $(WHEEL)

macos: $(VENV)/.macos ## make a wheel with prebuilt kernels for macOS on ARM, with Zig's compiler
	@$(BIN)/python -m tools.make_wheel --platform macos-arm64
	@$(PYTEST) -m slow tests/end_to_end/test_macos_wheel.py

bench: $(VENV)/.run ## table 2.1 of the book on this machine, and batch throughput
	@$(BIN)/qwen-batch bench

chaos: $(VENV)/.dev ## 20 jobs while workers, server and network fail (MINUTES=10, SEED=…)
	@$(BIN)/python -m benchmarks.chaos --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

bench-peers: $(VENV)/.bench ## ours beside vLLM, OpenVINO, llama.cpp and transformers (BENCH='--systems …')
	@$(BIN)/python -m benchmarks.peers --output $(BENCH_OUTPUT) $(BENCH)

mutants: $(VENV)/.dev ## how many small faults the tests notice (MUTANTS='--only worker/')
	@$(BIN)/python -m tools.mutate $(MUTANTS)

reference: $(VENV)/.dev ## write docs/cli.md anew from the commands
	@$(BIN)/python tools/make_cli_reference.py

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "qwen-batch needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python pyproject.toml
	@echo "Installing qwen-batch into $(VENV) (PyTorch is the large part) …"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[worker,embedded,server]'
	@touch $@

$(VENV)/.bench: $(VENV)/bin/python pyproject.toml
	@echo "Installing qwen-batch with what draws pictures into $(VENV) …"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml
	@echo "Installing qwen-batch with its development tools into $(VENV) …"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.run

$(VENV)/.macos: $(VENV)/.dev
	@echo "Installing a compiler for macOS into $(VENV) …"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[macos]'
	@touch $@

# A thin front door: `make help` lists what there is. Everything real is in CMake, scripts/ and ctest.
BUILD ?= build
JOBS  ?= $(shell nproc)

.PHONY: help setup configured build command demo test bench format lint docs clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: ## install the system packages that are missing
	@scripts/setup

configured: setup
	@cmake --preset release >$(BUILD).configure.log 2>&1 || { cat $(BUILD).configure.log; exit 1; }
	@rm -f $(BUILD).configure.log

command: configured ## compile build/bin/qdqbert without tests and benchmarks
	@cmake --build $(BUILD) -j $(JOBS) --target qdqbert qdqbert_train_program

build: configured ## compile everything into build/, tests included
	@cmake --build $(BUILD) -j $(JOBS)

demo: command ## build the command; calibrate, score, export and run the shipped model; ends with a table
	@scripts/demo

test: build ## build, then run every test but the long ones
	@scripts/peer-environment $(BUILD)/peers
	@ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS) -LE long

bench: setup ## build and run the benchmarks (JSON under build/benchmarks)
	@cmake --preset release -DQDQBERT_WITH_BENCHMARKS=ON >/dev/null
	@cmake --build $(BUILD) -j $(JOBS)
	@scripts/bench

format: ## format all C++ (clang-format 14, the system's or PyPI's)
	@scripts/format

lint: build ## clang-tidy over all sources
	@git ls-files 'qdqbert/*.cc' 'cli/*.cc' | xargs clang-tidy -p $(BUILD) --quiet

docs: ## API pages and all other pages as HTML, in build/docs (Doxygen)
	@scripts/setup --docs
	@scripts/docs $(BUILD)/docs

clean: ## remove the build folders
	rm -rf build build-*

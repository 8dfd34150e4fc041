## onnxferry: from a table to a trained model, a proven bundle and its answers.
##
##   make train      fit the network                          -> artifacts/run
##   make export     export it and prove the export           -> artifacts/bundle
##   make predict    score FILE with the bundle               -> OUT
##   make serve      answer over HTTP with the bundle, until Ctrl-C
##   make tensorboard  show the fit in a browser, until Ctrl-C
##   make test       run the whole test suite
##   make check      run all that CI runs: linters, types, the whole test suite,
##                   and the runtime's tests where torch is not installed
##   make protos     compile gRPC's .proto file, after a change to it
##   make coverage   run the test suite and show what it does not reach
##   make bench      measure, with the alternatives beside us (minutes)
##   make clean      remove artifacts/ and caches; tables and .venv stay
##
## A goal makes what it lacks: "make predict" alone works in a fresh clone.
## The first goal builds .venv from constraints.txt, once.
##
##   FILE=products.csv   table to score; products.csv is made where it is missing
##   OUT=scored.csv      where the answers go
##   DEVICE=auto         train on: auto, cuda or cpu
##   PROVIDER=auto       predict and serve on: auto, cuda or cpu
##   SEED=1              where the training's random numbers start
##   PYTHON=python3      Python 3.11 or newer, to build .venv with
##   VENV=DIR            use this environment as it is and install nothing

# Written for GNU make 3.81 (macOS) and newer.
SHELL := bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# What train and export publish is whole, or not there: make must never delete a part of it.
.PRECIOUS: artifacts/run/run.json artifacts/bundle/manifest.json
.PHONY: help coverage torch-free train export predict serve tensorboard test check protos bench clean own-environment FORCE

# These are taken from make's own command line: names this common in somebody's shell mean
# something else. PYTHON and VENV may come from there.
FILE := products.csv
OUT := scored.csv
DEVICE :=
PROVIDER :=
SEED :=
PYTHON ?= python3

SAMPLE_ROWS := 1000
RUN := artifacts/run/run.json
BUNDLE := artifacts/bundle/manifest.json
# What of the test suite needs neither torch nor the developers' tools.
TORCH_FREE_TESTS := tests/runtime tests/property/test_cells.py tests/property/test_dates.py \
	tests/property/test_digits.py \
	tests/property/test_jsonl.py tests/property/test_records.py \
	tests/property/test_scoring.py tests/property/test_serving.py tests/property/test_texts.py \
	tests/contract/test_errors.py tests/contract/test_extras.py tests/contract/test_imports.py \
	tests/contract/test_startup.py

# There is no onnxruntime-gpu for macOS.
BUILD := $(if $(filter Darwin,$(shell uname -s)),cpu,gpu)
BASE_PYTHON := $(shell command -v "$(PYTHON)")

ifeq ($(VENV),)
override VENV := .venv
READY := .venv/.ready
BENCH_READY := .venv/.bench-ready
else
READY := own-environment
BENCH_READY := $(READY)
endif

# Commands are found in the environment, so that recipes read as a person would type them.
export PATH := $(if $(filter /%,$(VENV)),,$(CURDIR)/)$(VENV)/bin:$(PATH)

quoted = $(shell printf %q '$(subst ','\'',$(1))')
option = $(if $(2), --$(1) $(call quoted,$(2)))

help:
	@sed -n 's/^## \{0,1\}//p' Makefile

# ---- From a table to its answers ---------------------------------------------------------
# The files say what is missing or outdated; a goal that is named runs in any case.
train: $(RUN)
export: $(BUNDLE)

$(RUN): $(if $(filter train,$(MAKECMDGOALS)),FORCE) | $(READY)
	trainer fit$(call option,device,$(DEVICE))$(call option,seed,$(SEED))

# A bundle that stands there without a run was brought from elsewhere: it is used, not replaced.
from_run := $(or $(filter train export,$(MAKECMDGOALS)),$(wildcard $(RUN)),$(if $(wildcard $(BUNDLE)),,x))

$(BUNDLE): $(if $(from_run),$(RUN)) $(if $(filter export,$(MAKECMDGOALS)),FORCE) | $(READY)
	exporter export

products.csv: | $(READY)
	trainer sample --rows $(SAMPLE_ROWS) --out products.csv

predict: $(BUNDLE) $(if $(subst products.csv,,$(FILE)),,products.csv) | $(READY)
	runtime predict --file $(call quoted,$(FILE)) --out $(call quoted,$(OUT))$(call option,provider,$(PROVIDER))
	@case $(call quoted,$(OUT)) in *.csv) echo; head -n 6 $(call quoted,$(OUT));; esac

serve: $(BUNDLE) | $(READY)
	runtime serve$(call option,provider,$(PROVIDER))

tensorboard: $(RUN) | $(READY)
	tensorboard --logdir artifacts/run

# ---- For those who work on it ------------------------------------------------------------
test: | $(READY)
	pytest

coverage: | $(READY)
	pytest --cov

# Two halves that "make -j2 check" runs side by side.
check: test torch-free

torch-free: | $(READY) .venv-runtime/.ready
	ruff check .
	ruff format --check .
	mypy
	pydoclint --quiet runtime trainer exporter
	lint-imports
	env PATH="$(CURDIR)/.venv-runtime/bin:$$PATH" pytest -p no:cacheprovider $(TORCH_FREE_TESTS)

# A descriptor set, not generated code, which would be bound to one release of protobuf.
protos: | $(READY)
	python -m grpc_tools.protoc -I runtime/serving/grpc \
		--descriptor_set_out=runtime/serving/grpc/open_inference.binpb open_inference.proto

bench: $(BUNDLE) | $(BENCH_READY)
	python benchmarks/accuracy.py
	python benchmarks/bound.py
	python benchmarks/crossing.py
	python benchmarks/dirty.py
	python benchmarks/ending.py
	python benchmarks/false_alarms.py
	python benchmarks/fit_table.py
	python benchmarks/fuzz.py
	python benchmarks/gate.py
	python benchmarks/http_layer.py
	python benchmarks/install_size.py
	python benchmarks/json_lines.py
	python benchmarks/kserve_client.py
	python benchmarks/matrix.py
	python benchmarks/overload.py
	python benchmarks/parquet.py
	python benchmarks/predict.py
	python benchmarks/predict.py --table wide
	python benchmarks/predict.py --large
	python benchmarks/providers.py
	python benchmarks/public_tables.py
	python benchmarks/reloading.py
	python benchmarks/serve.py
	python benchmarks/serving_json.py
	python benchmarks/softmax.py
	python benchmarks/startup.py
	python benchmarks/train.py
	python benchmarks/workers.py

clean:
	rm -rf artifacts build dist .coverage .coverage.* .hypothesis .import_linter_cache \
		.mypy_cache .pytest_cache .ruff_cache
	find runtime trainer exporter tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

# ---- Environments ------------------------------------------------------------------------
# The stamp .ready is written last: an installation that failed or was interrupted is taken up
# again. It holds the folder: an environment that was copied or moved here, or whose Python is
# gone, is built anew.
stale = $(shell [ -x $(1)/bin/python ] && [ "$$(cat $(1)/.ready 2>&1)" = "$(CURDIR)" ] || echo FORCE)

.venv/.ready: EXTRAS := $(BUILD),serve,grpc,train,dev
.venv/.ready: pyproject.toml constraints.txt $(call stale,.venv)
	@$(if $(filter FORCE,$^),$(new_environment))
	@$(install)

# The runtime as a small image has it: no torch, the other build of onnxruntime.
.venv-runtime/.ready: EXTRAS := cpu,serve,grpc,test
.venv-runtime/.ready: pyproject.toml constraints.txt $(call stale,.venv-runtime)
	@$(if $(filter FORCE,$^),$(new_environment))
	@$(install)

.venv/.bench-ready: benchmarks/requirements.txt constraints.txt .venv/.ready
	@$(pip_install) -r benchmarks/requirements.txt
	@touch $@

own-environment:
	@[ -x "$(VENV)/bin/trainer" ] || { $(stop) "there is no onnxferry in VENV=$(VENV):" \
		'install it there, pip install -c constraints.txt -e ".[$(BUILD),serve,grpc,train,dev]",' \
		"or leave VENV out"; }

stop = stop() { echo "make: $$*" >&2; exit 1; }; stop

# Both variables, so that old and new releases of pip pin the build tools too.
pip_install = PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
	$(@D)/bin/python -m pip install --disable-pip-version-check $$([ -t 1 ] || echo --quiet)

define new_environment
[ -n "$(BASE_PYTHON)" ] || { $(stop) "$(PYTHON) is not there: install Python 3.11 or newer," \
	"or name it: make PYTHON=/path/to/python3.11"; }; \
"$(BASE_PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { $(stop) \
	"$(PYTHON) is $$("$(BASE_PYTHON)" --version 2>&1); onnxferry needs 3.11 or newer:" \
	"name one, make PYTHON=/path/to/python3.11"; }; \
"$(BASE_PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { $(stop) \
	"$(PYTHON) cannot make virtual environments: apt install python3-venv on Debian and" \
	"Ubuntu, or name another, make PYTHON=/path/to/python3.11"; }; \
"$(BASE_PYTHON)" -m venv --clear $(@D)
endef

define install
echo "installing the pinned versions into $(@D) (once; a minute and more)"; \
$(pip_install) -e ".[$(EXTRAS)]" || { $(stop) "the pinned versions could not be installed:" \
	"pip says above why; run make again to go on"; }; \
echo "$(CURDIR)" > $@
endef

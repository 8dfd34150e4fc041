## onnxferry: from a table to a trained model, a proven bundle and predictions.
##
##   make train      train the network on DATA                -> artifacts/run
##   make export     export it with its proof of parity       -> artifacts/bundle
##   make predict    score FILE with the bundle               -> OUT
##   make serve      serve the bundle over HTTP, until Ctrl-C
##   make tensorboard  show the training in a browser, until Ctrl-C
##   make quick      run the fast tests, in a minute, while editing
##   make test       run the whole test suite
##   make lint       run the linters and the type checker
##   make check      run what CI runs: lint, test, and test without torch
##   make coverage   run the test suite and show what it does not cover
##   make docs       renew the outputs and option tables in README and docs
##   make protos     compile gRPC's .proto file, after a change to it
##   make bench      run the benchmarks, beside alternatives (hours)
##   make clean      remove artifacts/ and caches; tables and .venv stay
## A goal makes what it needs; the first one builds .venv from constraints.txt.
##   DATA=mine.csv LABEL=churn   table to train on, column to predict (products)
##   RESUME=1  RESTART=1     continue an interrupted training, or discard it
##   FILE=new.csv            table to score (DATA, or products.csv, which is made)
##   OUT=scored.csv          where the scored table goes
##   DEVICE=auto PROVIDER=auto   train on, predict and serve on: auto, cuda, cpu
##   SEED=1  TUNE=20         seed of the training; trials that search its options
##   PYTHON=python3  VENV=DIR   builds .venv; an environment to use as it is

# Written for GNU make 3.81 (macOS) and newer.
SHELL := bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# train and export publish atomically: make must not delete their outputs.
.PRECIOUS: artifacts/run/run.json artifacts/bundle/manifest.json
.PHONY: help train export predict serve tensorboard quick test lint check coverage torch-free docs protos \
	engines bench clean own-environment FORCE

# Set on make's command line only: such common names have other meanings in a shell.
# PYTHON and VENV may come from the environment.
DATA :=
LABEL :=
RESUME :=
RESTART :=
TUNE :=
FILE := $(or $(DATA),products.csv)
OUT := scored.csv
DEVICE :=
PROVIDER :=
SEED :=
PYTHON ?= python3

SAMPLE_ROWS := 1000
RUN := artifacts/run/run.json
BUNDLE := artifacts/bundle/manifest.json
# Tests that need neither torch nor the development tools.
TORCH_FREE_TESTS := tests/runtime tests/property/test_cells.py tests/property/test_dates.py \
	tests/property/test_digits.py \
	tests/property/test_jsonl.py tests/property/test_records.py \
	tests/property/test_scoring.py tests/property/test_serving.py tests/property/test_texts.py \
	tests/contract/test_errors.py tests/contract/test_extras.py tests/contract/test_imports.py \
	tests/contract/test_startup.py
# These need development tools: Playwright, KServe's SDK, IPython, Schemathesis.
TORCH_FREE_TESTS += --ignore=tests/runtime/serving/test_page.py \
	--ignore=tests/runtime/serving/test_kserve.py --ignore=tests/runtime/test_notebook.py \
	--deselect=tests/runtime/serving/test_openapi.py::test_schemathesis_finds_nothing \
	--deselect=tests/runtime/serving/test_grpc.py::test_the_descriptor_set_is_up_to_date
# Engines and object stores are tested once.
TORCH_FREE_TESTS += --ignore=tests/runtime/engines
TORCH_FREE_TESTS += -m "not object_store"
# One process per core, at most four: each has torch, a server and a few hundred MiB. Bytecode is
# cached: otherwise every command that a test starts would compile our modules again.
PYTEST := env -u PYTHONDONTWRITEBYTECODE pytest --numprocesses auto --maxprocesses 4 --dist worksteal

# There is no onnxruntime-gpu for macOS.
BUILD := $(if $(filter Darwin,$(shell uname -s)),cpu,gpu)
BASE_PYTHON := $(shell command -v "$(PYTHON)")

ifeq ($(VENV),)
override VENV := .venv
READY := .venv/.ready
BENCH_READY := .venv/.bench-ready
ENGINES_READY := .venv/.engines-ready
else
READY := own-environment
BENCH_READY := $(READY)
ENGINES_READY := $(READY)
endif

# Commands come from the environment's PATH, so that recipes read as a person would type them.
export PATH := $(if $(filter /%,$(VENV)),,$(CURDIR)/)$(VENV)/bin:$(PATH)

quoted = $(shell printf %q '$(subst ','\'',$(1))')
option = $(if $(2), --$(1) $(call quoted,$(2)))

help:
	@sed -n 's/^## \{0,1\}//p' Makefile

# ---- From a table to predictions ---------------------------------------------------------
# A file target runs when it is missing or outdated; a named goal always runs.
train: $(RUN)
export: $(BUNDLE)

# The run is outdated where the table that is named is newer, or not the one that it was trained on,
# as its SOURCE says; without a name the run is used as it is.
SOURCE := artifacts/run.source
source_texts := $(call quoted,$(DATA)) $(call quoted,$(LABEL))
named := $(DATA)$(LABEL)
outdated = $(if $(named),$(shell [ ! $(RUN) -nt $(SOURCE) ] && [ ! $(call quoted,$(DATA)) -nt $(RUN) ] \
	&& printf '%s\n' $(source_texts) | cmp -s - $(SOURCE) || echo FORCE))

$(RUN): $(if $(filter train,$(MAKECMDGOALS)),FORCE,$(outdated)) | $(READY)
	trainer fit$(call option,data,$(DATA))$(call option,label,$(LABEL))$(call option,device,$(DEVICE))$(call \
		option,seed,$(SEED))$(call option,tune,$(TUNE))$(if $(RESUME), --resume)$(if $(RESTART), --restart)
	@mkdir -p artifacts && printf '%s\n' $(source_texts) > $(SOURCE)

# A bundle without a run was copied from elsewhere: use it, do not replace it.
from_run := $(or $(filter train export,$(MAKECMDGOALS)),$(wildcard $(RUN)),$(named),$(if $(wildcard \
	$(BUNDLE)),,x))

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

# ---- Development -------------------------------------------------------------------------
# Tests that start no process and take less than a second: see tests/conftest.py.
quick: | $(READY)
	$(PYTEST) -m "not slow" --hypothesis-profile quick

test: | $(READY)
	$(PYTEST)

coverage: | $(READY)
	$(PYTEST) --cov

lint: | $(READY)
	ruff check .
	ruff format --check .
	mypy
	pydoclint --quiet runtime trainer exporter
	lint-imports

check: lint test torch-free

torch-free: | .venv-runtime/.ready
	env PATH="$(CURDIR)/.venv-runtime/bin:$$PATH" $(PYTEST) -p no:cacheprovider $(TORCH_FREE_TESTS)

# A descriptor set, not generated code, which would be bound to one release of protobuf.
protos: | $(READY)
	python -m grpc_tools.protoc -I runtime/serving/grpc \
		--descriptor_set_out=runtime/serving/grpc/open_inference.binpb open_inference.proto

docs: | $(READY)
	python tests/support/pages.py

bench: $(BUNDLE) | $(BENCH_READY) $(ENGINES_READY)
	python benchmarks/ablation.py
	python benchmarks/accuracy.py
	python benchmarks/bound.py
	python benchmarks/crossing.py
	python benchmarks/dirty.py
	python benchmarks/ending.py
	python benchmarks/engine_faults.py
	python benchmarks/engine_recipes.py
	python benchmarks/engines.py
	python benchmarks/false_alarms.py
	python benchmarks/fit_table.py
	python benchmarks/fuzz.py
	python benchmarks/gate.py
	python benchmarks/http_layer.py
	python benchmarks/image.py
	python benchmarks/install_size.py
	python benchmarks/json_lines.py
	python benchmarks/kserve_client.py
	python benchmarks/matrix.py
	python benchmarks/means.py
	python benchmarks/object_store.py
	python benchmarks/overload.py
	python benchmarks/parquet.py
	python benchmarks/predict.py
	python benchmarks/predict.py --table wide
	python benchmarks/predict.py --large
	python benchmarks/presets.py
	python benchmarks/providers.py
	python benchmarks/public_serving.py
	python benchmarks/public_tables.py
	python benchmarks/reloading.py
	python benchmarks/scorer.py
	python benchmarks/serve.py
	python benchmarks/serving_json.py
	python benchmarks/softmax.py
	python benchmarks/spark_faults.py
	python benchmarks/startup.py
	python benchmarks/telemetry.py
	python benchmarks/train.py
	python benchmarks/workers.py

clean:
	rm -rf artifacts build dist .coverage .coverage.* .hypothesis .import_linter_cache \
		.mypy_cache .pytest_cache .ruff_cache
	find runtime trainer exporter tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

# ---- Environments ------------------------------------------------------------------------
# The stamp .ready is written last, so that an interrupted installation is repeated. It holds the
# folder: a copied or moved environment, or one whose Python is gone, is rebuilt.
stale = $(shell [ -x $(1)/bin/python ] && [ "$$(cat $(1)/.ready 2>&1)" = "$(CURDIR)" ] || echo FORCE)

.venv/.ready: EXTRAS := $(BUILD),serve,grpc,train,dev
.venv/.ready: pyproject.toml constraints.txt $(call stale,.venv)
	@$(if $(filter FORCE,$^),$(new_environment))
	@$(install)

# The runtime as in a small image: no torch, the CPU build of onnxruntime.
.venv-runtime/.ready: EXTRAS := cpu,serve,grpc,test
.venv-runtime/.ready: pyproject.toml constraints.txt $(call stale,.venv-runtime)
	@$(if $(filter FORCE,$^),$(new_environment))
	@$(install)

.venv/.bench-ready: benchmarks/requirements.txt constraints.txt .venv/.ready
	@$(pip_install) -r benchmarks/requirements.txt
	@touch $@

# Other people's engines: a gigabyte, for the tests of runtime/engines alone. MLflow's models run in Spark, too.
engines: | $(ENGINES_READY)

.venv/.engines-ready: EXTRAS := ray,spark
.venv/.engines-ready: pyproject.toml constraints.txt .venv/.ready
	@$(pip_install) -e ".[$(EXTRAS)]" mlflow-skinny==3.17.2
	@touch $@

own-environment:
	@[ -x "$(VENV)/bin/trainer" ] || { $(stop) "onnxferry is not installed in VENV=$(VENV):" \
		'install it there, pip install -c constraints.txt -e ".[$(BUILD),serve,grpc,train,dev]",' \
		"or leave VENV out"; }

stop = stop() { echo "make: $$*" >&2; exit 1; }; stop

# Both variables, so that old and new releases of pip pin the build tools too.
pip_install = PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
	$(@D)/bin/python -m pip install --disable-pip-version-check $$([ -t 1 ] || echo --quiet)

define new_environment
[ -n "$(BASE_PYTHON)" ] || { $(stop) "$(PYTHON) was not found: install Python 3.11 or newer," \
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
	"see pip's message above; run make again to continue"; }; \
echo "$(CURDIR)" > $@
endef

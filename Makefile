# make help lists the targets. Needs Python 3.11 or newer, make and a package index.
PYTHON ?= python3
BIN := .venv/bin
VIDEO ?=
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo serve test plans check curate-check gate-check format bench bench-rtsp container clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

.venv/run-time: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q -e '.[cpu]' -e clients/python
	@touch $@

.venv/everything: .venv/run-time
	$(BIN)/pip install -q -e '.[cpu,openvino,train,tensorrt,dev]' -e clients/python
	@touch $@

demo: .venv/run-time  ## the main job on the sample feed (VIDEO=path: on your own)
	$(BIN)/surgiclear demo $(if $(VIDEO),--video "$(VIDEO)") --out demo

serve: .venv/run-time  ## the service with the operator's page
	$(BIN)/surgiclear serve

# what fails on a busy machine is run once more, alone; failing twice is failing
test: .venv/everything  ## the whole test suite
	$(BIN)/pytest -q || $(BIN)/pytest -q --last-failed --last-failed-no-failures none

plans: .venv/everything  ## RAMiT and FocalNet plans for the RTX 4090 at 720p and 1080p, no GPU
	SURGICLEAR_LONG=1 $(BIN)/pytest -q tests/engines/test_survey.py -k rtx_4090

check: .venv/everything  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/everything  ## mend format and imports
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

curate-check: .venv/everything  ## curation of a generated surgery of 20 minutes against its truth
	PYTHONPATH=tests:. $(BIN)/python tests/curate_check.py $(or $(SEED),0)

gate-check: .venv/everything  ## how the gate judges cases of patients no net was trained on
	PYTHONPATH=tests:. $(BIN)/python tests/gate_check.py

bench: .venv/run-time  ## speed at 720p and 1080p against the bare transcode
	$(BIN)/surgiclear bench speed --size 1280x720
	$(BIN)/surgiclear bench speed --size 1920x1080

RTSP_PORT ?= 18554
bench-rtsp: .venv/run-time  ## RTSP in to RTSP out, through the tests' RTSP server
	@/usr/bin/python3 -W ignore tests/rtsp_relay.py --port $(RTSP_PORT) & \
	server=$$!; trap "kill $$server" EXIT; sleep 2; \
	$(BIN)/surgiclear bench rtsp rtsp://127.0.0.1:$(RTSP_PORT)/in rtsp://127.0.0.1:$(RTSP_PORT)/out

container: .venv/run-time  ## builds the image with mmdebstrap and buildah, runs it once (as root)
	docker/try.sh $(BIN)/python

clean:  ## remove what was made
	rm -rf .venv demo runs .pytest_cache .mypy_cache .ruff_cache

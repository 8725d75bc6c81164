# make demo   the main job on embedded speech     make lint   style, types
# make test   the tests                           make clean  forget everything made here
# make faults 200 kills, all to the same bits     make bounds 100,000 utterances, within time and memory
# make model  train the model anew that comes with the package
# make docs   the documentation, as pages in build/docs/
# make figures measure every figure of README and docs/ anew; FLAGS="--data-dir DIR --only NAME ..."

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := results/demo
MODEL := results/model

FLAGS ?=

define speak
$(BIN)/ser-jax synthesize $(1)/speech $(2)
$(BIN)/ser-jax prepare iemocap --source $(1)/speech/IEMOCAP_full_release --name synthetic_en --data-dir $(1)/data
$(BIN)/ser-jax prepare recola --source $(1)/speech/RECOLA --name synthetic_fr --data-dir $(1)/data
endef

.PHONY: demo test lint docs figures faults bounds model clean

$(VENV)/installed: pyproject.toml constraints.txt
	@echo "installing into $(VENV), which takes some minutes"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	touch $@

demo: $(VENV)/installed
	rm -rf $(DEMO)
	$(call speak,$(DEMO))
	$(BIN)/python -m experiments.table2 --corpora synthetic_en synthetic_fr --data-dir $(DEMO)/data --out $(DEMO) \
	    --epochs 10 --finetune-samples 40 --finetune-epochs 4

test: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/installed
	rm -rf build/docs docs/reference/modules
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --conf-dir docs . build/docs
	@echo build/docs/docs/index.html

figures: $(VENV)/installed
	$(BIN)/python docs/measure.py $(FLAGS)

faults: $(VENV)/installed
	$(BIN)/python tests/faults/killing.py --kills 200 --faults

bounds: $(VENV)/installed
	$(BIN)/python -m experiments.bounds

model: $(VENV)/installed
	rm -rf $(MODEL)
	$(call speak,$(MODEL),--utterances 480)
	$(BIN)/ser-jax train --corpora synthetic_en synthetic_fr --data-dir $(MODEL)/data --out $(MODEL)/demonstration
	rm -rf ser_jax/recognizer/demonstration
	cp -r $(MODEL)/demonstration ser_jax/recognizer/demonstration

clean:
	rm -rf $(VENV) results build docs/reference/modules *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis

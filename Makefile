# make demo     train all of Table 2 on synthetic speech   make lint   check style and types
# make test     run the tests                             make docs   build the documentation in build/docs/
# make slow     run the tests that take many minutes      make clean  delete everything made here
# make model    train the demonstration model of the package again
# make figures  measure everything in README.md and docs/ again, and write the tables to docs/measured/

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable
DEMO := results/demo
MODEL := results/model
MEASURED := docs/measured

define synthesize
$(BIN)/ser-jax synthesize $(1)/speech $(2)
$(BIN)/ser-jax prepare iemocap --source $(1)/speech/IEMOCAP_full_release --name synthetic_en --data-dir $(1)/data
$(BIN)/ser-jax prepare recola --source $(1)/speech/RECOLA --name synthetic_fr --data-dir $(1)/data
endef

.PHONY: demo test slow lint docs figures model clean

$(VENV)/installed: pyproject.toml constraints.txt
	@echo "installing ser_jax into $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) .
	@touch $@

$(VENV)/tools: $(VENV)/installed
	@echo "installing what tests, checks and documentation need into $(VENV)"
	@$(INSTALL) ".[test]"
	@touch $@

demo: $(VENV)/installed
	rm -rf $(DEMO)
	$(call synthesize,$(DEMO))
	$(BIN)/python -m experiments.table2 --corpora synthetic_en synthetic_fr --data-dir $(DEMO)/data --out $(DEMO) \
	    --epochs 10 --finetune-samples 40 --finetune-epochs 4

test: $(VENV)/tools
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

slow: $(VENV)/tools
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/tools
	rm -rf build/docs docs/reference/modules
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --conf-dir docs . build/docs
	@echo build/docs/docs/index.html

figures: $(VENV)/installed  # hours; ravdess and emodb must be prepared
	mkdir -p $(MEASURED)
	set -e; for name in table2 english_1308 learning_curve attention_over_time related; do \
	    $(BIN)/python -m experiments.$$name --corpora ravdess emodb --out results/acted > $(MEASURED)/$$name.md; done
	$(BIN)/python -m experiments.tuning --corpora ravdess emodb --seeds 1 --out results/tuning > $(MEASURED)/tuning.md
	set -e; for mode in none train corpus speaker; do \
	    $(BIN)/python -m experiments.table2 --corpora ravdess emodb --protocol.standardize $$mode \
	    --out results/$$mode > $(MEASURED)/standardize_$$mode.md; done
	$(BIN)/python -m experiments.table2 --corpora ravdess emodb --precision bfloat16 --out results/bfloat16 \
	    > $(MEASURED)/bfloat16.md
	$(BIN)/python -m experiments.speech_onset --corpora ravdess emodb > $(MEASURED)/speech_onset.md
	set -e; for name in throughput recognition preparation scaling; do \
	    $(BIN)/python -m experiments.$$name > $(MEASURED)/$$name.md; done

model: $(VENV)/installed
	rm -rf $(MODEL)
	$(call synthesize,$(MODEL),--utterances 480)
	$(BIN)/ser-jax train --corpora synthetic_en synthetic_fr --data-dir $(MODEL)/data --out $(MODEL)/demonstration
	rm -rf ser_jax/recognizer/demonstration
	cp -r $(MODEL)/demonstration ser_jax/recognizer/demonstration

clean:
	rm -rf $(VENV) results build docs/reference/modules *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis

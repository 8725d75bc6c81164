# make demo     train all of Table 2 on synthetic speech   make lint   check style and types
# make test     run the tests                             make docs   build the documentation in build/docs/
# make slow     run the tests that take many minutes      make clean  delete everything made here
# make model    train the models of the package again, from the corpora in the folder CORPORA
# make figures  measure everything in README.md and docs/ again, and write the tables to docs/measured/

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable
DEMO := results/demo
MODEL := results/model
MEASURED := docs/measured
EIGHT := ravdess emodb savee nemo korean casia urdu emotale_da
FEW := --protocol.most 300 --train.class-weights corpora
MEAN := --features whisper --features.layers 1 2 --features.stride 375 --features.relative --features.trim 25
JUDGE := --features whisper --model probe --protocol.most 300 --protocol.standardize corpus --train.optimizer adamw \
    --train.weight-decay 0.01 --epochs 30 --seeds 1

define synthesize
$(BIN)/ser-jax synthesize $(1)/speech $(2)
$(BIN)/ser-jax prepare iemocap --source $(1)/speech/IEMOCAP_full_release --name synthetic_en --data-dir $(1)/data
$(BIN)/ser-jax prepare recola --source $(1)/speech/RECOLA --name synthetic_fr --data-dir $(1)/data
endef

# A script and its flags, and the file of its tables: below the command, device, date and commit.
define measure
@echo '`python -m experiments.$(1)`;' $$($(BIN)/python -c "$(DEVICE)")"; $$(date +%F); commit $$(git rev-parse --short=7 HEAD)" \
    > $(MEASURED)/$(2).md && echo >> $(MEASURED)/$(2).md
$(BIN)/python -m experiments.$(1) >> $(MEASURED)/$(2).md

endef
DEVICE := from ser_jax.experiment import provenance; print(provenance.processor())

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
	    --epochs 10

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

# Takes hours. $(EIGHT) must be prepared with the front ends of each command, and korean_swapped with anger and sadness swapped;
# SER_JAX_WHISPER is a folder of tiny.en; compiled needs the extra aot.
figures: $(VENV)/installed
	$(call measure,table2 --corpora ravdess emodb --adapted corpus speaker --baselines level duration \
	    --out results/table2,table2)
	$(foreach name,english_1308 learning_curve, \
	    $(call measure,$(name) --corpora ravdess emodb --out results/acted,$(name)))
	$(foreach name,families unite_or_vote prototypicality, \
	    $(call measure,$(name) --corpora $(EIGHT) $(FEW) --epochs 20 --seeds 3,$(name)))
	$(call measure,language_identification --corpora $(EIGHT) $(FEW) --epochs 20 --seeds 3 --folds 4,language_identification)
	$(call measure,equalization --corpora $(EIGHT) $(FEW) --epochs 20 --seeds 2,equalization)
	$(call measure,combinations --corpora $(EIGHT) $(FEW) --features egemaps --model probe --adapted corpus speaker --epochs 30 \
	    --seeds 1 --train.optimizer sgd --train.batch 256 --train.weight-decay 3,combinations)
	$(foreach name,study_2017 fusion,$(call measure,$(name) --corpora ravdess emodb savee casia --seeds 3,$(name)))
	$(call measure,listeners --adapted speaker --seeds 3 --features.layers 0 1 2 --features.stride 8,listeners)
	$(call measure,code_switching --corpora ravdess emodb casia --protocol.trim 25 --protocol.dev none --folds 4 $(FEW) \
	    --epochs 20 --seeds 3,code_switching)
	$(call measure,attention_over_time --corpora ravdess emodb --tasks arousal --out results/attention,attention_over_time)
	$(call measure,crosslingual --corpora $(EIGHT) --tasks arousal --adapted corpus --out results/eight,crosslingual)
	$(call measure,crosslingual --corpora $(EIGHT) --tasks arousal --adapted corpus --protocol.trim 25 \
	    --out results/trimmed,crosslingual_trimmed)
	$(call measure,transfer --corpora $(EIGHT) $(MEAN) --model probe --protocol.most 300 --adapted corpus speaker \
	    --train.optimizer adamw --train.weight-decay 0.01 --train.class-weights corpora --epochs 30 --seeds 1 \
	    --out results/transfer,matrix)
	$(call measure,transfer --corpora $(EIGHT) $(FEW) --epochs 30 --seeds 3 --out results/transfer_logmel,matrix_logmel)
	$(call measure,adaptation --corpora $(EIGHT) --without urdu --seeds 1,adaptation)
	$(call measure,features --corpora $(EIGHT) --without urdu,features)
	$(call measure,emotions --seeds 2 --features.parts.0.weights $(SER_JAX_WHISPER) --features.parts.0.layers 3 4 \
	    --features.parts.0.stride 8,emotions)
	$(call measure,dimensions,dimensions)
	$(call measure,label_check --corpora $(EIGHT) $(JUDGE) --out results/label_check,label_check)
	$(call measure,label_check --corpora $(subst korean,korean_swapped,$(EIGHT)) $(JUDGE) --out results/label_check_swapped,label_check_swapped)
	$(call measure,encoder --weights $(SER_JAX_WHISPER),encoder)
	$(call measure,tuning --corpora ravdess emodb --seeds 1 --out results/tuning,tuning)
	$(foreach mode,none train corpus speaker, \
	    $(call measure,table2 --corpora ravdess emodb --protocol.standardize $(mode) --out results/$(mode),standardize_$(mode)))
	$(call measure,table2 --corpora ravdess emodb --precision bfloat16 --out results/bfloat16,bfloat16)
	$(call measure,speech_onset --corpora ravdess emodb,speech_onset)
	$(foreach name,throughput recognition scaling,$(call measure,$(name),$(name)))
	$(call measure,compiled --runs 5 --utterances 10039,compiled)

model: $(VENV)/installed
	rm -rf $(MODEL)
	$(BIN)/python -m experiments.default_model --sources $(CORPORA) --out $(MODEL)
	for name in default small; do cp $(MODEL)/$$name/* ser_jax/recognizer/$$name/; done

clean:
	rm -rf $(VENV) results build docs/reference/modules *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis

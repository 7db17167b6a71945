# Two commands do everything on a fresh machine with Python 3.11, pip and make:
#   make run    set up, then the main job: PocketBench through every pathway spec, as a table, a figure and a report
#   make test   set up, then all tests
# Setting up again is skipped while the lock and the package's metadata have not changed.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
TORCH := torch==2.13.0
STAMP := $(VENV)/.installed-$(shell cat requirements.lock pyproject.toml | cksum | cut -d' ' -f1)
MODEL ?= random-small
FILMS ?= 0
EDITION ?= student
PYTEST_ARGS ?=
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test lab app notebooks speed reproduce workshop site offline-check doctor lint lock clean

# notebooks/08_reproduce.ipynb on all films of PocketBench; FILMS=6 takes the first six.
run: $(STAMP)
	$(BIN)/sfllava run -p toy_videos $(FILMS)

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

# A learner's copy in my-course, which is yours: begun chapters are never written over. make lab EDITION=author opens
# the sources, with solutions and outputs.
lab: $(STAMP)
ifeq ($(EDITION),author)
	$(BIN)/python -m jupyterlab notebooks
else
	$(BIN)/python tools/editions.py lab
	$(BIN)/python -m jupyterlab my-course
endif

speed: $(STAMP)
	$(BIN)/sfllava speed --model $(MODEL)

# make reproduce RUN=table2_7b BENCHMARK=egoschema MODEL=... ANNOTATIONS=... VIDEOS=... (data/paper/README.md)
reproduce: $(STAMP)
	$(BIN)/sfllava bench run --run "$(RUN)" $(if $(BENCHMARK),--benchmark $(BENCHMARK)) \
		$(if $(filter-out random-small,$(MODEL)),--model "$(MODEL)") \
		$(if $(ANNOTATIONS),--annotations "$(ANNOTATIONS)") $(if $(VIDEOS),--videos "$(VIDEOS)") $(ARGS)

# Run the course in place, leaving the outputs that are committed.
notebooks: $(STAMP)
	$(BIN)/python tools/editions.py execute

# Your own video in a browser; make app MODEL=llava-hf/llava-v1.6-vicuna-7b-hf
app: $(STAMP)
	$(BIN)/sfllava app $(if $(filter-out random-small,$(MODEL)),--model "$(MODEL)") $(ARGS)

# The course's editions, all from notebooks/: dist/student, dist/instructor and an offline pack. The site: dist/site.
workshop site: $(STAMP)
	$(BIN)/python tools/editions.py $@

# The offline pack in a second virtual environment, from wheels alone, with no network. Minutes, and a gigabyte or two.
offline-check: $(STAMP)
	$(BIN)/python tools/offline_check.py

doctor: $(STAMP)
	$(BIN)/sfllava doctor

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The newest versions that pyproject.toml allows, written down. torch stays as pinned: it is installed first.
lock:
	rm -rf .venv-lock
	$(PYTHON) -m venv --without-pip .venv-lock
	$(PYTHON) -m pip --python .venv-lock/bin/python install $(TORCH)
	$(PYTHON) -m pip --python .venv-lock/bin/python install -e ".[test]"
	.venv-lock/bin/python tools/write_lock.py > requirements.new
	mv requirements.new requirements.lock
	rm -rf .venv-lock

# A virtual environment without its own pip needs nothing of the system but Python and pip (no python3-venv package).
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info[:2] == (3, 11) else "Python 3.11 is needed (the lock is made for it); this is %s. Set PYTHON=/path/to/python3.11" % sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv --without-pip $(VENV)
	$(PYTHON) -m pip --python $(BIN)/python install --quiet $(TORCH)
	$(PYTHON) -m pip --python $(BIN)/python install --quiet -r requirements.lock
	$(PYTHON) -m pip --python $(BIN)/python install --quiet --no-deps --no-build-isolation -e .
	rm -f $(VENV)/.installed-*
	touch $@

clean:
	rm -rf $(VENV) runs dist

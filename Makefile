# `make help` lists the targets. Only Python >= 3.11 (with venv) and make are needed; PYTHON=<path> picks one.
.DEFAULT_GOAL := help
.PHONY: demo test page lint lock bench-start bench-hot bench-page screenshots clean help

# A caller's PYTHONPATH would put other packages before the pinned ones.
unexport PYTHONPATH PYTHONHOME
export PYTHON

DEMO := .venv-demo
DEV := .venv

demo: ## run the whole thing: four services, three tenants, 100 workflows, read back from the local store
	@ci/tools/venv $(DEMO) ci/locks/requirements.lock
	@$(DEMO)/bin/python -m services.demo

page: ## open the local page on what the demo left
	@test -d .demo || { echo "there is nothing to show yet: run make demo first" >&2; exit 2; }
	@ci/tools/venv $(DEMO) ci/locks/requirements.lock
	@$(DEMO)/bin/somatrace local --data-dir .demo

test: ## set up the development environment and run every test
	@ci/tools/venv $(DEV) ci/locks/requirements-dev.lock
	@echo "About 20 minutes on two cores; the quick round, -m 'not slow', takes about 3."
	@rm -rf build/coverage && mkdir -p build/coverage
	$(DEV)/bin/python $(if $(COVERAGE),-m coverage run) -m pytest -n 2

lint: ## ruff, mypy --strict, import-linter
	@ci/tools/venv $(DEV) ci/locks/requirements-dev.lock
	@ci/lint

bench-start: ## what init_tracing costs at start, against the stock SDK and Traceloop.init
	@ci/tools/venv $(DEV) ci/locks/requirements-dev.lock
	@$(DEV)/bin/python benchmarks/start.py

bench-page: ## how fast the page answers over a million spans while 5,000 arrive each second
	@ci/tools/venv $(DEV) ci/locks/requirements-dev.lock
	@$(DEV)/bin/python benchmarks/page.py

screenshots: ## photograph every view of the page anew, and keep those that docs/page.md shows
	@ci/tools/venv $(DEV) ci/locks/requirements-dev.lock
	@rm -rf build/screenshots
	$(DEV)/bin/python -m pytest -n 2 tests/page/test_pictures.py
	@cd docs/screenshots && for name in *.png; do cp ../../build/screenshots/$$name $$name; done

bench-hot: ## what one span costs a running service, against the stock SDK
	@ci/tools/venv $(DEV) ci/locks/requirements-dev.lock
	@$(DEV)/bin/python benchmarks/hot_path.py

lock: ## compile the lock files anew (ci/tools/lock --upgrade for newer versions)
	@ci/tools/lock

clean: ## remove environments, caches, builds and the demo's data
	rm -rf .venv .venv-* .demo dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -rf .import_linter_cache .somatrace_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

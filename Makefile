# `make help` lists the targets. Requires Python >= 3.11 (with venv) and make; PYTHON=<path> selects a Python.
.DEFAULT_GOAL := help
.PHONY: demo load test coverage page lint lock interop differential record-matrix bench-start bench-road bench-faults bench-page screenshots clean help

# An inherited PYTHONPATH would shadow the pinned packages.
unexport PYTHONPATH PYTHONHOME
export PYTHON

DEMO := .venv-demo
DEV := .venv

demo: ## run four services with 100 workflows of three tenants, traced to and read back from the local store
	@ci/tools/venv $(DEMO) ci/locks/requirements.lock
	@$(DEMO)/bin/python -m services.demo

# the variables of `make load`, as options
LOAD := TENANTS WORKFLOWS RATE ERRORS MINUTES
lower = $(shell echo $(1) | tr A-Z a-z)

load: ## send requests to the sample services (TENANTS, WORKFLOWS, RATE, ERRORS, MINUTES) and check their costs
	@ci/tools/venv $(DEMO) ci/locks/requirements.lock
	@$(DEMO)/bin/python -m services.demo.load \
		$(foreach name,$(LOAD),$(if $($(name)),--$(call lower,$(name))='$($(name))'))

page: ## open the demo's traces in the local page
	@test -d .demo || { echo "no traces yet: run make demo first" >&2; exit 2; }
	@ci/tools/venv $(DEMO) ci/locks/requirements.lock
	@$(DEMO)/bin/somatrace local --data-dir .demo

TESTS := -m pytest -n 4 --dist worksteal

# With COVERAGE=1 the same tests are measured: branch coverage, child processes included.
test: ## set up the development environment and run all tests
	@ci/tools/venv $(DEV) ci/locks/requirements-dev.lock
ifndef COVERAGE
	@echo "About 15 minutes on two cores; the quick round, -m 'not slow', takes about 3."
	$(DEV)/bin/python $(TESTS)
else
	@rm -rf build/coverage && mkdir -p build/coverage
	COVERAGE_DATA=$(CURDIR)/build/coverage/data $(DEV)/bin/python -m coverage run $(TESTS)
	@$(DEV)/bin/python -m coverage combine --quiet
	@$(DEV)/bin/python -m coverage report --skip-covered --sort=cover
endif

coverage: ## run `make test` with branch coverage (about 35 minutes); fails below the share in pyproject.toml
	@COVERAGE=1 $(MAKE) --no-print-directory test

lint: ## ruff, mypy --strict, import-linter
	@ci/tools/venv $(DEV) ci/locks/requirements-dev.lock
	@ci/lint

bench-start: ## measure the startup cost of init_tracing against the stock SDK and Traceloop.init
	@ci/tools/venv $(DEV) ci/locks/requirements-dev.lock
	@$(DEV)/bin/python benchmarks/start.py

bench-page: ## measure the page's latency over a million spans while 5,000 arrive per second
	@ci/tools/venv $(DEV) ci/locks/requirements-dev.lock
	@$(DEV)/bin/python benchmarks/page.py

screenshots: ## take screenshots of every page view and update those in docs/page.md
	@ci/tools/venv $(DEV) ci/locks/requirements-dev.lock
	@rm -rf build/screenshots
	$(DEV)/bin/python -m pytest -n 4 tests/local/browser/test_pictures.py
	@cd docs/screenshots && for name in *.png; do cp ../../build/screenshots/$$name $$name; done

bench-road: ## measure the cost of a span from its start to the backend against the stock SDK and three other systems
	@ci/tools/venv .venv-peers ci/locks/requirements-peers.lock
	@.venv-peers/bin/python -m benchmarks.road

bench-faults: ## compare what becomes of spans under faults with the stock SDK and three other systems
	@ci/tools/venv .venv-peers ci/locks/requirements-peers.lock
	@.venv-peers/bin/python -m benchmarks.faults --peers

lock: ## recompile the lock files (ci/tools/lock --upgrade for newer versions)
	@ci/tools/lock

interop: ## run the tests beside other tools that patch a process (sentry-sdk, ddtrace, gevent, …)
	@ci/tools/venv .venv-interop ci/locks/requirements-interop.lock
	@.venv-interop/bin/python -m pytest -n 4 --dist worksteal -m interop \
		tests/instrumentation/concurrency/test_other_concurrency.py \
		tests/instrumentation/concurrency/test_other_patchers.py tests/runtime/test_clock.py \
		tests/faults/test_servers.py tests/faults/test_celery.py

differential: ## run the test suites of ten libraries without and with tracing, and compare (hours; SUITES="httpx mcp")
	@ci/tools/venv .venv-differential ci/locks/requirements-differential.lock
	@.venv-differential/bin/python -m benchmarks.differential $(SUITES)

record-matrix: ## run the libraries of the leak matrix that have recordings, and compare with those
	@ci/tools/venv $(DEV) ci/locks/requirements-dev.lock
	@$(DEV)/bin/python -m tests.leak_matrix.record

clean: ## remove environments, caches, builds and demo data
	rm -rf .venv .venv-* .demo dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -rf .import_linter_cache .somatrace_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## list all targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' Makefile

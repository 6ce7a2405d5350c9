.DEFAULT_GOAL := help
.PHONY: help setup demo demo-relabel demo-review test test-unit test-spark test-slow test-cluster test-matrix test-engine test-browser test-deploy dist site soak lint hooks docs bench clean lock

py := .venv/bin/python
# Two processes, which take whole files in the order of pyproject.toml's testpaths.
two := -n 2 --dist loadfile --no-loadscope-reorder
compile := .venv/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --quiet \
  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

help:  ## Show what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup:  ## Check Java and Python, and install everything into .venv
	@PYTHON="$(PYTHON)" .ci/setup

demo: setup  ## Label a table of marketplace posts with Spark, vLLM and Delta; then again, with nothing left to do
	@$(py) -m safeguard_spark.demo

demo-relabel: setup  ## Change one rule of the demo's policy: plan, apply, compare, promote, roll back
	@$(py) -m safeguard_spark.demo.relabel

demo-review: setup  ## Review a sample of the demo's labels in a browser, and report the corrected rate
	@$(py) -m safeguard_spark.demo.review

test: setup  ## A cross-section: unit tests, Spark and Delta, the vLLM server, a cluster
	@$(py) -m pytest -q $(two) -m "not slow"

test-unit: setup  ## Only the tests without a JVM; the slowest files start first
	@$(py) -m pytest -q $(two) -m "unit and not slow" tests/unit/test_api.py tests/unit/engines tests/unit/demo tests/unit

test-spark: setup  ## Only the tests on local Spark and Delta
	@$(py) -m pytest -q -m "spark and not slow"

test-slow: setup  ## What `make test` leaves out: kills, storage faults, and further cases of each kind (over an hour)
	@$(py) -m pytest -q -m "slow and not cluster and not engine"

test-cluster: setup  ## All tests on a standalone cluster of two workers and on S3 (as root)
	@$(py) -m pytest -q -m cluster

test-engine: setup  ## All tests on the vLLM server
	@$(py) -m pytest -q -m engine

test-matrix: setup  ## The jobs on Spark 4.0, 4.1 and 4.2, in environments of their own; VERSIONS=4.0.5 names some
	@$(py) -m tests.matrix $(VERSIONS)

test-deploy: setup  ## Packages and deploy/, checked by the platforms' own tools in environments of their own (downloads them)
	@$(py) -m pytest -q -m deploy tests/deploy

dist: setup  ## Build the sdist, the wheel, and a bill of materials (CycloneDX) for each lock, into dist/
	@.venv/bin/uv tool run --from build pyproject-build --quiet
	@for lock in dev gpu; do .venv/bin/uv tool run --from cyclonedx-bom cyclonedx-py requirements requirements/$$lock.lock -o dist/$$lock.cdx.json; done
	@ls dist

soak: setup  ## Kill the label job at random moments, twenty runs in a row
	@$(py) -m tests.soak --runs 20

test-browser: setup  ## The review console and report pages in chromium (Debian: apt-get install chromium)
	@$(py) -m pytest -q -m browser tests/browser

lint: setup  ## What every commit must pass: format, style, types, the rooms' imports, the reference tables
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@$(py) -m tools.rooms
	@$(py) -m tools.reference --check

hooks: setup  ## Run `make lint`'s checks before each commit (needs pre-commit: `pipx install pre-commit`)
	@pre-commit install

docs: setup  ## Write the reference tables of README.md and docs/ from the code
	@$(py) -m tools.reference

site: setup  ## Build the documentation as a site into site/ (mkdocs-material, in an environment of its own)
	@.venv/bin/uv tool run --from mkdocs-material mkdocs build --quiet

bench: setup  ## Measure, and write the tables of docs/benchmarks.md
	@$(py) -m tests.bench

lock: setup  ## Resolve the dependencies again into requirements/*.lock (no addresses in them)
	@$(compile) --extra cpu --extra spark --extra tracking --extra review --extra dev --overrides requirements/overrides.txt -o requirements/dev.lock
	@$(compile) --extra gpu --extra spark --extra tracking -o requirements/gpu.lock

clean:  ## Remove what the demo, tests and tools left; the environment stays
	@rm -rf .demo .pytest_cache .mypy_cache .ruff_cache .hypothesis spark-warehouse metastore_db derby.log mlruns

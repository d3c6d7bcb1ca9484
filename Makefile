# One build shape everywhere: `--workspace --all-targets`. Another selection of packages selects other features of the
# dependencies and builds all of them again.
CARGO ?= cargo
ARGS ?=
TARGET := $(or $(CARGO_TARGET_DIR),target)
SHAPE := --workspace --all-targets
NEXTEST := $(CARGO) nextest run --workspace
# What SKIP may leave out, and the tests that are about nothing else than a part.
PARTS := postgres,redis,prometheus,node,python,browser
LEFT_OUT := $(if $(findstring postgres,$(SKIP)),and not binary_id(store::postgres))
# None of these may be in the programs: one TLS library, one crypto library, no C tool chain beyond `cc`.
BANNED := aws-lc-sys cmake native-tls openssl-sys

export SKIP

.DEFAULT_GOAL := help
.PHONY: help run test check lint build e2e conformance matrix long bench fuzz setup nextest

help: ## Print this
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## Build both processes, start them here (folder .gatehouse) and print what to paste
	@$(TARGET)/debug/gatehouse --data-dir .gatehouse up $(ARGS)

test: setup build ## Everything that can be tested here; SKIP=postgres,node leaves parts out
	@status=0; $(CARGO) test --workspace --doc --quiet || status=$$?; $(NEXTEST) -E 'all() $(LEFT_OUT)' $(ARGS) || status=$$?; \
	[ $$status = 0 ] && said="everything passed" || said="something failed: see above"; \
	echo "make test: $$said$(if $(SKIP),; left out: $(SKIP))"; exit $$status

check: lint nextest ## Formatting, lints, unit tests: a minute after each change
	$(NEXTEST) -E 'not package(tests) and not binary_id(store::postgres)' $(ARGS)

lint: ## Formatting and lints alone; warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(SHAPE) -- -D warnings
	@for crate in $(BANNED); do if $(CARGO) tree --workspace -e normal,build -i $$crate >/dev/null 2>&1; \
	then echo "banned: $$crate"; $(CARGO) tree --workspace -e normal,build -i $$crate; exit 1; fi; done
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny --config .cargo/deny.toml check bans licenses sources; \
	else echo "cargo-deny is not installed: licences and sources are not checked"; fi

build: ## Build everything once, in the shape that all targets share
	$(CARGO) build $(SHAPE)

e2e: setup build ## The end-to-end tests alone, e.g. ARGS=recover
	$(NEXTEST) -E 'package(tests)' $(ARGS)

conformance: setup build ## MCP's conformance suite in both its versions, direct beside through Gatehouse
	@rm -rf build/conformance; status=0; $(NEXTEST) -E 'package(tests) & test(/^conformance::/)' $(ARGS) || status=$$?; \
	cat build/conformance/* || status=1; \
	awk '/^kept / { kept += $$2; of += $$4 } END { printf "through: %d of %d direct passes kept\n", kept, of; exit kept != of || !of }' \
	build/conformance/* || status=1; exit $$status

matrix: setup build ## Every real client with every real server, beside the table of what is expected
	@rm -rf build/matrix; status=0; MATRIX=all $(NEXTEST) -E 'package(tests) & test(/^matrix::/)' $(ARGS) || status=$$?; \
	cat build/matrix/* || status=1; exit $$status

long: setup build ## The end-to-end tests and the store's with the full counts of operations
	GATEHOUSE_LONG=1 $(NEXTEST) -E '(package(tests) + package(store) + test(concurrent_edits_of_one_server) + test(by_the_time)) $(LEFT_OUT)' $(ARGS)

bench: ## Cost per call beside a bare reverse proxy, in turns, e.g. ARGS=--quick
	$(CARGO) build --release -p control -p proxy -p bench
	$(TARGET)/release/bench $(ARGS)

fuzz: ## Fuzz the parsers for 60 minutes, e.g. ARGS='10 sse splicer': minutes, and targets
	@tests/fuzz/run.sh $(ARGS)

setup:
	@tests/setup.sh

nextest:
	@SKIP=$(PARTS) tests/setup.sh

# Short names for what people run. Each target is one script, which can be run without make.

.PHONY: build release test quick check lint format bench instructions fuzz soak quickstart clean

SECONDS_EACH ?= 60

build:
	scripts/install-deps
	swift build

release:
	scripts/install-deps
	scripts/build

test:
	scripts/test

quick:
	scripts/test --quick

check:
	.ci/run

lint:
	scripts/lint

format:
	scripts/lint --fix

bench:
	benchmarks/compare

instructions:
	benchmarks/instructions

fuzz:
	fuzz/run all -seconds $(SECONDS_EACH)

soak:
	scripts/soak

quickstart:
	scripts/quickstart

clean:
	rm -rf .build .build-* .venv .venv-*

# A thin front of Meson. Every target installs what it lacks (scripts/setup) and does all of its own
# set-up; nothing has to be run before it.
prefix ?=
DESTDIR ?=
SECONDS_PER_TARGET ?= 60
ROUNDS ?= 200
SEED ?=
MINUTES ?= 10

.PHONY: all demo test bench lint fuzz chaos soak rdma asan tsan install clean help
.NOTPARALLEL:

all: ## build everything into build/release
	@scripts/setup build
	@PREFIX='$(prefix)' scripts/build release

demo: ## start a node on this machine, run a remote task on it, print its result
	@scripts/setup build
	@scripts/build release
	@scripts/demo

test: ## all tests: plain, under sanitizers, and that nothing is left behind
	@scripts/setup test
	@scripts/test

asan: ## unit and end-to-end tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@scripts/setup test
	@scripts/test asan

tsan: ## unit tests under ThreadSanitizer
	@scripts/setup test
	@scripts/test tsan

bench: ## benchmarks, each beside its bare floor; with PEERS=1 what others take, instead
	@scripts/setup $(if $(PEERS),peers,build)
	@scripts/build release
	@scripts/bench $(if $(PEERS),--peers)

lint: ## format, static analysis, clang's warnings, headers, manual pages, scripts
	@scripts/setup lint
	@scripts/lint

fuzz: ## every fuzz target for SECONDS_PER_TARGET seconds (60)
	@scripts/setup fuzz
	@scripts/fuzz '$(SECONDS_PER_TARGET)'

chaos: ## ROUNDS rounds (200) of random graphs while everything breaks; SEED=S plays one again
	@scripts/setup test
	@scripts/chaos '$(ROUNDS)' $(SEED)

soak: ## a mixed load for MINUTES (10), which fails if anything has grown; KILLS=1 kills engines
	@scripts/setup test
	@scripts/soak '$(MINUTES)' $(if $(KILLS),--kills)

rdma: ## tensors by RDMA between two virtual machines, which it boots
	@scripts/setup rdma
	@scripts/rdma

install: all ## install the release build; honours DESTDIR and prefix
	@meson install -C build/release --no-rebuild $(if $(DESTDIR),--destdir '$(abspath $(DESTDIR))')

clean: ## remove every build
	rm -rf build

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 10

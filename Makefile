# What one does with barid. `make help` lists it.
#
# Whatever is missing on a Debian 12 with Go, Node.js and npm is installed by
# the targets that need it; what is there already costs nothing. Everything
# that is built or downloaded lands in bin/ and test/deltachat/node_modules/.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
MAKEFLAGS += --no-builtin-rules

export CGO_ENABLED := 0
# The version is given by us, so Go need not ask git; go.mod never changes
# behind our back.
export GOFLAGS := -mod=readonly -buildvcs=false

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
COMMIT := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)

# The real core leaves its log of each test here.
export BARID_CORE_LOG ?= $(CURDIR)/bin/core-log

FUZZTIME ?= 10s
SOAK ?= 10
BENCH ?=

STATICCHECK_VERSION := v0.8.2
STATICCHECK := bin/tools/staticcheck-$(STATICCHECK_VERSION)
CORE := test/deltachat/node_modules/.installed
IROH := test/interop/iroh/node_modules/.installed

.PHONY: help build run test race interop counterparts fuzz bench soak lint cover golden core

help: ## List the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

build: ## Build the static binary bin/barid
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/barid ./cmd/barid

run: build ## Build, and serve a throw-away relay with two invites
	exec bin/barid run --demo

core: $(CORE) ## Install the Delta Chat core that the tests drive

$(CORE): test/deltachat/package.json test/deltachat/package-lock.json test/deltachat/.npmrc
$(IROH): test/interop/iroh/package.json test/interop/iroh/package-lock.json test/interop/iroh/.npmrc
$(CORE) $(IROH):
	@command -v npm >/dev/null || { echo 'npm is missing: it comes with Node.js 20'; exit 1; }
	cd $(<D) && npm ci --ignore-scripts --no-progress
	@touch $@

test: core ## Test all that needs no root, the real core included
	BARID_NEED_CORE=1 go test -timeout 10m ./...

race: core ## Test with the race detector (needs a C compiler)
	@if ! command -v "$$(go env CC)" >/dev/null; then \
		if [[ $$EUID == 0 ]] && command -v apt-get >/dev/null; then \
			apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends gcc libc6-dev; \
		else \
			echo 'race: not run: it needs a C compiler, and only root can install one (Debian: gcc libc6-dev)'; exit 0; \
		fi; \
	fi; \
	CGO_ENABLED=1 BARID_NEED_CORE=1 go test -race -timeout 15m ./...

interop: core $(IROH) counterparts ## Test with other cores and programs, and what needs root: networks of its own
	@if [[ $$EUID != 0 ]]; then \
		echo 'interop: not run: it needs root, to make network and mount namespaces'; exit 0; \
	fi; \
	if ! unshare -mn true; then \
		echo 'interop: not run: this machine lets even root make no network and mount namespaces'; exit 0; \
	fi; \
	BARID_INTEROP=1 BARID_NEED_CORE=1 go test -count=1 -timeout 10m -v -run '^TestInterop' ./test/...

# The programs of others that the tests let loose on a relay, in Debian's
# packages. The list of packages is fetched only when it knows none of them;
# RUNLEVEL keeps daemons from starting by themselves.
DEBIAN_COUNTERPARTS := coturn mutt isync iproute2 nginx libnginx-mod-stream haproxy gcc libc6-dev postfix opendkim opendkim-tools chromium dovecot-imapd
counterparts:
	@if ! command -v dpkg-query >/dev/null; then echo 'interop: no Debian packages here; programs that are missing fail their tests'; exit 0; fi; \
	missing=$$(for p in $(DEBIAN_COUNTERPARTS); do \
		dpkg-query -W -f='$${db:Status-Status}\n' $$p 2>/dev/null | grep -qx installed || echo $$p; done); \
	if [[ -z $$missing || $$EUID != 0 ]]; then exit 0; fi; \
	export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1; \
	apt-get install -qy --no-install-recommends $$missing || \
	{ apt-get update -q && apt-get install -qy --no-install-recommends $$missing; }

fuzz: ## Run every fuzz target for FUZZTIME each (default 10s)
	@grep -rlE '^func Fuzz[A-Za-z0-9_]*\(' --include='*_test.go' . | xargs -rn1 dirname | sort -u | while read -r dir; do \
		grep -hoE '^func Fuzz[A-Za-z0-9_]*' "$$dir"/*_test.go | sed 's/^func //' | while read -r target; do \
			echo "== $$dir $$target"; \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) "$$dir" </dev/null; \
		done; \
	done

bench: build ## Measure, and compare with the recorded run (BENCH="-quick" and others: see -help)
	go build -trimpath -o bin/bench ./test/bench
	bin/bench -barid bin/barid $(BENCH)

soak: build ## Kill the relay SOAK times under load (default 10), as a mailbox and as a sender, and its store at every operation; look that nothing was lost
	BARID_SOAK=$(SOAK) go test -count=1 -timeout 60m -run 'Cut|Kill|Fail|Flush|Trouble|FullAtAny' ./storage/local
	BARID_SOAK=$(SOAK) BARID_BINARY="$(CURDIR)/bin/barid" go test -count=1 -timeout 120m -v -run '^Test(Soak|Walks)' ./test/bench ./storage/local
	BARID_SOAK=$(SOAK) go test -count=1 -timeout 120m -run '^$$' -bench '^BenchmarkExpire$$' -benchtime 1x ./storage/local

lint: $(STATICCHECK) ## Check format, go vet and staticcheck
	@unformatted=$$(gofmt -l $$(find . -name '*.go' -not -path '*/node_modules/*' -not -path './bin/*')); \
	if [[ -n $$unformatted ]]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	$(STATICCHECK) ./...

# Under a name with its version, so that a new one is fetched when this file
# asks for it.
$(STATICCHECK):
	GOBIN="$(CURDIR)/bin/tools" go install honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK_VERSION)
	mv bin/tools/staticcheck $@

cover: core ## Test, and show how much of the code was run (bin/cover.html)
	@mkdir -p bin
	BARID_NEED_CORE=1 go test -timeout 10m -coverpkg=./... -coverprofile=coverage.out ./...
	go tool cover -html=coverage.out -o bin/cover.html
	go tool cover -func=coverage.out | tail -n 1

golden: ## Write the golden files anew; read the difference before you commit it
	@packages=$$(grep -rlE 'flag\.Bool\("update"' --include='*_test.go' . | xargs -rn1 dirname | sort -u); \
	if [[ -z $$packages ]]; then echo 'golden: no package has golden files'; exit 0; fi; \
	go test -count=1 $$packages -update
	@git --no-pager diff --stat

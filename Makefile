# gitd: git push, and the app is live. `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

export GOFLAGS ?= -buildvcs=false
# Programs that are built with the race detector wait a second at their end, for races of what is still running then. Most of our tests start some.
export GORACE ?= atexit_sleep_ms=50
VERSION ?= 0.1.0
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOTESTSUM   := gotest.tools/gotestsum@v1.13.0

include make/parts.mk
include make/cluster.mk
include make/vm.mk

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-21s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: parts ## build bin/gitd and the programs that it needs beside it
	@echo "-----> Building bin/gitd"
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X github.com/gitd-io/gitd/internal/command.Version=$(VERSION)" -o bin/gitd ./cmd/gitd

.PHONY: run
run: need-serve build ## serve in the foreground: ssh on :2222, http on :8080, data in /var/lib/gitd
	bin/gitd serve $(ARGS)

.PHONY: demo
demo: need-serve need-git build ## push a sample app, push again under load, roll back: the whole story, on a throwaway server
	go run ./test/demo

.PHONY: demo-events
demo-events: need-serve need-git build ## push five functions, send a signed webhook, see each step, a dead letter and its retry, on a throwaway server
	go run ./test/demo/events

# The parts of make test run side by side: most scripts wait for windows, pauses and checks, while the unit tests compute. What they share is compiled
# before, once: two go commands at a time that lack the same package both compile it. BESIDES names what else runs beside them: CI has a cluster's faults there.
.PHONY: test test-unit test-e2e test-demo test-compile
test: need-serve need-git need-languages need-clients need-prometheus build ## everything that needs no cluster
	@$(MAKE) --no-print-directory test-compile
	@$(MAKE) --no-print-directory -k -j5 BESIDE=1 check test-unit test-e2e test-demo $(BESIDES)

# What a part needs, where it runs alone.
alone = $(if $(BESIDE),,$(1) build)

test-compile:
	@echo "-----> Compiling the tests, with the race detector"
	go list $(RACE) -test -deps -export $$(go list ./... | grep -v -e /test/e2e -e /test/knative) >/dev/null

# Tests of buildpacks, half of all the time, do not run again for a week where nothing that their results depend on has changed: test/unchanged says what that is. ALL=1 runs
# them all.
unchanged-flags = $(if $(ALL),-all) -settings '$(RACE) $(LONG)'

# Alone, three packages at a time on two processors: those of the buildpacks wait for registries a third of the time, others for limits and pauses.
# go vet is part of make check.
test-unit: $(call alone,need-serve need-git need-languages need-clients need-prometheus) ## of it, the unit and part tests; buildpacks that have not changed since they passed are left out but with ALL=1
	@echo "-----> Unit and part tests, with the race detector"
	@go run ./test/unchanged packages $(unchanged-flags) bin/results/unit.json $$(go list ./... | grep -v -e /test/e2e -e /test/knative) >bin/unit-packages
	$(parts-env) failed=0; \
	( $(call test,unit,pkgname,$$(cat bin/unit-packages),$(RACE) -vet=off -p $$(($$(nproc) + $(if $(BESIDE),0,1))) -timeout 20m -skip '$(LONG)') ) || failed=1; \
	go run ./test/unchanged passed bin/results/unit.json || failed=1; \
	exit $$failed

test-e2e: $(call alone,need-serve need-git need-prometheus) ## of it, the end-to-end scripts
	@echo "-----> End-to-end tests: the race-built server with real git and ssh"
	@go run ./test/unchanged scripts $(unchanged-flags) bin/results/e2e.json >bin/e2e-unchanged
	$(parts-env) failed=0; unchanged=$$(cat bin/e2e-unchanged); \
	( $(call test,e2e,testname,./test/e2e/...,-count=1 -vet=off -timeout 40m $(if $(BESIDE),-parallel 5) -skip "$(subst $$,\$$,$(LONG))$${unchanged:+|$$unchanged}") ) || failed=1; \
	go run ./test/unchanged passed bin/results/e2e.json || failed=1; \
	exit $$failed

test-demo: $(call alone,need-serve need-git)
	@echo "-----> The demo, which is the first thing that people run"
	go run ./test/demo

# What is too long for CI is found by its name, too: Go tests Test…_Long, scripts …_long.txtar. A quicker test of the same kind runs in CI.
LONG := _Long$$|^TestScripts$$/_long$$
.PHONY: test-long
test-long: need-serve need-git need-languages need-clients build ## the tests that are too long for CI, with more pushes and kills than CI makes
	$(parts-env) go test $(RACE) -vet=off -count=1 -timeout 60m -run '_Long$$' $$(grep -rlE '^func Test[A-Za-z_]*_Long\(' --include='*_test.go' buildpacks cmd internal | xargs -n1 dirname | sort -u | sed 's,^,./,')
	$(parts-env) GITD_E2E_PUSHES=50 GITD_E2E_KILLS=20 go test -vet=off -count=1 -timeout 60m -v -run '^TestScripts$$/_long$$|^TestScripts$$/^(blue_green|kill9_live)$$' ./test/e2e/...
	if [ -e $(CLUSTERENV) ]; then . $(CLUSTERENV); $(parts-env) go test $(RACE) -vet=off -count=1 -timeout 30m -run '_Long$$' ./test/knative/...; fi
	if [ -e $(CLUSTERENV) ]; then . $(CLUSTERENV); $(parts-env) go test -vet=off -count=1 -timeout 60m -v -run '^TestScripts$$/_long$$' ./test/e2e/...; fi

# Attacks are tests like all others, found by their names: scripts attack_*.txtar, Go tests TestAttack_*. Each opens with its story.
.PHONY: attack
attack: need-serve need-git build ## the attacks alone: what strangers tried on the server, on other apps and on the truth
	GITD_PARTS=$(CURDIR)/bin/parts go test -count=1 $(RACE) -timeout 20m -run '^TestAttack_' $$(go list ./... | grep -v /test/)
	GITD_PARTS=$(CURDIR)/bin/parts go test -count=1 -timeout 30m -run '^TestScripts/attack_|^TestAttack_' ./test/e2e/...

# A quarter of an hour: most of it waits for the clock.
.PHONY: test-restarts
test-restarts: need-serve need-git build ## schedules over 200 kills of the whole server at random moments; too long for CI
	$(parts-env) GITD_E2E_RESTARTS=$${KILLS:-200} go test -count=1 -timeout 90m -v -run '^TestScripts/schedules_restarts$$' ./test/e2e/...

.PHONY: test-takeover
test-takeover: ## the proxy over 500 kills, restarts and upgrades of its gitd under load; CI does nine
	GITD_TEST_TAKEOVERS=$${TAKEOVERS:-500} GITD_TEST_TAKEOVER_REQUESTS=$${REQUESTS:-100} go test -count=1 -timeout 30m -v -run '^TestTakeover$$' ./internal/proxy

.PHONY: test-event-kills
test-event-kills: need-serve need-git build ## events over KILLS (200) kills of the server; too long for CI
	$(parts-env) GITD_E2E_EVENT_KILLS=$${KILLS:-200} go test -count=1 -timeout 90m -v -run '^TestScripts/events_kills$$' ./test/e2e/...

.PHONY: test-functions-suite
test-functions-suite: ## the Functions Framework's own suite against our functions; CLIENT is its program: go build ./client in GoogleCloudPlatform/functions-framework-conformance
	GITD_TEST_FUNCTIONS_SUITE=$(abspath $(or $(CLIENT),$(error say CLIENT=PROGRAM))) go test -count=1 -timeout 60m -v -run '^TestFunction_Framework$$' ./buildpacks/golang ./buildpacks/node ./buildpacks/python

# What these tests run against, a server built by them and a cluster, is nothing that go test knows of: -count=1 keeps it from taking an old result.
CLUSTERENV := $(or $(GITD_CLUSTER_DIR),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/gitd-cluster/run)/env

.PHONY: test-cluster test-cluster-alone test-cluster-together
test-cluster: need-serve need-git build cluster-up ## everything that needs Kubernetes and Knative, on a cluster that it brings up and takes down
	trap '$(MAKE) --no-print-directory cluster-down' EXIT; \
	$(MAKE) --no-print-directory -k test-cluster-alone test-cluster-together

# Faults: an API server that restarts, a node that is lost, an ingress without its controller. They wait most of the time.
test-cluster-alone: ## of it, the tests that need the running cluster for themselves
	@echo "-----> Faults of the cluster"
	. $(CLUSTERENV); $(parts-env) $(call test,e2e-cluster-alone,testname,./test/e2e/...,-count=1 -vet=off -timeout 30m -run '^TestAlone$$')

# One suite after the other: side by side, on two processors, the ingress takes longer to change its routes than rollouts and certificates wait.
test-cluster-together: cluster-eventing ## of it, the other tests of the platform, the builder and installing, then the end-to-end scripts
	@$(MAKE) --no-print-directory -k test-cluster-platform test-cluster-scripts

.PHONY: test-cluster-platform test-cluster-scripts
# Without the race detector, which took a tenth of the processors from the cluster: it watches the same code where the API server is a part of the test (internal/deploy/knative,
# internal/event/knative, internal/build/cluster) and in the server of the scripts, which comes after.
test-cluster-platform:
	@echo "-----> Tests of the platform and the builder on the cluster"
	. $(CLUSTERENV); $(parts-env) $(call test,knative,testname,./test/knative/...,-count=1 -vet=off -timeout 30m -skip '$(LONG)')

test-cluster-scripts:
	@echo "-----> End-to-end tests: real git, real ssh, real Knative"
	. $(CLUSTERENV); $(parts-env) $(call test,e2e-cluster,testname,./test/e2e/...,-count=1 -vet=off -timeout 40m -run '^TestScripts$$' -skip '$(LONG)')

# The samples are public repositories at the commits that test/apps/apps.toml names. They are read from bare mirrors: MIRRORS/OWNER/NAME.git.
.PHONY: test-apps
test-apps: need-serve need-git need-languages build ## public sample apps, pushed as they are: MIRRORS=DIR, ARGS='-run rust'; hours
	go run ./test/apps $(if $(MIRRORS),-mirrors $(MIRRORS)) $(ARGS)

.PHONY: test-moving
test-moving: need-serve need-git build ## of the public samples, three with app.json, a release command and workers, as they are: MIRRORS=DIR; a minute
	go run ./test/apps $(if $(MIRRORS),-mirrors $(MIRRORS)) -logs bin/results/moving -run '^dokku/dokku/tests/apps/(nodejs-express|nodejs-express-noappjson|python)$$' $(ARGS)

.PHONY: test-kinds
test-kinds: need-serve need-git build ## an app of each language, package manager and framework that is in test/apps/kinds, pushed twice; ARGS='-run python'; too long for CI
	go run ./test/apps -kinds -logs bin/results/kinds $(ARGS)

.PHONY: bench
bench: need-serve need-git build ## measure against OpenSSH + git, go build, pack, nginx, Caddy, runc; figures beside their targets
	@$(call need,command -v sshd,openssh-server)
	@$(call need,command -v nginx,nginx-light)
	@$(call need,command -v wrk,wrk)
	@$(call need,command -v caddy,caddy)
	@$(call need,command -v dockerd,docker.io)
	go run ./test/bench $(ARGS)

.PHONY: check
check: ## gofmt, vet, staticcheck
	@echo "-----> gofmt, go vet, staticcheck"
	@bad=$$(gofmt -l buildpacks cmd examples internal test); if [ -n "$$bad" ]; then echo "not gofmt-ed: $$bad"; exit 1; fi
	go vet ./...
	go run $(STATICCHECK) ./...

# What only computes is compiled without the race detector, which makes it several times as slow: ciphers, hashes, compression, and SQLite's own code, whose
# memory the detector does not see. Locks, channels and atomics are watched everywhere. The end-to-end tests build the server with the same flags.
WITHOUT := crypto/internal/fips140/... compress/... hash/... math/big golang.org/x/crypto/chacha20 golang.org/x/crypto/internal/... github.com/klauspost/compress/... \
	modernc.org/sqlite/lib
RACE := -race $(WITHOUT:%=-gcflags=%=-race=false)
export GITD_RACE := $(RACE)
.PHONY: race-flags
race-flags:
	@echo '$(RACE)'

# The tests find the programs beside gitd where make build puts them.
parts-env = GITD_PARTS=$(CURDIR)/bin/parts; export GITD_PARTS;

# test runs go test with the arguments $(4) on the packages $(3), shows the results in gotestsum's format $(2), and names the slowest tests. $(1)
# names its file of results. Up to three tests that fail run a second time, since registries and mirrors have bad moments; those that pass then are listed.
test = mkdir -p bin/results; failed=0; began=$$SECONDS; rm -f bin/results/$(1)-again.txt; \
	go run $(GOTESTSUM) --format $(2) --hide-summary skipped --jsonfile bin/results/$(1).json \
		--rerun-fails=1 --rerun-fails-max-failures=3 --rerun-fails-report=bin/results/$(1)-again.txt --packages="$(3)" -- $(4) || failed=1; \
	if [ -s bin/results/$(1)-again.txt ]; then echo "-----> Failed at first, and ran again"; cat bin/results/$(1)-again.txt; fi; \
	echo "-----> $(1): $$((SECONDS - began)) s. The slowest of them"; \
	go run $(GOTESTSUM) tool slowest --num 15 --jsonfile bin/results/$(1).json || true; \
	exit $$failed

# need installs the Debian package $(2) unless the command $(1) succeeds.
need = if ! PATH=$$PATH:/usr/sbin:/sbin sh -c "$(1)" >/dev/null 2>&1; then \
	echo "-----> Installing $(2)"; \
	command -v apt-get >/dev/null || { echo "$(2) is missing, and this is no Debian: install it, then try again" >&2; exit 1; }; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(2) >/dev/null || \
	{ echo "apt-get could not install $(2): install it by hand (as root), then try again" >&2; exit 1; }; fi

.PHONY: need-go need-serve need-prometheus need-git need-languages need-clients
need-go:
	@command -v go >/dev/null || { echo "Go 1.26 or newer is needed: see https://go.dev/doc/install" >&2; exit 1; }
need-serve: need-go
	@[ "$$(id -u)" = 0 ] || { echo "gitd makes containers and namespaces: run make as root" >&2; exit 1; }
	@$(call need,command -v runc,runc)
	@$(call need,command -v mmdebstrap,mmdebstrap)
	@$(call need,command -v nft,nftables)
	@$(call need,command -v ip,iproute2)
# A real Prometheus scrapes the server in an end-to-end test.
need-prometheus: need-go
	@$(call need,command -v prometheus,prometheus)
need-git: need-go
	@$(call need,command -v git,git)
	@$(call need,command -v ssh,openssh-client)
# The buildpacks' unit tests run the real tools of each language.
need-languages:
	@$(call need,command -v node,nodejs)
	@$(call need,command -v npm,npm)
	@$(call need,command -v nginx,nginx-light)
	@$(call need,/usr/bin/python3 -m ensurepip --version,python3-venv)
	@$(call need,command -v cargo,cargo-web)
	@$(call need,command -v javac,default-jdk-headless)
# The tests of receiving push with every client that can be had.
need-clients: need-git
	@$(call need,command -v curl,curl)
	@$(call need,command -v git-lfs,git-lfs)
	@$(call need,command -v sshd,openssh-server)
	@$(call need,command -v java,default-jre-headless)
	@$(call need,command -v jgit,jgit-cli)

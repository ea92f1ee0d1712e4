# The programs that are shipped beside gitd. A file changes, and gets a new time, only when its content does: the builder image is
# cached by what they hold.
PARTS    := gitd-shim gitd-proxy gitd-helper gitd-phases gitd-pod gitd-keeper gitd-builder gitd-lambda gitd-acme buildpacks lifecycle launcher
PARTSDIR := bin/parts
STAGING  := bin/.parts

.PHONY: parts $(PARTS:%=part-%)
parts: $(PARTS:%=part-%)

# $(1): name. Takes over what was built in the staging folder where it differs.
define take-part
@mkdir -p $(PARTSDIR)
@cmp -s $(STAGING)/$(1) $(PARTSDIR)/$(1) || { cp $(STAGING)/$(1) $(PARTSDIR)/.$(1).new && mv $(PARTSDIR)/.$(1).new $(PARTSDIR)/$(1) && echo "built $(PARTSDIR)/$(1)"; }
endef

part-gitd-shim part-gitd-proxy part-gitd-helper part-gitd-phases part-gitd-pod part-gitd-keeper part-gitd-builder part-gitd-lambda part-gitd-acme: part-%:
	@CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o $(STAGING)/$* ./cmd/$*
	$(call take-part,$*)

part-buildpacks:
	@CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o $(STAGING)/buildpacks ./buildpacks
	$(call take-part,buildpacks)

# The lifecycle's programs are built inside its own module, with the dependencies that it was released with.
part-lifecycle part-launcher: part-%:
	@go mod download github.com/buildpacks/lifecycle
	@version=$$(go list -m -f '{{.Version}}' github.com/buildpacks/lifecycle) && out=$(CURDIR)/$(STAGING) && mkdir -p $$out && \
		cd $$(go list -m -f '{{.Dir}}' github.com/buildpacks/lifecycle) && CGO_ENABLED=0 GOFLAGS= GOWORK=off go build -trimpath -buildvcs=false \
		-ldflags "-s -w -X github.com/buildpacks/lifecycle/cmd.Version=$${version#v}" -o $$out/$* ./cmd/$*
	$(call take-part,$*)

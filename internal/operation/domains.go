package operation

import (
	"context"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/domain"
)

// AddDomain asks for a domain for an app.
type AddDomain struct {
	OfApp
	domain.Add
}

// OneDomain names a domain of an app.
type OneDomain struct {
	OfApp
	Name string
}

// Domains lists the domains of an app.
var Domains = Operation[OfApp, []domain.Domain]{
	Declaration{Name: "domains", Args: "APP", Does: "List the domains of an app", Verb: app.VerbRead, Needs: NeedsServer},
	func(ctx context.Context, c call, _ OfApp) ([]domain.Domain, error) { return c.Domains.Of(ctx, c.app) },
}

// DomainList is Domains by the name that stands beside add and remove.
var DomainList = Operation[OfApp, []domain.Domain]{
	Declaration{Name: "domains list", Args: "APP", Does: "List the domains of an app", Verb: app.VerbRead, Needs: NeedsServer},
	Domains.run,
}

// DomainAdd gives an app a domain.
var DomainAdd = Operation[AddDomain, domain.Domain]{
	Declaration{Name: "domains add", Args: "APP NAME", Does: "Give an app a domain of your own, beside APP.DOMAIN", Verb: app.VerbChange, Needs: NeedsServer},
	func(ctx context.Context, c call, in AddDomain) (domain.Domain, error) {
		return c.Domains.Add(ctx, c.by, c.app, in.Add)
	},
}

// DomainRemove takes a domain from an app.
var DomainRemove = Operation[OneDomain, struct{}]{
	Declaration{Name: "domains remove", Args: "APP NAME", Does: "Take a domain from an app", Verb: app.VerbChange, Needs: NeedsServer},
	func(ctx context.Context, c call, in OneDomain) (struct{}, error) {
		return struct{}{}, c.Domains.Remove(ctx, c.by, c.app, in.Name)
	},
}

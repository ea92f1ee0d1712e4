package operation

import (
	"context"
	"time"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/certificate"
	"github.com/gitd-io/gitd/internal/domain"
)

// MaxCertificate bounds a certificate with its chain and its key, in bytes.
const MaxCertificate = certificate.MaxSize

// AddDomain asks for a domain for an app.
type AddDomain struct {
	OfApp
	Name        string
	NoCheck     bool   // wherever the DNS leads
	Chain, Key  []byte // a certificate to use instead of obtaining one, in PEM; Chain may have the key as well; empty for none
	Certificate bool   // one was given
}

// OneDomain names a domain of an app.
type OneDomain struct {
	OfApp
	Name string
}

// Domains lists the domains of an app.
var Domains = Operation[OfApp, []domain.Domain]{
	Declaration{Name: "domains", Args: "APP", Does: "List the domains of an app, with their certificates", Verb: app.VerbRead, Needs: NeedsServer},
	func(ctx context.Context, c call, _ OfApp) ([]domain.Domain, error) { return c.Domains.Of(ctx, c.app) },
}

// DomainList is Domains by the name that stands beside add and remove.
var DomainList = Operation[OfApp, []domain.Domain]{
	Declaration{Name: "domains list", Args: "APP", Does: "List the domains of an app, with their certificates", Verb: app.VerbRead, Needs: NeedsServer},
	Domains.run,
}

// DomainAdd gives an app a domain.
var DomainAdd = Operation[AddDomain, domain.Domain]{
	Declaration{Name: "domains add", Args: "APP NAME", Does: "Give an app a domain of your own, beside APP.DOMAIN", Verb: app.VerbChange, Needs: NeedsServer, Stdin: true},
	func(ctx context.Context, c call, in AddDomain) (domain.Domain, error) {
		add := domain.Add{Name: in.Name, NoCheck: in.NoCheck}
		if in.Certificate {
			p, err := certificate.Parse(in.Chain, in.Key)
			if err != nil {
				return domain.Domain{}, err
			}
			add.Certificate = p
		}
		d, err := c.Domains.Add(ctx, c.by, c.app, add)
		if err != nil || in.NoCheck || in.Certificate {
			return d, err
		}
		d, err = c.Domains.Settle(ctx, c.app, d.Name)
		return obtained(d, err, c.app)
	},
}

// DomainCheck looks at a domain of an app again.
var DomainCheck = Operation[OneDomain, domain.Domain]{
	Declaration{Name: "domains check", Args: "APP NAME", Does: "Look where a domain leads, and try at once for a certificate that could not be obtained", Verb: app.VerbChange, Needs: NeedsServer},
	func(ctx context.Context, c call, in OneDomain) (domain.Domain, error) {
		d, err := c.Domains.Check(ctx, c.app, in.Name)
		return obtained(d, err, c.app)
	},
}

// obtained is the error of a domain whose certificate could not be obtained.
func obtained(d domain.Domain, err error, name string) (domain.Domain, error) {
	if err != nil || d.Certificate.State != domain.CertificateFailed {
		return d, err
	}
	next := "put that right, and try at once: gitd domains check " + name + " " + d.Name
	if d.Certificate.Next != nil {
		next += "; else it is tried again at " + d.Certificate.Next.UTC().Format(time.DateTime) + " (UTC)"
	}
	return d, app.Errorf(app.CodeUnavailable, next, "%s leads to %s, and a certificate for it could not be obtained: %s", d.Name, name, app.Line(d.Certificate.Error, 400))
}

// DomainRemove takes a domain from an app.
var DomainRemove = Operation[OneDomain, struct{}]{
	Declaration{Name: "domains remove", Args: "APP NAME", Does: "Take a domain from an app", Verb: app.VerbChange, Needs: NeedsServer},
	func(ctx context.Context, c call, in OneDomain) (struct{}, error) {
		return struct{}{}, c.Domains.Remove(ctx, c.by, c.app, in.Name)
	},
}

// CA returns the root of the server's own authority for certificates, in PEM. It makes the authority where there is none.
var CA = Operation[OfServer, string]{
	Declaration{Name: "ca", Does: "Print the root certificate of the server's own authority (gitd serve --issuer ca), for clients to trust", Verb: app.VerbUse, Needs: NeedsServer},
	func(_ context.Context, c call, _ OfServer) (string, error) {
		ca, err := c.Authority()
		if err != nil {
			return "", err
		}
		return string(ca.Root()), nil
	},
}

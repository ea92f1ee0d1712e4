package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

// kind is how a value is written.
type kind struct {
	name string // in the help: --flag name
	toml string // in the file, for messages: `a text such as "2Gi"`
}

// value is where a setting's value goes, and how it is read and written as text.
type value struct {
	kind
	list   bool // may have several texts
	number bool // is written as an integer in the file
	either bool // may be written as a text or an integer in the file
	set    func(texts []string) *problem
	get    func() []string
}

// problem is what is wrong with a value, and what to do.
type problem struct{ reason, next string }

func bad(next, format string, args ...any) *problem {
	return &problem{fmt.Sprintf(format, args...), next}
}

// scalar is a value with one text.
func scalar[T any](k kind, to *T, parse func(string) (T, *problem), format func(T) string) value {
	return value{
		kind: k,
		set: func(texts []string) *problem {
			v, err := parse(texts[len(texts)-1]) // of a flag that is given twice the last one holds
			if err == nil {
				*to = v
			}
			return err
		},
		get: func() []string { return []string{format(*to)} },
	}
}

func text(name string, to *string) value {
	return scalar(kind{name, "a text in quotes"}, to, func(s string) (string, *problem) { return s, nil }, func(s string) string { return s })
}

// listener is an address to listen on, or none.
func listener(to *string) value {
	v := address(to)
	set := v.set
	v.set = func(texts []string) *problem {
		if texts[len(texts)-1] == "" {
			*to = ""
			return nil
		}
		return set(texts)
	}
	return v
}

func address(to *string) value {
	return scalar(kind{"address", `an address such as ":8080"`}, to, func(s string) (string, *problem) {
		_, port, err := net.SplitHostPort(s)
		if n, nerr := strconv.Atoi(port); err != nil || nerr == nil && (n < 0 || n > 65535) {
			return "", bad("give one such as :2222 or 127.0.0.1:2222", "%q is not an address to listen on", s)
		}
		return s, nil
	}, func(s string) string { return s })
}

func choice[T ~string](to *T, options ...T) value {
	var names []string
	for _, o := range options {
		names = append(names, string(o))
	}
	all := strings.Join(names, " or ")
	return scalar(kind{strings.Join(names, "|"), "one of the texts " + all}, to, func(s string) (T, *problem) {
		for _, o := range options {
			if s == string(o) {
				return o, nil
			}
		}
		return "", bad("use "+all, "%q is not one of %s", s, strings.Join(names, ", "))
	}, func(v T) string { return string(v) })
}

func toggle(to *bool) value {
	return scalar(kind{"bool", "true or false"}, to, func(s string) (bool, *problem) {
		b, err := strconv.ParseBool(s)
		if err != nil {
			return false, bad("give true or false", "%q is neither true nor false", s)
		}
		return b, nil
	}, strconv.FormatBool)
}

// count is a whole number from 0.
func count[T int | int64](to *T) value {
	v := scalar(kind{"number", "a number without quotes"}, to, func(s string) (T, *problem) {
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil || n < 0 {
			return 0, bad("give a whole number from 0 to 2147483647", "%q is out of range", s)
		}
		return T(n), nil
	}, func(n T) string { return strconv.FormatInt(int64(n), 10) })
	v.number = true
	return v
}

// size is an amount of bytes above 0.
func size(to *int64) value {
	return quantity(kind{"size", `an amount of bytes such as "2Gi"`}, to, func(s string) (int64, *problem) {
		v, err := resource.ParseQuantity(s)
		if err != nil || v.Value() <= 0 {
			return 0, bad("give one such as 2Gi", "%q is not an amount of bytes", s)
		}
		return v.Value(), nil
	}, resource.BinarySI)
}

// limit is an amount of bytes: 0 for no limit, "" for ByMachine.
func limit(to *int64) value {
	return quantity(kind{"size", `an amount of bytes such as "2Gi", or 0 for no limit`}, to, func(s string) (int64, *problem) {
		if s == "" {
			return ByMachine, nil
		}
		v, err := resource.ParseQuantity(s)
		if err != nil || v.Sign() < 0 {
			return 0, bad("give one such as 2Gi, or 0 for no limit", "%q is not an amount of bytes", s)
		}
		return v.Value(), nil
	}, resource.BinarySI)
}

// cores are thousandths of a core: 0 for no limit.
func cores(to *int64) value {
	v := scalar(kind{"cores", `a number of cores such as 2 or "500m", or 0 for no limit`}, to, func(s string) (int64, *problem) {
		v, err := resource.ParseQuantity(s)
		if err != nil || v.Sign() < 0 {
			return 0, bad("give one such as 2 or 500m, or 0 for no limit", "%q is not a number of cores", s)
		}
		return v.MilliValue(), nil
	}, func(n int64) string { return resource.NewMilliQuantity(n, resource.DecimalSI).String() })
	v.either = true
	return v
}

func quantity(k kind, to *int64, parse func(string) (int64, *problem), f resource.Format) value {
	v := scalar(k, to, parse, func(n int64) string {
		if n == ByMachine {
			return ""
		}
		return resource.NewQuantity(n, f).String()
	})
	v.either = true
	return v
}

// duration is a time above 0; 0 stands for the default.
func duration(to *time.Duration, preset time.Duration) value {
	return scalar(kind{"time", `a time such as "15m"`}, to, func(s string) (time.Duration, *problem) {
		d, err := time.ParseDuration(s)
		if err != nil || d < 0 {
			return 0, bad("give one such as 15m or 90s", "%q is not a time", s)
		}
		if d == 0 {
			d = preset
		}
		return d, nil
	}, shortTime)
}

// shortTime writes 15m where the library writes 15m0s.
func shortTime(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// networks are networks such as 10.1.2.0/24, or single addresses.
func networks(to *[]netip.Prefix) value {
	return value{
		kind: kind{"network", `a list of networks such as ["10.1.2.0/24"]`}, list: true,
		set: func(texts []string) *problem {
			var all []netip.Prefix
			for _, text := range texts {
				p, err := network(text)
				if err != nil {
					return err
				}
				all = append(all, p)
			}
			*to = all
			return nil
		},
		get: func() []string {
			var texts []string
			for _, p := range *to {
				texts = append(texts, p.String())
			}
			return texts
		},
	}
}

// addresses are IP addresses.
func addresses(to *[]netip.Addr) value {
	return value{
		kind: kind{"ip", `a list of IP addresses such as ["192.0.2.1"]`}, list: true,
		set: func(texts []string) *problem {
			var all []netip.Addr
			for _, text := range texts {
				a, err := netip.ParseAddr(text)
				if err != nil || a.Zone() != "" {
					return bad("give one such as 192.0.2.1", "%q is not an IP address", text)
				}
				all = append(all, a.Unmap())
			}
			*to = all
			return nil
		},
		get: func() []string {
			var texts []string
			for _, a := range *to {
				texts = append(texts, a.String())
			}
			return texts
		},
	}
}

// list are texts, each of which check accepts.
func list(name string, to *[]string, check func(string) *problem) value {
	return value{
		kind: kind{name, "a list of texts in quotes"}, list: true,
		set: func(texts []string) *problem {
			for _, s := range texts {
				if err := check(s); err != nil {
					return err
				}
			}
			*to = slices.Clone(texts)
			return nil
		},
		get: func() []string { return *to },
	}
}

// directory checks the URL of an authority that speaks ACME.
func directory(s string) *problem {
	if u, err := url.Parse(s); err != nil || u.Scheme != "https" || u.Host == "" {
		return bad("give one such as https://acme-v02.api.letsencrypt.org/directory", "%q is not the URL of a directory", s)
	}
	return nil
}

// challenge checks how a name is proven.
func challenge(s string) *problem {
	if s != "http-01" && s != "tls-alpn-01" {
		return bad("use http-01 or tls-alpn-01", "%q is not one of http-01, tls-alpn-01", s)
	}
	return nil
}

// resolver is the address of a server that answers questions of the DNS; its port may be left out.
func resolver(to *string) value {
	return scalar(kind{"ip[:port]", `an address such as "192.0.2.53"`}, to, func(s string) (string, *problem) {
		if a, err := netip.ParseAddr(s); s == "" {
			return "", nil
		} else if err == nil {
			return netip.AddrPortFrom(a, 53).String(), nil
		}
		if a, err := netip.ParseAddrPort(s); err == nil && a.Port() != 0 {
			return a.String(), nil
		}
		return "", bad("give one such as 192.0.2.53, or 192.0.2.53:5353", "%q is not the address of a resolver", s)
	}, func(s string) string { return s })
}

func network(text string) (netip.Prefix, *problem) {
	p, err := netip.ParsePrefix(text)
	if a, aerr := netip.ParseAddr(text); aerr == nil && a.Zone() == "" {
		p, err = a.Prefix(a.BitLen())
	}
	if err != nil {
		return p, bad("give one such as 10.1.2.0/24, or an address", "%q is not a network", text)
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

func userIDs(to *UIDs) value {
	return scalar(kind{"first-last", `a range such as "2000000-2089999"`}, to, parseUIDs, UIDs.String)
}

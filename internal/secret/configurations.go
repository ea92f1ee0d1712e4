package secret

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"filippo.io/age"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/store"
)

// Configurations are the configurations of all apps: in the store, sealed under the key in a file.
type Configurations struct {
	store *store.Store
	file  string
	now   func() time.Time

	mu   sync.RWMutex // mu guards the key file; it is held while values are sealed and stored
	keys keys         // nil where they have not been read, or there is no file
}

// New returns the configurations in a store. file is the key's; it is made when the first values are set.
func New(s *store.Store, file string) *Configurations {
	return &Configurations{store: s, file: file, now: time.Now}
}

// File is the name of the key file.
func (c *Configurations) File() string { return c.file }

// read returns the keys; nil where there is no key file.
func (c *Configurations) read() (keys, error) {
	c.mu.RLock()
	have := c.keys
	c.mu.RUnlock()
	if have != nil {
		return have, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.load()
}

// load is read for who holds mu.
func (c *Configurations) load() (k keys, err error) {
	if c.keys == nil {
		c.keys, err = readKeys(c.file)
	}
	return c.keys, err
}

// ensure returns the keys, and makes the first one where there is no key file. The caller holds mu.
func (c *Configurations) ensure() (keys, error) {
	k, err := c.load()
	if err != nil || k != nil {
		return k, err
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, err
	}
	k = keys{id}
	if err := k.write(c.file, c.now()); err != nil {
		return nil, app.Errorf(app.CodeUnavailable, "make the folder writable, or name another file: gitd serve --secret-key FILE", "the key file %s cannot be written: %w", c.file, err)
	}
	c.keys = k
	return k, nil
}

// Open returns the values of a configuration. It returns an *app.Error that says what is lost where the key is.
func (c *Configurations) Open(name string, v app.Configuration) (Values, error) {
	if v.Version == 0 {
		return Values{}, nil
	}
	if v.Sealed == nil {
		return nil, app.Errorf(app.CodeNotFound, "choose a newer release: gitd releases "+name, "the values of configuration %d of %s are not kept any more", v.Version, name)
	}
	k, err := c.read()
	if err != nil {
		return nil, err
	}
	if k == nil || !k.opens(v.Recipient) {
		return nil, c.lost(name, v)
	}
	plain, err := k.open(v.Sealed)
	if err != nil {
		return nil, fmt.Errorf("configuration %d of %s: %w", v.Version, name, err)
	}
	return decode(plain)
}

// lost is the error for a configuration whose key is not in the key file.
func (c *Configurations) lost(name string, v app.Configuration) error {
	var names []string
	for _, one := range v.Variables {
		names = append(names, one.Name)
	}
	slices.Sort(names)
	return app.Errorf(app.CodeUnavailable,
		"put the key back into "+c.file+" from where it is kept; without it, set all values again: gitd config set "+name+" --reset NAME=VALUE …",
		"the key of the configuration of %s is not in %s: the values of %s cannot be read", name, c.file, app.Clip(strings.Join(names, ", "), 300))
}

// Lost says whether the values of a configuration cannot be read because their key is not there.
func (c *Configurations) Lost(v app.Configuration) (bool, error) {
	k, err := c.read()
	return v.Version > 0 && v.Sealed != nil && (k == nil || !k.opens(v.Recipient)), err
}

// Add seals values as the next version of an app's configuration, and makes it the current one if current is set. variables says who set each value, and
// when; Add completes it with digests. It returns the version.
func (c *Configurations) Add(ctx context.Context, a app.App, by string, variables []app.Variable, values Values, current bool) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, err := c.ensure()
	if err != nil {
		return 0, err
	}
	v := app.Configuration{By: by, Variables: variables}
	if err := seal(&v, k, a.ID, values); err != nil {
		return 0, err
	}
	return c.store.AddConfiguration(ctx, a.ID, v, current)
}

// seal completes v with values: sealed, and their digests.
func seal(v *app.Configuration, k keys, appID int64, values Values) (err error) {
	digests, err := k.digestKey()
	if err != nil {
		return err
	}
	v.Variables = slices.Clone(v.Variables)
	for i := range v.Variables {
		one := &v.Variables[i]
		one.Digest = digest(digests, appID, one.Name, values[one.Name])
	}
	plain := values.encode()
	defer clear(plain)
	v.Recipient = k.recipient()
	v.Sealed, err = k.seal(plain)
	return err
}

// digest tells two values of a variable apart. Without the key it cannot be computed, so that nothing can be tried against it.
func digest(key []byte, appID int64, name string, value []byte) string {
	h := hmac.New(sha256.New, key)
	fmt.Fprintf(h, "%d\x00%s\x00", appID, name)
	h.Write(value)
	return hex.EncodeToString(h.Sum(nil)[:6])
}

// Digests returns the digests that values of an app's variables have; nil where there is no key yet.
func (c *Configurations) Digests(appID int64, values Values) (map[string]string, error) {
	k, err := c.read()
	if err != nil || k == nil {
		return nil, err
	}
	key, err := k.digestKey()
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for name, value := range values {
		all[name] = digest(key, appID, name, value)
	}
	return all, nil
}

// Rekey seals all values under a new key, and forgets the old ones. It returns how many versions were sealed again, and how many were not because their key
// is not there. A process that is killed meanwhile leaves a key file with the new key and the old ones.
func (c *Configurations) Rekey(ctx context.Context) (sealed, lost int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys = nil
	old, err := c.load()
	if err != nil {
		return 0, 0, err
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return 0, 0, err
	}
	all := append(keys{id}, old...)
	if err := all.write(c.file, c.now()); err != nil {
		return 0, 0, err
	}
	c.keys = all
	err = c.store.Reseal(ctx, func(appID int64, v app.Configuration) (app.Configuration, error) {
		if !all.opens(v.Recipient) {
			lost++
			return v, nil
		}
		plain, err := all.open(v.Sealed)
		if err != nil {
			return v, err
		}
		defer clear(plain)
		values, err := decode(plain)
		if err != nil {
			return v, err
		}
		sealed++
		err = seal(&v, all, appID, values)
		return v, err
	})
	if err != nil {
		return 0, 0, err
	}
	if err := all[:1].write(c.file, c.now()); err != nil {
		return 0, 0, err
	}
	c.keys = all[:1]
	return sealed, lost, nil
}

// Report returns a line for the server's log for each app whose current values cannot be read; none where all is well.
func (c *Configurations) Report(ctx context.Context) ([]string, error) {
	all, err := c.store.CurrentConfigurations(ctx)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, one := range all {
		lost, err := c.Lost(one.Value)
		if err != nil {
			return nil, err
		}
		if lost {
			message, next := app.Explain(c.lost(one.App.Name, one.Value))
			lines = append(lines, message+" (images, releases and what runs are not affected; new instances do not start): "+next)
		}
	}
	return lines, nil
}

// Values implements deploy.Configuration.
func (c *Configurations) Values(ctx context.Context, appID int64, name string, version int) (map[string][]byte, error) {
	v, err := c.store.Configuration(ctx, appID, version)
	if err != nil {
		return nil, err
	}
	return c.Open(name, v)
}

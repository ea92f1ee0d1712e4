package builder

import "github.com/gitd-io/gitd/internal/build/builder/cache"

// SharedLayers is the directory of unpacked layers that every server on this machine has in common: Builder.Shared, known before
// there is a builder. dir is Options.Cache.
func SharedLayers(dir string) (string, error) {
	c, err := cache.Open(dir, nil)
	if err != nil {
		return "", err
	}
	return c.LayersDir(), nil
}

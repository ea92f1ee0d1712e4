package builder

// SharedLayers is the directory of unpacked layers that every server on this machine has in common: Builder.Shared, known before
// there is a builder. cache is Options.Cache.
func SharedLayers(cache string) (string, error) {
	c, err := openCache(Options{Cache: cache})
	if err != nil {
		return "", err
	}
	return c.layersDir(), nil
}

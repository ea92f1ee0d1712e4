// Package secret keeps the configuration of apps: the values sealed by age (https://age-encryption.org) under a key in a file of its own, beside them what
// may be seen of them. Plain values exist in memory alone.
package secret

package kit

import (
	"encoding/json"
	"os"
	"slices"
	"strings"

	"github.com/buildpacks/libcnb"
)

// Package is one package that the app is made of.
type Package struct {
	Name    string
	Version string
	PURL    string // package URL without version, e.g. "pkg:npm/express"
}

// WriteSBOM writes the bill of materials of a layer: CycloneDX 1.5 as JSON, without times and serial numbers, so that equal
// contents make equal files.
func WriteSBOM(l libcnb.Layer, packages []Package) error {
	type component struct {
		Type    string `json:"type"`
		Ref     string `json:"bom-ref"`
		Name    string `json:"name"`
		Version string `json:"version"`
		PURL    string `json:"purl"`
	}
	packages = slices.Clone(packages)
	slices.SortFunc(packages, func(a, b Package) int {
		return strings.Compare(a.PURL+"@"+a.Version, b.PURL+"@"+b.Version)
	})
	packages = slices.Compact(packages)
	components := []component{}
	for _, p := range packages {
		purl := p.PURL
		if p.Version != "" {
			purl += "@" + p.Version
		}
		components = append(components, component{"library", purl, p.Name, p.Version, purl})
	}
	data, err := json.Marshal(map[string]any{"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": components})
	if err != nil {
		return err
	}
	return os.WriteFile(l.SBOMPath(libcnb.CycloneDXJSON), data, 0o644)
}

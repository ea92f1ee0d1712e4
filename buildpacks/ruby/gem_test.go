package ruby

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// gem makes the file of a gem, as gem build does: no registry is needed then.
func gem(t testing.TB, name, version string, files map[string]string) string {
	t.Helper()
	var data, all bytes.Buffer
	write := func(w *tar.Writer, name string, content []byte) {
		t.Helper()
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content)), Format: tar.FormatUSTAR}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	compress := func(content []byte) []byte {
		t.Helper()
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write(content); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	w := tar.NewWriter(&data)
	extensions, programs := "[]", "[]"
	for _, f := range slices.Sorted(maps.Keys(files)) {
		write(w, f, []byte(files[f]))
		if strings.HasSuffix(f, "extconf.rb") {
			extensions = "[" + f + "]"
		}
		if p, ok := strings.CutPrefix(f, "exe/"); ok {
			programs = "[" + p + "]"
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	metadata := fmt.Sprintf(metadataFormat, name, version, programs, extensions, strings.Join(slices.Sorted(maps.Keys(files)), ", "))
	w = tar.NewWriter(&all)
	write(w, "metadata.gz", compress([]byte(metadata)))
	write(w, "data.tar.gz", compress(data.Bytes()))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// metadataFormat is what gem build writes, for a name, a version, programs, extensions and files.
const metadataFormat = `--- !ruby/object:Gem::Specification
name: %s
version: !ruby/object:Gem::Version
  version: '%s'
platform: ruby
authors: [test]
bindir: exe
executables: %s
extensions: %s
files: [%s]
date: 2020-01-01 00:00:00.000000000 Z
require_paths: [lib]
required_ruby_version: !ruby/object:Gem::Requirement
  requirements:
  - - ">="
    - !ruby/object:Gem::Version
      version: '0'
required_rubygems_version: !ruby/object:Gem::Requirement
  requirements:
  - - ">="
    - !ruby/object:Gem::Version
      version: '0'
dependencies: []
specification_version: 4
summary: test
licenses: [MIT]
homepage: https://example.com
rubygems_version: 3.3.5
`

package java

import (
	"archive/zip"
	"encoding/binary"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// jar is a jar or war that a build left.
type jar struct {
	path     string            // absolute
	manifest map[string]string // its main attributes
	web      bool              // has WEB-INF
	jakarta  bool              // a war of Jakarta EE 9 or later
	boot     bool              // has BOOT-INF
}

// runs tells whether java -jar, or a server for wars, can run it.
func (j *jar) runs() bool { return j.manifest["Main-Class"] != "" || j.web }

// maxManifest bounds the manifest of a jar.
const maxManifest = 1 << 20

// readArchive looks into a jar or war.
func readArchive(file string) (*jar, error) {
	z, err := zip.OpenReader(file)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	j := &jar{path: file, manifest: map[string]string{}, web: strings.HasSuffix(file, ".war")}
	for _, f := range z.File {
		switch {
		case f.Name == manifestName:
			if j.manifest, err = readManifest(f); err != nil {
				return nil, err
			}
		case strings.HasPrefix(f.Name, "BOOT-INF/"):
			j.boot = true
		case strings.HasPrefix(f.Name, "WEB-INF/"):
			j.web = true
			j.jakarta = j.jakarta || jakartaName(f.Name)
			if (f.Name == "WEB-INF/web.xml" || strings.HasSuffix(f.Name, ".class")) && !j.jakarta && f.UncompressedSize64 < maxManifest {
				j.jakarta = contains(f, "jakarta/servlet", "jakarta.ee/xml", "jakarta/ws/rs")
			}
		}
	}
	return j, nil
}

// jakartaName tells by the name of a library that a war is one of Jakarta EE 9 or later.
func jakartaName(name string) bool {
	base := path.Base(name)
	for _, p := range []string{"spring-web-6", "spring-web-7", "jersey-server-3", "jersey-server-4", "resteasy-core-6", "jakarta.faces-3", "jakarta.faces-4", "cxf-core-4", "struts2-core-7", "vaadin-server-24", "wicket-core-10"} {
		if strings.HasPrefix(base, p) {
			return true
		}
	}
	return false
}

func contains(f *zip.File, words ...string) bool {
	in, err := f.Open()
	if err != nil {
		return false
	}
	defer in.Close()
	data, err := io.ReadAll(io.LimitReader(in, maxManifest))
	if err != nil {
		return false
	}
	for _, w := range words {
		if strings.Contains(string(data), w) {
			return true
		}
	}
	return false
}

func readManifest(f *zip.File) (map[string]string, error) {
	in, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	data, err := io.ReadAll(io.LimitReader(in, maxManifest))
	return manifest(string(data)), err
}

// manifest reads the main attributes of a manifest: lines end at 72 bytes and go on after a space.
func manifest(text string) map[string]string {
	found := map[string]string{}
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n ", "")
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			break
		}
		if k, v, ok := strings.Cut(line, ":"); ok {
			found[strings.TrimSpace(k)] = strings.TrimSpace(v)
		}
	}
	return found
}

func mainClassOf(text string) string { return manifest(text)["Main-Class"] }

// classVersion returns the Java that the classes of a jar, war or unpacked one were compiled for; 0 where it has none.
func classVersion(app, file string) int {
	highest := 0
	see := func(r io.Reader) {
		head := make([]byte, 8)
		if _, err := io.ReadFull(r, head); err == nil && binary.BigEndian.Uint32(head) == 0xcafebabe {
			if v := int(binary.BigEndian.Uint16(head[6:])) - 44; v > highest && v < 100 {
				highest = v
			}
		}
	}
	if !strings.HasSuffix(file, ".jar") && !strings.HasSuffix(file, ".war") {
		for _, dir := range []string{"BOOT-INF/classes", "WEB-INF/classes", "."} {
			if p := firstClass(filepath.Join(app, dir)); p != "" {
				if f, err := os.Open(p); err == nil {
					see(f)
					f.Close()
				}
				break
			}
		}
		return highest
	}
	z, err := zip.OpenReader(filepath.Join(app, file))
	if err != nil {
		return 0
	}
	defer z.Close()
	for i, n := 0, 0; i < len(z.File) && n < 200; i++ {
		f := z.File[i]
		if !strings.HasSuffix(f.Name, ".class") || strings.HasPrefix(f.Name, "META-INF/") || strings.HasSuffix(f.Name, "module-info.class") {
			continue
		}
		n++
		if in, err := f.Open(); err == nil {
			see(in)
			in.Close()
		}
	}
	return highest
}

// firstClass finds a class below a folder.
func firstClass(dir string) (found string) {
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error { // what cannot be read has none
		if err == nil && strings.HasSuffix(path, ".class") && d.Type().IsRegular() {
			found = path
			return filepath.SkipAll
		}
		return err
	})
	return found
}

// manifestName is where a jar has its manifest.
const manifestName = "META-INF/MANIFEST.MF"

// settle writes a jar again without the times of its members, so that the same classes make the same file. What is inside is copied as it is, under
// the name that rename gives it; "" leaves it out. newManifest replaces the manifest; "" keeps it.
func settle(from, to string, rename func(name string) string, newManifest string) error {
	z, err := zip.OpenReader(from)
	if err != nil {
		return err
	}
	defer z.Close()
	tmp := to + ".new"
	out, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	w := zip.NewWriter(out)
	if err := copyMembers(w, z.File, rename, newManifest); err != nil {
		out.Close()
		return err
	}
	if err := w.Close(); err != nil {
		out.Close()
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return os.Rename(tmp, to)
}

func copyMembers(w *zip.Writer, files []*zip.File, rename func(name string) string, newManifest string) error {
	if newManifest != "" { // the first, as Java's own tool writes it
		m, err := w.CreateHeader(&zip.FileHeader{Name: manifestName, Method: zip.Deflate})
		if err != nil {
			return err
		}
		if _, err := io.WriteString(m, newManifest); err != nil {
			return err
		}
	}
	for _, f := range files {
		h := f.FileHeader
		if h.Name = rename(h.Name); h.Name == "" || h.Name == manifestName && newManifest != "" {
			continue
		}
		//lint:ignore SA1019 CreateRaw writes these fields as they are, and does not look at Modified.
		h.ModifiedTime, h.ModifiedDate, h.Extra = 0, 0x21, nil // 1 January 1980
		if strings.HasSuffix(h.Name, "__init.class") {
			h.ModifiedTime = 1 //lint:ignore SA1019 Clojure compiles a namespace again whose class is not newer than its source.
		}
		if strings.HasSuffix(h.Name, "/") { // some tools compress the nothing that a folder has, which Go refuses to write
			h.Method, h.Flags, h.CRC32, h.CompressedSize64, h.UncompressedSize64 = zip.Store, 0, 0, 0, 0
			if _, err := w.CreateRaw(&h); err != nil {
				return err
			}
			continue
		}
		in, err := f.OpenRaw()
		if err != nil {
			return err
		}
		m, err := w.CreateRaw(&h)
		if err != nil {
			return err
		}
		if _, err := io.Copy(m, in); err != nil {
			return err
		}
	}
	return nil
}

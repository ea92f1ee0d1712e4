package java

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/gitd-io/gitd/buildpacks/catalog"
	"github.com/gitd-io/gitd/buildpacks/internal/kit"
)

//go:embed fetch.py
var fetchScript string

// maxDownload and maxUnpacked bound a tool.
const (
	maxDownload = 1 << 30
	maxUnpacked = 3 << 30
)

// unreachable is a download that failed. notFound says that the server does not have the file.
type unreachable struct {
	url, reason string
	notFound    bool
}

func (u *unreachable) Error() string { return fmt.Sprintf("%s: %s", u.url, u.reason) }

// host names the server of an address.
func host(address string) string {
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		return u.Hostname()
	}
	return address
}

// download fetches a file. sum is its checksum in hex, SHA-1, SHA-256 or SHA-512 by its length; "" if it is not known.
func (b *build) download(address, sum, to string) error {
	if u, err := url.Parse(address); err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return &unreachable{url: address, reason: "it is not an address of the web"}
	}
	part := to + ".part"
	defer os.Remove(part)
	var said strings.Builder
	cmd := kit.Cmd{Args: []string{catalog.PythonExe, "-c", fetchScript, address, part, fmt.Sprint(int64(maxDownload))}, Env: b.env, Out: &said, Name: "download"}
	if _, err := cmd.Run(); err != nil {
		if said.Len() == 0 {
			return err
		}
		return &unreachable{url: address, reason: kit.First(said.String()), notFound: strings.Contains(said.String(), "answered 4")}
	}
	if err := check(part, sum); err != nil {
		return kit.Errorf("", "%s is not what was expected: %v", address, err)
	}
	return os.Rename(part, to)
}

// text fetches a short text, such as a checksum.
func (b *build) text(address string) (string, error) {
	dir, err := b.cache.Dir("java-tools")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "text")
	defer os.Remove(file)
	if err := b.download(address, "", file); err != nil {
		return "", err
	}
	data, err := kit.ReadFile(file)
	return string(data), err
}

func check(file, sum string) error {
	sum = strings.ToLower(strings.TrimSpace(sum))
	var h hash.Hash
	switch len(sum) {
	case 0:
		return nil
	case 2 * sha1.Size:
		h = sha1.New()
	case 2 * sha256.Size:
		h = sha256.New()
	case 2 * sha512.Size:
		h = sha512.New()
	default:
		return errors.New("the checksum is of no known length")
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != sum {
		return fmt.Errorf("its checksum is %s, not %s", got, sum)
	}
	return nil
}

// toolDir returns the folder of a tool in the app's cache, filled once by make, which gets an empty folder.
func (b *build) toolDir(name string, make func(dir string) error) (string, error) {
	tools, err := b.cache.Dir("java-tools")
	if err != nil {
		return "", err
	}
	dir := filepath.Join(tools, name)
	if kit.IsFile(dir, ".complete") {
		return dir, nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if err := make(dir); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return dir, os.WriteFile(filepath.Join(dir, ".complete"), nil, 0o644)
}

// fetchTool downloads an archive and unpacks it without its first folder.
func (b *build) fetchTool(name, address, sum string) (string, error) {
	return b.toolDir(name, func(dir string) error {
		kit.Say(b.Out, "Fetching %s", strings.ReplaceAll(name, "-", " "))
		file := dir + ".archive"
		defer os.Remove(file)
		if err := b.download(address, sum, file); err != nil {
			return err
		}
		if strings.HasSuffix(address, ".zip") {
			return unzip(file, dir, 1)
		}
		return untar(file, dir)
	})
}

// inside returns where a member of an archive goes, without its first folders; "" for one that has no more.
func inside(dir, name string, strip int) (string, error) {
	name = strings.TrimPrefix(filepath.ToSlash(name), "./")
	for range strip {
		_, after, ok := strings.Cut(name, "/")
		if !ok {
			return "", nil
		}
		name = after
	}
	name = strings.TrimSuffix(name, "/")
	if name == "" {
		return "", nil
	}
	if !filepath.IsLocal(name) {
		return "", fmt.Errorf("the archive has a file outside of its folder: %q", short(name))
	}
	return filepath.Join(dir, name), nil
}

// unzip unpacks a zip file: regular files and folders.
func unzip(file, dir string, strip int) error {
	z, err := zip.OpenReader(file)
	if err != nil {
		return fmt.Errorf("%s is not a zip file: %w", filepath.Base(file), err)
	}
	defer z.Close()
	left := int64(maxUnpacked)
	for _, f := range z.File {
		to, err := inside(dir, f.Name, strip)
		if err != nil {
			return err
		}
		if to == "" || !f.Mode().IsRegular() {
			continue
		}
		in, err := f.Open()
		if err != nil {
			return err
		}
		n, err := write(to, in, left, f.Mode().Perm()&0o111)
		in.Close()
		if err != nil {
			return err
		}
		left -= n
	}
	return nil
}

// untar unpacks a .tar.gz without its first folder: regular files, folders and links that stay inside.
func untar(file, dir string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	gz, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir) // no link leads out of it
	if err != nil {
		return err
	}
	defer root.Close()
	left := int64(maxUnpacked)
	for t := tar.NewReader(gz); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name, err := inside(".", h.Name, 1)
		if err != nil {
			return err
		}
		if name == "" {
			continue
		}
		if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		switch h.Typeflag {
		case tar.TypeReg:
			if left -= h.Size; left < 0 {
				return errors.New("the archive is too large")
			}
			out, err := root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644|fs.FileMode(h.Mode)&0o111)
			if err != nil {
				return err
			}
			_, err = io.Copy(out, t)
			if err := errors.Join(err, out.Close()); err != nil {
				return err
			}
		case tar.TypeSymlink:
			if err := root.Symlink(h.Linkname, name); err != nil {
				return err
			}
		}
	}
}

// write writes a file of at most limit bytes.
func write(to string, in io.Reader, limit int64, bits fs.FileMode) (int64, error) {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return 0, err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644|bits)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(out, io.LimitReader(in, limit+1))
	if err := errors.Join(err, out.Close()); err != nil {
		return n, err
	}
	if n > limit {
		return n, errors.New("the archive is too large")
	}
	return n, nil
}

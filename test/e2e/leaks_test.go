package e2e

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdLeaks looks for secrets wherever gitd keeps or shows something:
//
//	leaks FILE [NAME]
//
// FILE has the secrets, one a line; what is common to many may stand for them. They are searched as they are, in hexadecimal, in Base64 and quoted, in all files of the data
// directory but NAME, uncompressed as well, in the server's log, in the folders for temporary files, in traces and metrics where there are such, in the arguments and the
// environment of its processes, apps' own excepted, in the memory of the proxy and of shims, and in what another user of the machine sees of all processes. gitd itself has them in
// its memory (docs/security.md): no core is made of it, nor of any other of the processes, those of apps included.
func cmdLeaks(w *world, ts *testscript.TestScript, args []string) (output, error) {
	if len(args) != 1 && len(args) != 2 {
		ts.Fatalf("usage: leaks FILE [NAME]")
	}
	s := &searched{forms: map[string][]byte{}}
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		if secret := strings.TrimSpace(line); secret != "" {
			s.seek(secret)
		}
	}
	if len(args) == 2 {
		s.but = filepath.Join(w.data, args[1])
	}
	for _, dir := range []string{w.base, "/run/" + group(w.data), "/dev/shm"} {
		if err := s.tree(dir); err != nil {
			return output{}, err
		}
	}
	temporary, err := filepath.Glob(filepath.Join(os.TempDir(), "gitd-*"))
	ts.Check(err)
	for _, dir := range temporary {
		if programs.MatchString(filepath.Base(dir)) {
			continue
		}
		if err := s.tree(dir); err != nil {
			return output{}, err
		}
	}
	for _, p := range belongingTo(w.data) {
		s.process(p)
	}
	ts.Check(s.others())
	ts.Check(s.telemetry(w))
	told := fmt.Sprintf("%d forms searched in %d files, %d of them uncompressed, %d processes, the memory of %d, and %d reports of traces\n", len(s.forms), s.files, s.unpacked, s.processes, s.memories, s.traces)
	if s.memories == 0 || s.unpacked == 0 || w.server != nil && !s.proxy {
		return output{}, fmt.Errorf("there was nothing to search: %s", told)
	}
	if len(s.found) > 0 {
		return output{}, fmt.Errorf("found:\n%s", strings.Join(s.found, "\n"))
	}
	return output{stdout: told}, nil
}

// programs are the folders of scripts, of stages of test/stage, and of benchmarks: this one's is searched already, and the others are of other servers.
var programs = regexp.MustCompile(`^gitd-(e2e|stage|bench)-`)

// searched is a search under way.
type searched struct {
	forms                      map[string][]byte // what it is called → what is searched
	but                        string            // a file that may have secrets
	found                      []string
	files, unpacked, processes int
	memories, traces           int
	proxy                      bool // its memory is among those
}

// seek adds the forms of a secret. Of Base64 those digits are searched that do not depend on what is before and behind it, for each of the three places that it may begin at.
func (s *searched) seek(secret string) {
	s.forms[secret] = []byte(secret)
	s.forms[secret+" in hexadecimal"] = []byte(hex.EncodeToString([]byte(secret)))
	s.forms[secret+" in HEXADECIMAL"] = []byte(strings.ToUpper(hex.EncodeToString([]byte(secret))))
	if q := url.QueryEscape(secret); q != secret {
		s.forms[secret+" quoted"] = []byte(q)
	}
	for shift := range 3 {
		whole := base64.StdEncoding.EncodeToString(append(make([]byte, shift), secret...))
		from, to := (shift*8+5)/6, (shift+len(secret))*8/6
		s.forms[fmt.Sprintf("%s in Base64 (%d)", secret, shift)] = []byte(whole[from:to])
	}
}

// in searches b.
func (s *searched) in(where string, b []byte) {
	for name, form := range s.forms {
		if at := bytes.Index(b, form); at >= 0 {
			s.found = append(s.found, fmt.Sprintf("%s has %s: %q", where, name, b[max(0, at-60):min(len(b), at+len(form)+30)]))
		}
	}
}

// tree searches all files below a folder that this machine stores.
func (s *searched) tree(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) { // it went meanwhile
			return nil
		}
		if err != nil || path == s.but || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil {
			return err
		}
		s.files++
		s.in(path, b)
		s.in("the name of "+path, []byte(filepath.Base(path)))
		s.uncompressed(path, b)
		return nil
	})
}

// uncompressed searches what is in a compressed file: a layer, an object of git.
func (s *searched) uncompressed(path string, b []byte) {
	var r io.Reader
	var err error
	switch {
	case bytes.HasPrefix(b, []byte{0x1f, 0x8b}):
		r, err = gzip.NewReader(bytes.NewReader(b))
	case strings.Contains(path, "/objects/"):
		r, err = zlib.NewReader(bytes.NewReader(b))
	default:
		return
	}
	if err != nil {
		return
	}
	if content, err := io.ReadAll(r); err == nil {
		s.unpacked++
		s.in("uncompressed, "+path, content)
	}
}

// telemetry searches what went to the collector, and what the server measures.
func (s *searched) telemetry(w *world) error {
	if w.collector != nil {
		w.collector.mu.Lock()
		defer w.collector.mu.Unlock()
		for _, b := range w.collector.raw {
			s.traces++
			s.in("a trace", b)
		}
	}
	if w.metrics == "" || w.server == nil {
		return nil
	}
	body, err := fetch("http://" + w.metrics + "/metrics")
	s.in("metrics", []byte(body))
	return err
}

var noCore = regexp.MustCompile(`(?m)^Max core file size +1 +1 `)

// process looks at one process.
func (s *searched) process(p process) {
	dir := filepath.Join("/proc", strconv.Itoa(p.pid))
	where := fmt.Sprintf("process %d (%.60s)", p.pid, p.args)
	limits, err := os.ReadFile(filepath.Join(dir, "limits"))
	if err != nil { // it has ended
		return
	}
	if !noCore.Match(limits) {
		s.found = append(s.found, where+" may be dumped:\n"+string(limits))
	}
	own, err := os.Readlink("/proc/self/ns/pid")
	theirs, gone := os.Readlink(filepath.Join(dir, "ns/pid"))
	if err != nil || gone != nil || theirs != own { // in a container: an app's own, which has its configuration
		return
	}
	s.processes++
	for _, file := range []string{"cmdline", "environ"} {
		if b, err := os.ReadFile(filepath.Join(dir, file)); err == nil {
			s.in(where+": "+file, b)
		}
	}
	proxy := strings.Contains(p.args, "gitd-proxy")
	if proxy || strings.Contains(p.args, "gitd-shim") {
		if s.memory(where, dir) > 0 {
			s.memories++
			s.proxy = s.proxy || proxy
		}
	}
}

// others searches what a user of the machine who is not root sees of all its processes. Of root's they see no environment.
func (s *searched) others() error {
	c := exec.Command("sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null; test ! -r /proc/$1/environ", "sh", strconv.Itoa(os.Getpid()))
	c.Dir, c.SysProcAttr = "/", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	seen, err := c.Output()
	if err == nil && len(seen) == 0 {
		err = errors.New("it sees nothing")
	}
	if err != nil {
		return fmt.Errorf("another user: %w", err)
	}
	s.in("what another user sees of processes", seen)
	return nil
}

// memory searches what a process has in its memory and may write to, and returns how much that is.
func (s *searched) memory(where, dir string) (bytes int) {
	maps, _ := os.ReadFile(filepath.Join(dir, "maps"))
	mem, err := os.Open(filepath.Join(dir, "mem"))
	if err != nil {
		return 0
	}
	defer mem.Close()
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var access string
		if n, _ := fmt.Sscanf(line, "%x-%x %s", &from, &to, &access); n != 3 || !strings.HasPrefix(access, "rw") {
			continue
		}
		b := make([]byte, min(to-from, 256<<20))
		n, _ := mem.ReadAt(b, from)
		s.in(where+": its memory", b[:n])
		bytes += n
	}
	return bytes
}

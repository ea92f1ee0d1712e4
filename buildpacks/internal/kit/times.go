package kit

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Build tools such as cargo and mix tell what has changed by the time that a file was written, and each push writes all files of the app again: everything of
// the app would be compiled with each. So the times are kept in the cache, by content: a file that is as it was gets the time that it had, and one that has
// changed the present.

// stamp is what is kept of a file or folder.
type stamp struct {
	Sum  string `json:"sum"`  // of its content; of a folder, of the names in it
	Time int64  `json:"time"` // in nanoseconds
}

// KeepTimes gives the files of the app the times of the last build where they are the same, and notes them for the next in the file table. The folders
// skip at the root of the app are left alone.
func KeepTimes(app, table string, now time.Time, skip ...string) error {
	old := map[string]stamp{}
	if data, err := os.ReadFile(table); err == nil {
		_ = json.Unmarshal(data, &old) // a damaged table is none: everything is compiled
	}
	stamps := map[string]stamp{}
	var paths []string
	err := filepath.WalkDir(app, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(app, path)
		if err != nil {
			return err
		}
		if d.IsDir() && (rel == ".git" || slices.Contains(skip, rel) || d.Name() == "node_modules") {
			return fs.SkipDir
		}
		sum, err := sumOf(path, d)
		if err != nil || sum == "" {
			return err
		}
		s := stamp{sum, now.UnixNano()}
		if o, ok := old[rel]; ok && o.Sum == sum && o.Time < s.Time {
			s = o
		}
		stamps[rel] = s
		paths = append(paths, rel)
		return nil
	})
	if err != nil {
		return err
	}
	for _, rel := range paths {
		t := time.Unix(0, stamps[rel].Time)
		if err := os.Chtimes(filepath.Join(app, rel), t, t); err != nil {
			return err
		}
	}
	data, err := json.Marshal(stamps)
	if err != nil {
		return err
	}
	if err := os.WriteFile(table+".new", data, 0o644); err != nil {
		return err
	}
	return os.Rename(table+".new", table)
}

// sumOf digests a file, or the names in a folder; "" for anything else.
func sumOf(path string, d fs.DirEntry) (string, error) {
	switch {
	case d.Type().IsRegular():
		return FileKey(path)
	case d.IsDir():
		entries, err := os.ReadDir(path)
		if err != nil {
			return "", err
		}
		var names strings.Builder
		for _, e := range entries {
			names.WriteString(e.Name() + "/")
		}
		return Key("folder", names.String()), nil
	}
	return "", nil
}

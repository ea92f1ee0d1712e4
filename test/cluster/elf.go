package main

import (
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// sorted returns a sorted copy.
func sorted(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return s
}

// libraries lists the files that the dynamic linker needs to run a program: itself and, transitively, every library that is
// named as needed. They are looked for in dirs.
func libraries(program string, dirs []string) ([]string, error) {
	found := map[string]bool{}
	todo := []string{program}
	for len(todo) > 0 {
		file := todo[0]
		todo = todo[1:]
		f, err := elf.Open(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		needed, err := f.ImportedLibraries()
		linker := interpreter(f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if linker != "" && !found[linker] {
			found[linker] = true
		}
		for _, name := range needed {
			path, err := find(name, dirs)
			if err != nil {
				return nil, fmt.Errorf("%s needs %s: %w", filepath.Base(file), name, err)
			}
			if !found[path] {
				found[path] = true
				todo = append(todo, path)
			}
		}
	}
	var all []string
	for path := range found {
		all = append(all, path)
	}
	return sorted(all), nil
}

// interpreter is the path of the dynamic linker that the program names.
func interpreter(f *elf.File) string {
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			data := make([]byte, p.Filesz)
			if _, err := p.ReadAt(data, 0); err == nil {
				return strings.TrimRight(string(data), "\x00")
			}
		}
	}
	return ""
}

func find(name string, dirs []string) (string, error) {
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("not in %s", strings.Join(dirs, ", "))
}

package sandbox

import (
	"archive/tar"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/gitd-io/gitd/internal/disk"
)

// The attack is a power cut right after a layer was unpacked: its folder has all names, with empty files. Apps must not run on it: after the
// machine's start such a layer is unpacked again, and one that was synced is not.
func TestAttack_LayersAfterPowerCut(t *testing.T) {
	dir := t.TempDir()
	img := image(t, archive(t, tar.Header{Name: "bin/tool", Linkname: "content"}), archive(t, tar.Header{Name: "etc/conf", Linkname: "content"}))
	dirs, err := OpenLayers(dir).Ensure(t.Context(), img)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		for deadline := time.Now().Add(time.Minute); !disk.Settled(d); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("a layer is never marked as being on the disk")
			}
		}
	}
	s := disk.Settler{Dir: dir}
	s.Unsettle(dirs[0]) // as if the cut had come before
	for i, name := range []string{"bin/tool", "etc/conf"} {
		if err := os.Truncate(filepath.Join(dirs[i], name), 0); err != nil {
			t.Fatal(err)
		}
	}
	size := func(i int, name string) int64 {
		info, err := os.Stat(filepath.Join(dirs[i], name))
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	if _, err := OpenLayers(dir).Ensure(t.Context(), img); err != nil { // gitd is restarted, not the machine
		t.Fatal(err)
	}
	if size(0, "bin/tool") != 0 {
		t.Error("a layer was unpacked again that a container may use")
	}
	if err := os.WriteFile(filepath.Join(dir, lockFile), []byte("an earlier one"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Unsettle(dirs[0])
	if _, err := OpenLayers(dir).Ensure(t.Context(), img); err != nil {
		t.Fatal(err)
	}
	if size(0, "bin/tool") == 0 {
		t.Error("a layer that was not on the disk is believed")
	}
	if size(1, "etc/conf") != 0 {
		t.Error("a layer that was on the disk was unpacked again")
	}
}

// Pruning neither waits for an Ensure nor takes from it what it was asked for, also when it did not know of the image.
func TestLayers_PruneBesideEnsure(t *testing.T) {
	l := OpenLayers(t.TempDir())
	img := image(t, archive(t, tar.Header{Name: "bin/tool", Linkname: "content"}))
	mark := l.Mark()
	dirs, err := l.Ensure(context.Background(), img)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Prune(mark, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dirs[0]); err != nil {
		t.Errorf("a layer was pruned that was asked for after the mark: %v", err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	release := l.hold([]v1.Hash{config.RootFS.DiffIDs[0]})
	if err := l.Prune(l.Mark(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dirs[0]); err != nil {
		t.Errorf("a layer was pruned that an Ensure needs: %v", err)
	}
	release()
	if err := l.Prune(l.Mark(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dirs[0]); err == nil {
		t.Error("a layer stays that nothing needs")
	}
}

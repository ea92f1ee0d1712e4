package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// workshop is the folder where images are made and kept, by what they are made of: ~/.cache/gitd-vm.
type workshop struct {
	dir  string
	key  string // path of the private key that the machines let in
	page page
}

const (
	imageSize = "16G" // sparse
	imageAge  = 30 * 24 * time.Hour
)

// What Debian's installer puts onto a machine with the tasks "SSH server" and "standard system utilities", as far as it matters here.
var installed = []string{"linux-image-amd64", "systemd-sysv", "systemd-timesyncd", "dbus", "libpam-systemd", "openssh-server", "ifupdown", "apparmor",
	"ca-certificates", "curl", "cron", "procps"}

// What steps install beside gitd. It is fetched when the image is made: the machine itself needs no way to the distribution's servers.
func later(suite string) []string { return append(docker(suite), "ufw", "firewalld", "iptables") }

// docker names the packages of Docker: since Debian 13 its command has one of its own.
func docker(suite string) []string {
	if suite == "bookworm" {
		return []string{"docker.io"}
	}
	return []string{"docker.io", "docker-cli"}
}

func openWorkshop() (*workshop, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	w := &workshop{dir: filepath.Join(cache, "gitd-vm")}
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		return nil, err
	}
	text, err := os.ReadFile("docs/install.md")
	if err != nil {
		return nil, fmt.Errorf("run this in the project's folder: %w", err)
	}
	if w.page, err = readPage(string(text)); err != nil {
		return nil, err
	}
	w.key = filepath.Join(w.dir, "key")
	if _, err := os.Stat(w.key); errors.Is(err, os.ErrNotExist) {
		err := command(context.Background(), "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "vm", "-f", w.key)
		if err != nil {
			return nil, err
		}
	}
	return w, nil
}

// image is a system's disk, with the kernel to boot it.
type image struct{ disk, kernel, initrd string }

// image makes the disk of a stock Debian, unless it is there and younger than a month.
func (w *workshop) image(ctx context.Context, suite, mirror string) (image, error) {
	public, err := os.ReadFile(w.key + ".pub")
	if err != nil {
		return image{}, err
	}
	packages := slices.Concat(installed, w.page.packages)
	name := suite + "-" + digest(1, suite, packages, later(suite), imageSize, string(public))
	dir := filepath.Join(w.dir, "images", name)
	img := image{filepath.Join(dir, "disk"), filepath.Join(dir, "vmlinuz"), filepath.Join(dir, "initrd")}
	if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) < imageAge {
		return img, nil
	}
	say("Making the image of %s from its packages: some minutes, once a month", suite)
	if err := w.forget("images", suite+"-"); err != nil {
		return img, err
	}
	work := dir + ".new"
	root := filepath.Join(work, "root")
	if err := os.MkdirAll(work, 0o700); err != nil {
		return img, err
	}
	if err := bootstrap(ctx, suite, mirror, root, packages); err != nil {
		return img, err
	}
	if err := configure(root, suite, string(public)); err != nil {
		return img, err
	}
	for from, to := range map[string]string{"vmlinuz-*": "vmlinuz", "initrd.img-*": "initrd"} {
		found, _ := filepath.Glob(filepath.Join(root, "boot", from))
		if len(found) != 1 {
			return img, fmt.Errorf("the image has %d files boot/%s", len(found), from)
		}
		if err := command(ctx, "cp", found[0], filepath.Join(work, to)); err != nil {
			return img, err
		}
	}
	if err := fileSystem(ctx, root, filepath.Join(work, "disk"), imageSize); err != nil {
		return img, err
	}
	if err := os.RemoveAll(root); err != nil {
		return img, err
	}
	return img, os.Rename(work, dir)
}

// bootstrap puts the system's files into a folder. Packages for later steps stay in apt's cache there.
func bootstrap(ctx context.Context, suite, mirror, root string, packages []string) error {
	args := []string{"--variant=important", "--mode=root", "--format=directory", "--skip=cleanup/apt",
		`--aptopt=Acquire::Check-Valid-Until "false"`, // a mirror may be a snapshot
		"--include=" + strings.Join(packages, ","),
		`--customize-hook=chroot "$1" apt-get install -y -qq --no-install-recommends --download-only ` + strings.Join(later(suite), " "),
		suite, root}
	if mirror != "" {
		args = append(args, mirror)
	}
	return command(ctx, "mmdebstrap", args...)
}

// configure writes what the installer asks about: name, disk, network, root's key.
func configure(root, suite, public string) error {
	files := map[string]string{
		"etc/hostname": suite + "\n",
		"etc/hosts":    "127.0.0.1 localhost\n127.0.1.1 " + suite + "\n",
		"etc/fstab": "/dev/vda / ext4 errors=remount-ro 0 1\n" +
			"/dev/vdb /media/programs ext4 ro,noatime 0 0\n/dev/vdc /media/builders ext4 ro,noatime 0 0\n",
		"etc/network/interfaces":     "auto lo\niface lo inet loopback\nallow-hotplug ens2\niface ens2 inet dhcp\nallow-hotplug enp0s2\niface enp0s2 inet dhcp\n",
		"root/.ssh/authorized_keys":  public,
		"etc/machine-id":             "",
		"etc/resolv.conf":            "nameserver 10.0.2.3\n",
		"media/programs/.mountpoint": "",
		"media/builders/.mountpoint": "",
	}
	for name, text := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return os.Chmod(filepath.Join(root, "root/.ssh"), 0o700)
}

// fileSystem makes an ext4 file system of a folder, without mounting anything. It is too small for more, where size is "".
func fileSystem(ctx context.Context, from, to, size string) error {
	if size == "" {
		out, err := exec.CommandContext(ctx, "du", "-sm", "--apparent-size", from).Output()
		if err != nil {
			return err
		}
		var mb int
		if _, err := fmt.Sscan(string(out), &mb); err != nil {
			return err
		}
		size = fmt.Sprintf("%dM", mb+mb/3+64) // small files take a block each
	}
	_ = os.Remove(to)
	if err := command(ctx, "truncate", "--size="+size, to); err != nil {
		return err
	}
	return command(ctx, "mkfs.ext4", "-q", "-F", "-d", from, to)
}

// forget removes what was made of something else: images of one kind begin with the same prefix.
func (w *workshop) forget(kind, prefix string) error {
	old, err := filepath.Glob(filepath.Join(w.dir, kind, prefix+"*"))
	for _, o := range old {
		err = errors.Join(err, os.RemoveAll(o))
	}
	return err
}

// digest names what is made of these inputs.
func digest(inputs ...any) string {
	b, err := json.Marshal(inputs)
	if err != nil {
		panic(err) // only plain values come here
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:6])
}

// command runs a program; its error has what the program said last.
func command(ctx context.Context, name string, args ...string) error {
	c := exec.CommandContext(ctx, name, args...)
	c.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if p, err := exec.LookPath(filepath.Join("/usr/sbin", name)); err == nil && c.Err != nil {
		c = exec.CommandContext(ctx, p, args...)
	}
	out, err := c.CombinedOutput()
	if err != nil {
		if len(out) > 3000 {
			out = out[len(out)-3000:]
		}
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// machine is one QEMU with a disk of its own. Its network is QEMU's user-mode network: 10.0.2.2 is this machine's loopback.
type machine struct {
	*shell
	suite  string
	image  image
	disks  []string // read-only, beside its own
	dir    string   // its disk and console
	accel  string   // kvm or tcg; "" before the first start
	memory string
	keep   bool
	kernel string // version

	qemu  *exec.Cmd
	ended chan struct{} // closed when qemu has ended
}

func (w *workshop) machine(suite string, img image, disks []string, o options) (*machine, error) {
	m := &machine{suite: suite, image: img, disks: disks, dir: filepath.Join(w.dir, "machines", suite), accel: o.accel, memory: o.memory, keep: o.keep}
	var err error
	if m.shell, err = newShell(w.key); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return nil, err
	}
	if _, err := os.Stat(m.disk()); o.resume && err == nil {
		return m, nil
	} else if o.resume {
		return nil, fmt.Errorf("-resume: there is no disk of an earlier run: %w", err)
	}
	// A raw copy, not an overlay: it survives a QEMU that is killed.
	return m, command(context.Background(), "cp", "--sparse=always", "--reflink=auto", img.disk, m.disk())
}

func (m *machine) disk() string    { return filepath.Join(m.dir, "disk") }
func (m *machine) console() string { return filepath.Join(m.dir, "console") }

// slow is how much longer than on real hardware things may take.
func (m *machine) slow(d time.Duration) time.Duration {
	if m.accel == "tcg" {
		return 15 * d
	}
	return 2 * d // this machine may be busy
}

// start boots the machine and waits until its sshd answers.
func (m *machine) start(ctx context.Context) error {
	if m.accel == "" {
		if why := m.tryKVM(); why != "" {
			say("No KVM (%s): emulating, which is 10 to 20 times slower", why)
			m.accel = "tcg"
		} else {
			m.accel = "kvm"
		}
	}
	if !m.running() {
		if err := m.launch(m.accel); err != nil {
			return err
		}
	}
	if err := m.await(ctx); err != nil {
		return err
	}
	m.kernel = strings.TrimSpace(m.sh("uname -r"))
	return nil
}

// kvmPatience is how long a kernel may take to its first line under KVM.
const kvmPatience = 20 * time.Second

// tryKVM boots under KVM, and says why that does not work: /dev/kvm may open on a machine where no guest ever runs.
func (m *machine) tryKVM() string {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return err.Error()
	}
	_ = f.Close()
	if err := m.launch("kvm"); err != nil {
		return err.Error()
	}
	for end := time.Now().Add(kvmPatience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		select {
		case <-m.ended:
			log, _ := os.ReadFile(filepath.Join(m.dir, "qemu.log"))
			why, _, _ := strings.Cut(strings.TrimSpace(string(log)), "\n")
			return "QEMU ended: " + why
		default:
		}
		if b, _ := os.ReadFile(m.console()); strings.Contains(string(b), "Linux version") {
			return ""
		}
	}
	m.kill()
	return fmt.Sprintf("/dev/kvm opens, but the kernel says nothing within %v", kvmPatience)
}

func (m *machine) running() bool {
	if m.qemu == nil {
		return false
	}
	select {
	case <-m.ended:
		return false
	default:
		return true
	}
}

// launch starts QEMU.
func (m *machine) launch(accel string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	m.shell.address = fmt.Sprintf("127.0.0.1:%d", port)
	kernel := "root=/dev/vda rw console=ttyS0"
	args := []string{"-accel", "kvm", "-cpu", "host,-arch-capabilities"} // the latter cannot be set on every machine that is virtual itself
	if accel == "tcg" {
		// One thread for both processors: with one for each, QEMU may run an instruction that the kernel has just patched on the other
		// (a jump label), and the kernel panics with "int3".
		args = []string{"-accel", "tcg,thread=single,tb-size=1024", "-cpu", "max"}
		kernel += " mitigations=off" // they cost much there
	}
	args = append(args, "-smp", "2", "-m", m.memory, "-nodefaults", "-no-user-config", "-display", "none",
		"-kernel", m.image.kernel, "-initrd", m.image.initrd, "-append", kernel,
		"-drive", "file="+m.disk()+",if=virtio,format=raw,cache=unsafe,discard=unmap",
		"-netdev", fmt.Sprintf("user,id=n,hostfwd=tcp:%s-:22", m.shell.address), "-device", "virtio-net-pci,netdev=n,addr=2",
		"-device", "virtio-rng-pci", "-serial", "file:"+m.console(), "-monitor", "none")
	for _, d := range m.disks {
		args = append(args, "-drive", "file="+d+",if=virtio,format=raw,readonly=on")
	}
	log, err := os.Create(filepath.Join(m.dir, "qemu.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	_ = os.Remove(m.console())
	m.qemu = exec.Command("qemu-system-x86_64", args...)
	m.qemu.Stdout, m.qemu.Stderr = log, log
	if err := m.qemu.Start(); err != nil {
		return err
	}
	m.ended = make(chan struct{})
	go func(c *exec.Cmd, ended chan struct{}) {
		_ = c.Wait()
		close(ended)
	}(m.qemu, m.ended)
	go m.watchPanic(m.qemu, m.ended)
	return nil
}

// watchPanic ends a machine whose kernel has given up: no command on it would ever end.
func (m *machine) watchPanic(qemu *exec.Cmd, ended chan struct{}) {
	for tick := time.NewTicker(time.Second); ; {
		select {
		case <-ended:
			tick.Stop()
			return
		case <-tick.C:
			if strings.Contains(m.tail(), "Kernel panic - not syncing") {
				say("%s: the kernel panicked; its console is in %s", m.suite, m.console())
				_ = qemu.Process.Kill()
			}
		}
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// await waits until sshd answers.
func (m *machine) await(ctx context.Context) error {
	for end := time.Now().Add(m.slow(90 * time.Second)); ; {
		err := m.dial()
		if err == nil {
			return nil
		}
		if !m.running() {
			return errors.New("QEMU ended\n" + m.tail())
		}
		if time.Now().After(end) {
			return fmt.Errorf("sshd does not answer: %w\n%s", err, m.tail())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// tail is what the machine said last on its console.
func (m *machine) tail() string {
	b, _ := os.ReadFile(m.console())
	return string(b[max(0, len(b)-3000):])
}

// kill is a power cut: what the machine has not written to its disk is lost.
func (m *machine) kill() {
	if m.running() {
		_ = m.qemu.Process.Kill()
		<-m.ended
	}
	m.hangUp()
}

// end ends the machine. With -keep it runs on, and the user is told how to reach it.
func (m *machine) end() {
	if m.keep && m.running() {
		host, port, _ := net.SplitHostPort(m.shell.address)
		say("%s runs on as process %d: ssh -i %s -o StrictHostKeyChecking=no -p %s root@%s", m.suite, m.qemu.Process.Pid, m.shell.key, port, host)
		return
	}
	if m.running() { // in order, so that -resume finds a whole disk
		_, _ = m.run("sync")
	}
	m.kill()
}

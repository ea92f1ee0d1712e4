package sandbox

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/sandbox/shim"
)

// Size is a terminal's, in characters.
type Size struct{ Rows, Columns uint16 }

// Terminal is one that a container has in place of pipes. The container's side is in its own /dev/pts.
type Terminal struct {
	Size    Size
	Resized <-chan Size
}

// console is our side of a container's terminal, which the runtime makes and sends.
type console struct {
	listener *net.UnixListener
	master   *os.File // once the container runs
}

// listen makes the socket, in the container's directory. The path is short, however long the directory's is.
func (t *console) listen(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	t.listener, err = net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: filepath.Join("/proc/self/fd", fmt.Sprint(d.Fd()), shim.ConsoleSocket)})
	if err != nil {
		return err
	}
	t.listener.SetUnlinkOnClose(false) // the directory is removed
	return nil
}

// receive takes what the runtime has sent.
func (t *console) receive() error {
	defer t.close()
	_ = t.listener.SetDeadline(time.Now().Add(10 * time.Second))
	c, err := t.listener.AcceptUnix()
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	name, rights := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := c.ReadMsgUnix(name, rights)
	if err != nil {
		return err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) == 0 {
		return errors.Join(errors.New("the runtime sent no terminal"), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) == 0 {
		return errors.Join(errors.New("the runtime sent no terminal"), err)
	}
	unix.CloseOnExec(fds[0])
	if err := unix.SetNonblock(fds[0], true); err != nil {
		_ = unix.Close(fds[0])
		return err
	}
	t.master = os.NewFile(uintptr(fds[0]), "terminal")
	t.control(func(fd int) {
		if m, err := unix.IoctlGetTermios(fd, unix.TCGETS); err == nil {
			m.Iflag |= unix.IUTF8 // a key that erases takes a whole character
			_ = unix.IoctlSetTermios(fd, unix.TCSETS, m)
		}
	})
	return nil
}

func (t *console) close() {
	if t.listener != nil {
		_ = t.listener.Close()
	}
}

func (t *console) resize(s Size) {
	t.control(func(fd int) {
		_ = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: s.Rows, Col: s.Columns})
	})
}

// endOfInput tells a program that reads lines that none comes any more. One that reads keys has its own idea of an end.
func (t *console) endOfInput() {
	var end []byte
	t.control(func(fd int) {
		if m, err := unix.IoctlGetTermios(fd, unix.TCGETS); err == nil && m.Lflag&unix.ICANON != 0 {
			end = []byte{m.Cc[unix.VEOF]}
		}
	})
	_, _ = t.master.Write(end)
}

func (t *console) control(f func(fd int)) {
	if raw, err := t.master.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { f(int(fd)) })
	}
}

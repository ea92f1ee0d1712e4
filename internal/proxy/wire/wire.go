// Package wire is what gitd and gitd-proxy say to each other on the control socket: frames, each of one kind, with a body in JSON and perhaps descriptors. Both sides check what they
// read. A frame that is damaged, too long or of another version ends the link, and nothing else: the proxy serves on by what it was told before, and gitd tells all of it again.
package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Version is that of the messages that this build sends, and Oldest that of the oldest side that it can still speak with, in that side's version. A field or a kind that the other side may leave
// unread needs no version of its own: both leave out what they do not know. What changes the meaning of a message does, and then gitd says it to an older side as that knows it, or Oldest goes up:
// two sides that have no version in common know of each other that they are there (Hello), that one is to leave (Leave), and that it has left (Done). Those do not change, nor does the
// beginning of a frame.
const (
	Version = 1
	Oldest  = 1
)

// Versions are those that a side speaks.
type Versions struct{ Newest, Oldest int }

// Ours are those of this build.
var Ours = Versions{Version, Oldest}

// Common is the newest version that both sides speak; 0: there is none.
func (v Versions) Common(o Versions) int {
	n := min(v.Newest, o.Newest)
	if n < v.Oldest || n < o.Oldest {
		return 0
	}
	return n
}

// Bounds of a frame.
const (
	MaxBody  = 16 << 20
	MaxFiles = 64
	MaxSet   = 500 // routes or certificates in one frame: a larger table takes several
	header   = 20
)

// Kind says what a frame is about.
type Kind uint8

var magic = [2]byte{'G', 'P'}

// Frame is one message. Who receives it closes its files.
type Frame struct {
	Kind  Kind
	Body  []byte
	Files []*os.File

	version int // that it was sent in
}

// Errors that end a link.
var (
	ErrDamaged = errors.New("the frame is damaged")
	ErrTooLong = errors.New("the frame is too long")
	ErrVersion = errors.New("the frame is of another version")
)

// New makes a frame of a message.
func New(kind Kind, message any, files ...*os.File) (Frame, error) {
	body, err := json.Marshal(message)
	if err != nil {
		return Frame{}, err
	}
	f := Frame{Kind: kind, Body: body, Files: files}
	if len(body) > MaxBody || len(files) > MaxFiles {
		return Frame{}, fmt.Errorf("%w: %d bytes and %d descriptors of kind %d", ErrTooLong, len(body), len(files), kind)
	}
	return f, nil
}

// Into reads the message of a frame.
func (f *Frame) Into(message any) error {
	if err := json.Unmarshal(f.Body, message); err != nil {
		return fmt.Errorf("%w: kind %d: %w", ErrDamaged, f.Kind, err)
	}
	return nil
}

// Close closes the descriptors that came with the frame.
func (f *Frame) Close() {
	for _, file := range f.Files {
		_ = file.Close()
	}
}

// encode returns a frame's bytes, in a version.
func (f *Frame) encode(version int) []byte {
	b := make([]byte, header, header+len(f.Body))
	copy(b, magic[:])
	b[2], b[3] = byte(version), byte(f.Kind)
	binary.BigEndian.PutUint32(b[4:], uint32(len(f.Body)))
	binary.BigEndian.PutUint16(b[8:], uint16(len(f.Files)))
	b = append(b, f.Body...)
	binary.BigEndian.PutUint32(b[16:], sum(b))
	return b
}

// sum is the checksum of a frame's bytes, without the field that holds it.
func sum(b []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE(b[:16]), crc32.IEEETable, b[header:])
}

// decode reads one frame from the beginning of b. It returns how many bytes it took, 0 where the frame is not complete, and how many descriptors belong to it. One of a version that ours are
// not is taken all the same, and the error says so.
func decode(b []byte, ours Versions) (f Frame, took, files int, err error) {
	if len(b) < header {
		return f, 0, 0, nil
	}
	if b[0] != magic[0] || b[1] != magic[1] {
		return f, 0, 0, fmt.Errorf("%w: it does not begin as one", ErrDamaged)
	}
	kind := Kind(b[3])
	length, files := int(binary.BigEndian.Uint32(b[4:])), int(binary.BigEndian.Uint16(b[8:]))
	if length > MaxBody || files > MaxFiles {
		return f, 0, 0, fmt.Errorf("%w: %d bytes and %d descriptors", ErrTooLong, length, files)
	}
	if len(b) < header+length {
		return f, 0, 0, nil
	}
	b = b[:header+length]
	if binary.BigEndian.Uint32(b[16:]) != sum(b) {
		return f, 0, 0, fmt.Errorf("%w: its checksum is another", ErrDamaged)
	}
	f = Frame{Kind: kind, Body: b[header:], version: int(b[2])}
	if (f.version > ours.Newest || f.version < ours.Oldest) && !kind.lasting() {
		err = fmt.Errorf("%w: %d, and this is %d", ErrVersion, f.version, ours.Newest)
	}
	return f, header + length, files, err
}

// Conn carries frames. One goroutine may send while another receives.
type Conn struct {
	c     *net.UnixConn
	ours  Versions
	speak atomic.Int32 // the version that frames are sent in; 0: none is known that both sides speak
	in    []byte
	files []*os.File // that came, and belong to frames that are still to come
}

// NewConn returns a Conn over a stream socket whose other side is of the same build.
func NewConn(c *net.UnixConn) *Conn {
	n := greeting(c, Ours)
	n.Speak(Version)
	return n
}

// greeting returns a Conn over which nothing but what lasts is sent, until it is known what the other side speaks: by Speak, or by what it says.
func greeting(c *net.UnixConn, ours Versions) *Conn { return &Conn{c: c, ours: ours} }

// Speak has frames be sent in a version; 0 for none: of those that are not the same in all versions none is sent.
func (c *Conn) Speak(version int) { c.speak.Store(int32(version)) }

// Speaks says whether the two sides have a version in common, as far as is known.
func (c *Conn) Speaks() bool { return c.speak.Load() != 0 }

// Pair returns the two ends of a new link.
func Pair() (*net.UnixConn, *net.UnixConn, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "link")
		c, e := net.FileConn(f)
		_ = f.Close()
		if e != nil {
			err = e
			continue
		}
		ends[i] = c.(*net.UnixConn)
	}
	if err != nil {
		for _, c := range ends {
			if c != nil {
				_ = c.Close()
			}
		}
		return nil, nil, err
	}
	return ends[0], ends[1], nil
}

// Close ends the link.
func (c *Conn) Close() error { return c.c.Close() }

// Send sends a frame, or leaves it out where the other side would not know its version. The descriptors stay open here.
func (c *Conn) Send(f Frame) error {
	version := int(c.speak.Load())
	if version == 0 {
		if version = c.ours.Newest; !f.Kind.lasting() {
			return nil
		}
	}
	b := f.encode(version)
	if len(f.Files) > 0 {
		n, err := c.sendFiles(b, f.Files)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	_, err := c.c.Write(b)
	return err
}

// sendFiles sends the beginning of a frame with its descriptors. They are asked for their numbers in this way since File.Fd would have them block.
func (c *Conn) sendFiles(b []byte, files []*os.File) (n int, err error) {
	fds := make([]int, 0, len(files))
	var with func() error
	with = func() error {
		if len(fds) < len(files) {
			raw, err := files[len(fds)].SyscallConn()
			if err != nil {
				return err
			}
			var inner error
			err = raw.Control(func(fd uintptr) {
				fds = append(fds, int(fd))
				inner = with()
			})
			return errors.Join(err, inner)
		}
		n, _, err = c.c.WriteMsgUnix(b, unix.UnixRights(fds...), nil)
		return err
	}
	return n, with()
}

// Receive returns the next frame. After ErrVersion, which is for that frame, the next one may follow.
func (c *Conn) Receive() (Frame, error) {
	for {
		f, took, files, err := decode(c.in, c.ours)
		if err != nil && took == 0 {
			return Frame{}, err
		}
		if took > 0 {
			if len(c.files) < files {
				return Frame{}, fmt.Errorf("%w: %d of its %d descriptors came", ErrDamaged, len(c.files), files)
			}
			f.Body = append([]byte(nil), f.Body...)
			f.Files, c.files = c.files[:files:files], c.files[files:]
			if c.in = c.in[took:]; len(c.in) == 0 {
				c.in = nil
			}
			if err != nil {
				f.Close()
				return Frame{}, err
			}
			if c.speak.Load() == 0 && c.ours.Common(Versions{f.version, f.version}) != 0 {
				c.Speak(f.version)
			}
			return f, nil
		}
		if err := c.read(); err != nil {
			for _, f := range c.files {
				_ = f.Close()
			}
			c.files = nil
			return Frame{}, err
		}
	}
}

// read reads more of what comes.
func (c *Conn) read() error {
	b := make([]byte, 64<<10)
	control := make([]byte, unix.CmsgSpace(4*MaxFiles))
	n, controls, flags, _, err := c.c.ReadMsgUnix(b, control)
	if controls > 0 {
		messages, e := unix.ParseSocketControlMessage(control[:controls])
		if e != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, e)
		}
		for _, m := range messages {
			fds, e := unix.ParseUnixRights(&m)
			if e != nil {
				return fmt.Errorf("%w: %w", ErrDamaged, e)
			}
			for _, fd := range fds {
				c.files = append(c.files, os.NewFile(uintptr(fd), "received"))
			}
		}
	}
	if err != nil {
		return err
	}
	if flags&unix.MSG_CTRUNC != 0 {
		return fmt.Errorf("%w: descriptors were lost on the way", ErrDamaged)
	}
	if n == 0 {
		return net.ErrClosed
	}
	c.in = append(c.in, b[:n]...)
	return nil
}

// PeerIsUs says whether the other end of a socket is a process of this user, by the kernel's word.
func PeerIsUs(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	var inner error
	if err := raw.Control(func(fd uintptr) { cred, inner = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return err
	}
	if inner != nil {
		return os.NewSyscallError("getsockopt", inner)
	}
	if int(cred.Uid) != os.Geteuid() {
		return fmt.Errorf("the other end belongs to user %d", cred.Uid)
	}
	return nil
}

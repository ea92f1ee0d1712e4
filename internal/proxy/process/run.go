package process

import (
	"net"
	"os"
	"time"

	"github.com/gitd-io/gitd/internal/proxy/wire"
)

// lookForSocket is how often a proxy without a gitd looks whether the next one could still find it.
const lookForSocket = time.Second

// Run obeys the gitd at the other end of c, and when that is gone, the next one that comes to the socket. It serves on meanwhile. It returns when it was told to leave, and has, and when the
// next gitd cannot find it: the socket was removed with the data directory, is another proxy's, or could not be made ("" for none). Where none comes, it leaves when the time to stay is over.
func (p *Process) Run(c *net.UnixConn, socket string) {
	defer p.stop()
	p.socket = socket
	awaits := p.await(socket)
	for {
		err := p.Serve(c)
		if !awaits {
			return
		}
		if !p.isLeaving.Load() {
			p.o.Log("gitd-proxy: gitd is away, and what runs is served on: %v", err)
		}
		tick := time.NewTicker(lookForSocket)
		for c = nil; c == nil; {
			select {
			case c = <-p.next:
			case <-p.left:
				return
			case <-tick.C:
				if (!p.isLeaving.Load() || p.outlasts.Load()) && !(*p.ours.Load())() {
					return
				}
				if p.overdue() {
					p.Terminate()
				}
			}
		}
		tick.Stop()
	}
}

// await listens for the next gitd, and returns false where it cannot.
func (p *Process) await(socket string) bool {
	if socket == "" {
		return false
	}
	_ = os.Remove(socket)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: socket})
	if err != nil {
		p.o.Log("gitd-proxy: requests are not served while gitd is away: %v", err)
		return false
	}
	l.SetUnlinkOnClose(false)
	made, err := os.Lstat(socket)
	if err == nil {
		err = os.Chmod(socket, 0o600)
	}
	if err != nil {
		_ = l.Close()
		return false
	}
	ours := func() bool {
		now, err := os.Lstat(socket)
		return err == nil && os.SameFile(made, now)
	}
	p.ours.Store(&ours)
	p.control.Store(l)
	go func() {
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			if wire.PeerIsUs(c) != nil {
				_ = c.Close()
				continue
			}
			select {
			case p.next <- c:
			case <-p.ended:
				_ = c.Close()
				return
			}
		}
	}()
	return true
}

// Terminate has a proxy leave that no gitd tells what to do: the machine is going down, or no gitd has come.
func (p *Process) Terminate() {
	p.mu.Lock()
	alone := p.link == nil
	p.mu.Unlock()
	if alone {
		p.leaving.Do(func() { go p.leave(wire.Asked{}) })
	}
}

package sandbox

import (
	"os"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// Other programs change the kernel's rules while we run: `nft -f /etc/nftables.conf` begins with "flush ruleset" on Debian and takes our
// table along, Docker starts after us, firewalld reads its configuration again. The kernel tells of every change; we look at once.
const (
	lookAgain    = time.Second           // at what the kernel sends no notice of
	betweenLooks = 50 * time.Millisecond // where others change their rules without pause
)

// keep watches over the table until close.
func (w *firewall) keep() {
	changed := make(chan struct{}, 1)
	told := w.listen(changed)
	w.watch.Go(func() {
		t := time.NewTicker(lookAgain)
		defer t.Stop()
		stale := false // others' rules may have changed since we looked
		for {
			select {
			case <-w.stop:
				return
			case <-changed:
				stale = true
				w.restore()
				time.Sleep(betweenLooks)
			case <-t.C:
				if !told {
					w.restore()
				}
				if stale || !told {
					stale = false
					if c, err := nftables.New(); err == nil {
						w.others.look(c)
					}
				}
			}
		}
	})
}

// listen has the kernel tell of changes to nftables. It says whether it does.
func (w *firewall) listen(changed chan<- struct{}) bool {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return false
	}
	f := os.NewFile(uintptr(fd), "nftables")
	if unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.NFNLGRP_NFTABLES - 1)}) != nil {
		_ = f.Close()
		return false
	}
	w.watch.Go(func() { <-w.stop; _ = f.Close() })
	w.watch.Go(func() {
		b := make([]byte, 64<<10)
		for {
			// What is said does not matter, nor that some of it was lost (ENOBUFS).
			if _, err := f.Read(b); err != nil {
				select {
				case <-w.stop:
					return
				case <-time.After(betweenLooks):
				}
			}
			select {
			case changed <- struct{}{}:
			default: // it will look anyway
			}
		}
	})
	return true
}

// restore puts back what others took away.
func (w *firewall) restore() {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, err := nftables.New()
	if err != nil {
		return
	}
	was := w.whole
	if ok, err := w.intact(c); err != nil || ok {
		return
	}
	if err := w.put(c); err != nil {
		if was {
			w.log("the firewall table %s was changed or removed and cannot be put back: apps have no way out, and none starts until it is back: %v", w.table, err)
		}
		return
	}
	w.log("put the firewall table %s back: another program had changed or removed it (a flush of all nftables rules?)", w.table)
}

// close ends the watch; the rules stay.
func (w *firewall) close() {
	w.once.Do(func() { close(w.stop) })
	w.watch.Wait()
}

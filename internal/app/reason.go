package app

import (
	"errors"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
)

// maxReason is how many bytes of a cause a message takes.
const maxReason = 300

// shortened is an error of which people are told the reason only.
type shortened struct {
	reason string
	error
}

func (s *shortened) Error() string { return s.reason }

func (s *shortened) Unwrap() error { return s.error }

// reason is what people read of a cause: without the names of system calls, and without the paths, addresses and URLs that the sentence around it names,
// on one line, and safe for a terminal.
func reason(err error) string {
	text := err.Error()
	short := func(long, why string) { text = strings.ReplaceAll(text, long, why) }
	var request *url.Error
	if errors.As(err, &request) {
		short(request.Error(), request.Err.Error())
	}
	var network *net.OpError
	if errors.As(err, &network) {
		why := network.Err.Error()
		if network.Addr != nil {
			why = network.Addr.String() + ": " + why
		}
		short(network.Error(), why)
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		short(path.Error(), path.Err.Error())
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		short(link.Error(), link.Err.Error())
	}
	var program *exec.Error
	if errors.As(err, &program) {
		short(program.Error(), program.Err.Error())
	}
	var call *os.SyscallError
	if errors.As(err, &call) {
		short(call.Error(), call.Err.Error())
	}
	return Clip(Plain(strings.Join(strings.Fields(text), " ")), maxReason)
}

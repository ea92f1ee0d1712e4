// Command gitd-proxy carries users' requests to the apps (package process). gitd starts it, with the link to gitd as descriptor 3, and tells it what to do. Its arguments are the socket to which the
// next gitd comes, and what this program is told apart by from another build.
package main

import (
	"log"
	"net"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/heap"
	"github.com/gitd-io/gitd/internal/proxy/process"
)

// linkFD is the link.
const linkFD = 3

func main() {
	log.SetFlags(0)
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGQUIT)
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE) // a log that nothing reads any more must not end it
	heap.Roomy()
	f := os.NewFile(linkFD, "link")
	c, err := net.FileConn(f)
	_ = f.Close()
	link, ok := c.(*net.UnixConn)
	if err != nil || !ok {
		log.Fatal("gitd-proxy is started by gitd")
	}
	if len(os.Args) != 3 {
		log.Fatal("gitd-proxy is started by gitd")
	}
	p := process.New(process.Options{Log: log.Printf, Edition: os.Args[2]})
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, unix.SIGTERM)
	go func() {
		for range terminated {
			p.Terminate()
		}
	}()
	p.Run(link, os.Args[1])
}

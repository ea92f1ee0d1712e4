// Command gitd-proxy carries users' requests to the apps (package process). gitd starts it, with the link to gitd as descriptor 3, and tells it what to do.
package main

import (
	"log"
	"net"
	"os"
	"os/signal"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"github.com/gitd-io/gitd/internal/proxy/process"
)

// linkFD is the link.
const linkFD = 3

func main() {
	log.SetFlags(0)
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM) // it ends when it is told, or with gitd
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)                // a log that nothing reads any more must not end it
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // much short-lived garbage on a small heap: 7 % more requests
	}
	f := os.NewFile(linkFD, "link")
	c, err := net.FileConn(f)
	_ = f.Close()
	link, ok := c.(*net.UnixConn)
	if err != nil || !ok {
		log.Fatal("gitd-proxy is started by gitd")
	}
	_ = process.New(process.Options{Log: log.Printf}).Run(link)
}

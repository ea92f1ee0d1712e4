package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/gitd-io/gitd/internal/app"
	"github.com/gitd-io/gitd/internal/command"
	"github.com/gitd-io/gitd/internal/config"
	"github.com/gitd-io/gitd/internal/control"
	"github.com/gitd-io/gitd/internal/heap"
	"github.com/gitd-io/gitd/internal/server"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func serve() *cobra.Command {
	set := config.NewSet()
	c := &cobra.Command{
		Use: "serve", Short: "Run the server", Args: command.Takes(""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := set.Load(os.Environ()); err != nil {
				return err
			}
			o := server.Options{Config: set.Config}
			log := observe(&o)
			err := runServer(cmd.Context(), set, o, log)
			if cause := app.Cause(err); cause != "" && app.CodeOf(err) != app.CodeInternal { // of an internal error it is told anyway
				o.Log("cannot serve: %s", app.Plain(cause), slog.LevelError)
			} else if err != nil && set.Config.Telemetry.LogFormat == config.LogJSON { // what follows is for people
				o.Log("cannot serve: %s", app.OneLine(err), slog.LevelError)
			}
			return err
		},
	}
	configure(c, set)
	return c
}

// ofServer says whether a command line asks for the server's configuration: gitd config without an argument, but perhaps with flags of it. With one, it
// is about an app's.
func ofServer(args []string) bool {
	if len(args) == 0 || args[0] != "config" {
		return false
	}
	if args = args[1:]; len(args) == 0 {
		return true
	}
	c := configCommand()
	err := c.ParseFlags(args)
	if err != nil && !errors.Is(err, pflag.ErrHelp) { // a flag that it does not know: the first one says which of the two is meant
		name, _, _ := strings.Cut(strings.TrimLeft(args[0], "-"), "=")
		return strings.HasPrefix(args[0], "--") && c.Flags().Lookup(name) != nil
	}
	return err == nil && c.Flags().NArg() == 0
}

// configCommand prints what serve would run with.
func configCommand() *cobra.Command {
	set := config.NewSet()
	c := &cobra.Command{
		Use: "config", Short: "Print the configuration that gitd serve would run with, and where each value comes from (with APP: that of an app)", Args: command.Takes(""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := set.Load(os.Environ()); err != nil {
				return err
			}
			for _, note := range set.Notes() {
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "# %s\n", note); err != nil {
					return err
				}
			}
			return set.Print(cmd.OutOrStdout())
		},
	}
	configure(c, set)
	return c
}

// configure gives a command the flags of the configuration, and a help text that lists them by group.
func configure(c *cobra.Command, set *config.Set) {
	set.Flags(c.Flags())
	c.SetUsageFunc(func(c *cobra.Command) error {
		_, err := fmt.Fprintf(c.OutOrStderr(), "Usage:\n  %s\n%s", c.UseLine(), set.Help())
		return err
	})
}

// runServer serves until ctx ends.
func runServer(ctx context.Context, set *config.Set, o server.Options, progress *app.Log) (err error) {
	c := o.Config
	onMachine := c.Server.Platform == config.Local
	if os.Geteuid() != 0 && onMachine {
		return app.Errorf(app.CodeUnavailable, "run it as root: sudo gitd serve", "gitd serve makes containers and network namespaces, and needs root for that")
	}
	data, err := filepath.Abs(c.Server.Data)
	if err != nil {
		return err
	}
	c.Server.Data = data
	// A log that nothing reads any more must not end the server. Caught, not ignored: what it starts would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	heap.Roomy()
	for _, note := range set.Notes() {
		o.Log("%s", app.Plain(note), slog.LevelWarn)
	}
	o.Config, o.Timings, o.Files = c, os.Getenv("GITD_TIMINGS") != "", raiseFiles()
	o.HandsOver, o.Held = os.Getpid() != 1, held(o.Log) // with process 1 the container ends, and everything in it
	if o.Tracer, err = tracer(&o); err != nil {
		return err
	}
	defer o.Tracer.Close()
	l, err := listeners(&c, &o)
	if err != nil {
		if o.Adopted != nil {
			o.Adopted.Close()
		}
		return err
	}
	defer l.SSH.Close()
	if l.Metrics, err = metricsListener(&c.Telemetry); err != nil {
		return err
	}
	if l.Metrics != nil {
		defer l.Metrics.Close()
	}
	if l.HTTP != nil {
		defer l.HTTP.Close()
		o.HTTPPort = l.HTTP.Addr().(*net.TCPAddr).Port
	}
	if l.HTTPS != nil {
		defer l.HTTPS.Close()
		o.HTTPSPort = l.HTTPS.Addr().(*net.TCPAddr).Port
	}
	s, err := server.Open(ctx, o)
	if err != nil {
		return err
	}
	defer s.Close()
	if l.Control, err = control.Listen(filepath.Join(data, server.Socket)); err != nil {
		return err
	}
	defer l.Control.Close()
	return s.Serve(ctx, l, control.NewServer(func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, client *app.Client) int {
		return s.Run(ctx, args, stdin, stdout, stderr, client)
	}), progress)
}

// listeners are the sockets that systemd hands over; where it does not, those of the configured addresses. On a cluster only SSH has one.
//
// The proxy of a gitd that was killed has those for HTTP and HTTPS; it is found when they are taken.
func listeners(c *config.Config, o *server.Options) (l server.Listeners, err error) {
	names := []string{"ssh", "http", "https"}
	if c.Server.Platform != config.Local {
		names = names[:1]
	}
	held, err := handedOver(names...)
	if err != nil {
		return l, err
	}
	if l.SSH = held["ssh"]; l.SSH == nil {
		if l.SSH, err = listen("ssh", c.SSH.Address); err != nil {
			return l, err
		}
	}
	if len(names) == 1 {
		return l, nil
	}
	if l.HTTP = held["http"]; l.HTTP == nil {
		if l.HTTP, err = listenOrAdopt("http", c.HTTP.Address, o); err != nil {
			l.SSH.Close()
			return l, err
		}
	}
	if l.HTTPS = held["https"]; l.HTTPS == nil && c.HTTP.HTTPS != "" {
		if l.HTTPS, err = listenOrAdopt("https", c.HTTP.HTTPS, o); err != nil {
			l.SSH.Close()
			l.HTTP.Close()
		}
	}
	return l, err
}

// listenOrAdopt takes an address, or the listener that the proxy of the gitd before has there.
func listenOrAdopt(what, address string, o *server.Options) (net.Listener, error) {
	l, err := listen(what, address)
	if err == nil {
		return l, err
	}
	if o.Adopted == nil {
		o.Adopted = server.Adopt(o.Config.Server.Data)
	}
	if o.Adopted != nil {
		if held := o.Adopted.Listener(what, address); held != nil {
			return held, nil
		}
	}
	return nil, err
}

func listen(what, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, app.Errorf(app.CodeUnavailable, fmt.Sprintf("stop what listens there (ss -ltnp shows it), or choose another: --%s ADDRESS", what),
			"the %s address %s is taken by another program", what, address)
	case errors.Is(err, syscall.EACCES):
		return nil, app.Errorf(app.CodeUnavailable, "run gitd as root, or choose a port above 1023", "not allowed to listen on the %s address %s", what, address)
	}
	return nil, app.Errorf(app.CodeUnavailable, fmt.Sprintf("give one such as --%s 127.0.0.1:8022", what), "cannot listen on the %s address %s: %w", what, address, err)
}

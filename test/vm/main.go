// Command vm tries gitd on the machines that people have: it makes an image of a stock Debian from the distribution's own packages, boots it
// in QEMU, installs gitd the way docs/install.md says, and runs steps on it. Each check is a line PASS or FAIL; the last line counts them.
// Its exit status is 0 only where no check failed.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are the command's flags.
type options struct {
	suites []string
	run    *regexp.Regexp // names of the steps to run
	accel  string         // kvm, tcg, or "" to find out
	mirror string
	memory string
	resume bool
	keep   bool
	make   bool
}

// suites are the releases that are tried unless told otherwise, oldest first.
var suites = []string{"bookworm", "trixie"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "vm: "+err.Error())
		os.Exit(2)
	}
	r := &report{out: os.Stdout}
	err = try(ctx, o, r)
	if !o.make {
		r.summary()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "vm: "+err.Error())
	}
	if err != nil || r.failed() > 0 {
		os.Exit(1)
	}
}

func parse(args []string) (o options, err error) {
	f := flag.NewFlagSet("vm", flag.ContinueOnError)
	suite := f.String("suite", strings.Join(suites, ","), "Debian releases, separated by commas")
	run := f.String("run", "", "run only the steps whose name matches this regular expression; those that the others need always run")
	f.StringVar(&o.accel, "accel", "", "kvm or tcg (default: kvm where a guest runs under it, else tcg)")
	f.StringVar(&o.mirror, "mirror", "", "where to get Debian's packages from (default: mmdebstrap's own)")
	f.StringVar(&o.memory, "memory", "4G", "the machine's memory")
	f.BoolVar(&o.resume, "resume", false, "go on with the disk that the last run left, where gitd is installed")
	f.BoolVar(&o.keep, "keep", false, "leave the machine running, and say how to reach it")
	f.BoolVar(&o.make, "make", false, "make the images and disks, and boot nothing")
	list := f.Bool("list", false, "list the steps")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if *list {
		for _, s := range steps {
			fmt.Printf("%-12s %s\n", s.name, s.about)
		}
		os.Exit(0)
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("what is %q? Flags only: -suite, -run, -accel, …", f.Arg(0))
	}
	if !slices.Contains([]string{"", "kvm", "tcg"}, o.accel) {
		return o, fmt.Errorf("-accel is kvm or tcg, not %q", o.accel)
	}
	o.suites = strings.Split(*suite, ",")
	o.run, err = regexp.Compile(*run)
	return o, err
}

// try runs the steps on each release, one machine at a time. Its error is what kept steps from being run.
func try(ctx context.Context, o options, r *report) error {
	for _, suite := range o.suites {
		r.suite = suite
		if err := trySuite(ctx, o, suite, r); err != nil {
			return fmt.Errorf("%s: %w", suite, err)
		}
	}
	return nil
}

func trySuite(ctx context.Context, o options, suite string, r *report) error {
	began := time.Now()
	w, err := openWorkshop()
	if err != nil {
		return err
	}
	img, err := w.image(ctx, suite, o.mirror)
	if err != nil {
		return fmt.Errorf("make the image: %w", err)
	}
	programs, err := w.programs(ctx)
	if err != nil {
		return fmt.Errorf("make the disk with gitd: %w", err)
	}
	builders, err := w.builders(ctx)
	if err != nil {
		return fmt.Errorf("make the disk with the builder image: %w", err)
	}
	if o.make {
		return nil
	}
	m, err := w.machine(suite, img, []string{programs, builders}, o)
	if err != nil {
		return err
	}
	defer m.end()
	defer context.AfterFunc(ctx, m.kill)() // an interrupt ends the step under way
	say("Booting %s", suite)
	if err := m.start(ctx); err != nil {
		return fmt.Errorf("boot: %w", err)
	}
	t := &trial{machine: m, report: r, page: w.page}
	if err := t.egressServer(); err != nil {
		return err
	}
	defer t.close()
	if o.resume {
		if err := t.step(ctx, update); err != nil {
			return err
		}
	}
	for _, s := range steps {
		if s.needed && o.resume || !s.needed && !o.run.MatchString(s.name) {
			continue
		}
		if err := t.step(ctx, s); err != nil {
			return err
		}
	}
	r.took(fmt.Sprintf("%s: kernel %s, %s, %.0f s", suite, m.kernel, m.accel, time.Since(began).Seconds()))
	return nil
}

func say(format string, args ...any) { fmt.Printf("-----> "+format+"\n", args...) }

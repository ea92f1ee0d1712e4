package stage

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
)

// Main tells a story, until it ends or is interrupted. Where it is not as told, the program ends with status 1 and the reason.
func Main(tell func(context.Context) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := tell(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo: "+err.Error())
		os.Exit(1)
	}
}

// Title begins a chapter.
func Title(s string) { fmt.Printf("\n=== %s\n", s) }

// Open starts the server, and shows the command.
func (s *Stage) Open(ctx context.Context) error {
	fmt.Println("$ gitd serve --data DIR --ssh 127.0.0.1:0 --http 127.0.0.1:0")
	return s.Serve(ctx, os.Stdout)
}

// Register adds the developer's key to the server, and shows the command.
func (s *Stage) Register(ctx context.Context) error {
	key, err := s.Key(ctx)
	if err != nil {
		return err
	}
	pub, err := os.Open(key)
	if err != nil {
		return err
	}
	defer pub.Close()
	return s.Show(ctx, "", pub, s.Gitd, "keys", "add", "laptop", "--data", s.Data())
}

// Show shows a command, without hide, and runs it.
func (s *Stage) Show(ctx context.Context, hide string, stdin io.Reader, name string, args ...string) error {
	places := []string{s.Gitd, "gitd", " --data " + s.Data(), ""}
	if hide != "" {
		places = append(places, hide, "")
	}
	shown := strings.NewReplacer(places...).Replace(name + " " + strings.Join(args, " "))
	fmt.Println("$ " + shown)
	return s.run(ctx, stdin, shown, name, args...)
}

// Run runs a command that tells nothing of the story.
func (s *Stage) Run(ctx context.Context, name string, args ...string) error {
	return s.run(ctx, nil, name+" "+strings.Join(args, " "), name, args...)
}

// run runs a command with an environment in which git and ssh see nothing of the user's settings.
func (s *Stage) run(ctx context.Context, stdin io.Reader, shown, name string, args ...string) error {
	c := exec.CommandContext(ctx, name, args...)
	c.Stdin, c.Stdout, c.Stderr = stdin, os.Stdout, os.Stderr
	c.Env = s.Env()
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s: %w", shown, err)
	}
	return nil
}

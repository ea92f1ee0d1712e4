package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem" // where the throwaway registry keeps its blobs
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/sirupsen/logrus"

	"github.com/gitd-io/gitd/internal/build/builder"
	"github.com/gitd-io/gitd/internal/build/lifecycle"
)

// pack is the command pack with a Docker daemon and a registry of its own.
type pack struct {
	b        *bench
	cli      string
	socket   string
	registry string // host:port
}

// usePack starts, on first use, what pack needs: a Docker daemon on private folders and a registry that has our builder image, so that
// both sides build with the same buildpacks and toolchains. Docker touches neither the firewall nor the host's bridges.
func (b *bench) usePack() (*pack, error) {
	if b.pack != nil {
		return b.pack, nil
	}
	if err := missing([]string{"dockerd", "go"}); err != nil {
		return nil, err
	}
	if _, err := b.useServer(); err != nil { // makes the builder image
		return nil, err
	}
	p := &pack{b: b, cli: filepath.Join(b.dir, "pack"), socket: filepath.Join(b.dir, "docker.sock")}
	b.say("building pack")
	if _, err := b.command(b.repo, nil, "go", "build", "-o", p.cli, "github.com/buildpacks/pack"); err != nil {
		return nil, err
	}
	if err := p.serveRegistry(); err != nil {
		return nil, err
	}
	if err := p.copyBuilder(); err != nil {
		return nil, err
	}
	if err := p.startDocker(); err != nil {
		return nil, err
	}
	b.pack = p
	return p, nil
}

// copyBuilder puts the builder and the run image into the registry.
func (p *pack) copyBuilder() error {
	p.b.say("copying the builder image to a registry on %s", p.registry)
	image, err := builder.Ensure(p.b.ctx, builder.Options{})
	if err != nil {
		return err
	}
	for repository, i := range map[string]v1.Image{"bench/builder:1": image.Image, "bench/run:1": image.RunImage} {
		ref, err := name.ParseReference(p.registry + "/" + repository)
		if err != nil {
			return err
		}
		if err := remote.Write(ref, i, remote.WithContext(p.b.ctx)); err != nil {
			return fmt.Errorf("copying %s: %w", repository, err)
		}
	}
	return nil
}

func (p *pack) startDocker() error {
	b := p.b
	b.say("starting dockerd")
	daemon, err := start("dockerd", nil, nil, "dockerd", "--data-root", filepath.Join(b.dir, "docker"), "--exec-root", filepath.Join(b.dir, "docker-exec"),
		"--pidfile", filepath.Join(b.dir, "docker.pid"), "--host", "unix://"+p.socket, "--bridge=none", "--iptables=false", "--ip6tables=false",
		"--ip-forward=false", "--ip-masq=false", "--log-level", "warn")
	if err != nil {
		return err
	}
	b.onExit(func() { daemon.stop(30 * time.Second) })
	return daemon.wait(b.ctx, time.Minute, func() error {
		c, err := net.Dial("unix", p.socket)
		if err == nil {
			c.Close()
		}
		return err
	})
}

// peer is pack on a copy of an example. prefix makes another app of it: each has caches of its own.
func (p *pack) peer(example, prefix string) (*peer, error) {
	name := prefix + example
	src, err := p.b.newSource(name+"-pack", filepath.Join(p.b.repo, "examples", example))
	if err != nil {
		return nil, err
	}
	return &peer{name: "pack build --publish alone", src: src, build: func() (time.Duration, error) { return p.build(name, src.dir) }}, nil
}

// serveRegistry serves an empty registry on a loopback port, without authentication.
func (p *pack) serveRegistry() error {
	c := &configuration.Configuration{}
	c.Storage = configuration.Storage{"filesystem": {"rootdirectory": filepath.Join(p.b.dir, "registry")}, "delete": {"enabled": true}}
	c.Log.AccessLog.Disabled = true
	logrus.SetOutput(io.Discard) // where its lines go otherwise
	c.HTTP.Secret = "bench"
	c.Catalog.MaxEntries = 1000
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(p.b.ctx))
	s := &http.Server{Handler: handlers.NewApp(ctx, c)}
	go func() { _ = s.Serve(l) }()
	p.b.onExit(func() { _ = s.Close(); cancel() })
	p.registry = l.Addr().String()
	return nil
}

// build runs pack the way a person with Docker would: trusted builder, caches in named volumes, image published. Builds know of the host's
// network what gitd's know.
func (p *pack) build(app, dir string) (time.Duration, error) {
	args := []string{p.cli, "build", p.registry + "/bench/" + app + ":latest", "--publish", "--path", dir, "--trust-builder", "--pull-policy", "if-not-present",
		"--builder", p.registry + "/bench/builder:1", "--run-image", p.registry + "/bench/run:1", "--network", "host",
		"--cache", "type=build;format=volume;name=bench-build-" + app, "--cache", "type=launch;format=volume;name=bench-launch-" + app}
	at := lifecycle.Places{}
	if host := lifecycle.HostBundle(); host != "" { // a network that inspects TLS has its authority in the host's bundle only
		at.Bundle = "/etc/ssl/certs/ca-certificates.crt"
		args = append(args, "--volume", host+":"+at.Bundle+":ro")
	}
	env, err := lifecycle.PlatformEnv(nil, at, os.LookupEnv)
	if err != nil {
		return 0, err
	}
	for _, n := range slices.Sorted(maps.Keys(env)) {
		args = append(args, "--env", n+"="+env[n])
	}
	return p.b.timed("", []string{"DOCKER_HOST=unix://" + p.socket, "PACK_HOME=" + filepath.Join(p.b.dir, "pack-home"),
		"DOCKER_CONFIG=" + filepath.Join(p.b.dir, "docker-config")}, args...)
}

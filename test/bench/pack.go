package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem" // where the throwaway registry keeps its blobs
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/sirupsen/logrus"

	"github.com/gitd-io/gitd/internal/build/builder"
)

// packPeer is pack with a Docker daemon and a registry of its own.
type packPeer struct {
	b        *bench
	cli      string
	socket   string
	registry string // host:port
	src      *source
}

// usePack starts what pack needs: a Docker daemon on private folders and a registry that has our builder image, so that both
// sides build with the same buildpacks and toolchains. Docker touches neither the firewall nor the host's bridges.
func (b *bench) usePack() (*peer, error) {
	if err := missing([]string{"dockerd", "go"}); err != nil {
		return nil, err
	}
	if _, err := b.useServer(); err != nil { // makes the builder image
		return nil, err
	}
	p := &packPeer{b: b, cli: filepath.Join(b.dir, "pack"), socket: filepath.Join(b.dir, "docker.sock")}
	var err error
	if p.src, err = b.newSource("go-pack", filepath.Join(b.repo, "examples/go")); err != nil {
		return nil, err
	}
	b.say("building pack")
	if _, err := b.command(b.repo, nil, "go", "build", "-o", p.cli, "github.com/buildpacks/pack"); err != nil {
		return nil, err
	}
	if err := p.serveRegistry(); err != nil {
		return nil, err
	}
	b.say("copying the builder image to a registry on %s", p.registry)
	image, err := builder.Ensure(b.ctx, builder.Options{})
	if err != nil {
		return nil, err
	}
	for repository, i := range map[string]v1.Image{"bench/builder:1": image.Image, "bench/run:1": image.RunImage} {
		ref, err := name.ParseReference(p.registry + "/" + repository)
		if err != nil {
			return nil, err
		}
		if err := remote.Write(ref, i, remote.WithContext(b.ctx)); err != nil {
			return nil, fmt.Errorf("copying %s: %w", repository, err)
		}
	}
	b.say("starting dockerd")
	daemon, err := start("dockerd", nil, nil, "dockerd", "--data-root", filepath.Join(b.dir, "docker"), "--exec-root", filepath.Join(b.dir, "docker-exec"),
		"--pidfile", filepath.Join(b.dir, "docker.pid"), "--host", "unix://"+p.socket, "--bridge=none", "--iptables=false", "--ip6tables=false",
		"--ip-forward=false", "--ip-masq=false", "--log-level", "warn")
	if err != nil {
		return nil, err
	}
	b.onExit(func() { daemon.stop(30 * time.Second) })
	err = daemon.wait(b.ctx, time.Minute, func() error {
		c, err := net.Dial("unix", p.socket)
		if err == nil {
			c.Close()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &peer{name: "pack build --publish alone", target: 0.35, src: p.src, build: p.build}, nil
}

// serveRegistry serves an empty registry on a loopback port, without authentication.
func (p *packPeer) serveRegistry() error {
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

// build runs pack the way a person with Docker would: trusted builder, caches in named volumes, image published.
func (p *packPeer) build() (time.Duration, error) {
	args := []string{p.cli, "build", p.registry + "/bench/app:latest", "--publish", "--path", p.src.dir, "--trust-builder", "--pull-policy", "if-not-present",
		"--builder", p.registry + "/bench/builder:1", "--run-image", p.registry + "/bench/run:1", "--network", "host",
		"--cache", "type=build;format=volume;name=bench-build", "--cache", "type=launch;format=volume;name=bench-launch"}
	bundle := os.Getenv("SSL_CERT_FILE")
	if bundle == "" {
		bundle = "/etc/ssl/certs/ca-certificates.crt"
	}
	if _, err := os.Stat(bundle); err == nil { // a network that inspects TLS has its authority in the host's bundle only
		args = append(args, "--volume", bundle+":/etc/ssl/certs/ca-certificates.crt:ro")
	}
	for _, v := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "GOPROXY", "GOSUMDB", "GONOSUMDB"} {
		if os.Getenv(v) != "" {
			args = append(args, "--env", v)
		}
	}
	return p.b.timed("", []string{"DOCKER_HOST=unix://" + p.socket, "PACK_HOME=" + filepath.Join(p.b.dir, "pack-home"),
		"DOCKER_CONFIG=" + filepath.Join(p.b.dir, "docker-config")}, args...)
}
